internal import Failures

/// Walks the tables of a qcow2 image for what `qemu-img` leaves unsaid: whether the tables
/// themselves and the compressed clusters end before the file does.
///
/// qcow2's zlib streams carry no checksum. With the last kilobytes of a file cut away, QEMU 7.2
/// decompresses the zeros it reads in their place and gives wrong bytes without an error.
struct CompressedClusters: ~Copyable {
    private let path: String
    private let file: Descriptor
    private let byteCount: Int
    private let clusterBits: Int

    /// Tables larger than QEMU itself accepts are nonsense.
    private static let levelOneLimit = 32 << 20
    private static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00
    private static let compressedFlag: UInt64 = 1 << 62
    private static let extendedEntriesFlag: UInt64 = 1 << 4

    static func verify(path: String, hasCompressed: Bool) throws(Failure) {
        let file = try Descriptor(reading: path)
        let byteCount = try file.byteCount(of: path)
        // cluster_bits at 20, l1_size at 36, l1_table_offset at 40, incompatible features at 72.
        let header = try file.bytes(at: 0, limit: 80, of: path)
        guard let version = header.bigEndian32(at: 4), let clusterBits = header.bigEndian32(at: 20),
            let entryCount = header.bigEndian32(at: 36),
            let tableOffset = header.bigEndian64(at: 40),
            9...21 ~= clusterBits, let features = header.bigEndian64(at: 72)
        else {
            throw damaged(path, "its header is not whole")
        }
        let walk = CompressedClusters(
            path: path,
            file: file,
            byteCount: byteCount,
            clusterBits: Int(clusterBits)
        )
        let hasExtendedEntries = version >= 3 && features & extendedEntriesFlag != 0
        try walk.verify(
            table: try walk.levelOne(at: tableOffset, entryCount: Int(entryCount)),
            entryStride: hasExtendedEntries ? 16 : 8,
            hasCompressed: hasCompressed
        )
    }

    private init(
        path: String,
        file: consuming Descriptor,
        byteCount: Int,
        clusterBits: Int
    ) {
        self.path = path
        self.file = file
        self.byteCount = byteCount
        self.clusterBits = clusterBits
    }

    private func levelOne(at offset: UInt64, entryCount: Int) throws(Failure) -> [UInt8] {
        let tableByteCount = entryCount * 8
        guard tableByteCount <= CompressedClusters.levelOneLimit else {
            throw damaged(path, "its first table would have \(entryCount) entries")
        }
        return try bytes(at: offset, byteCount: tableByteCount)
    }

    private func verify(
        table: [UInt8],
        entryStride: Int,
        hasCompressed: Bool
    ) throws(Failure) {
        for index in stride(from: 0, to: table.count, by: 8) {
            guard let entry = table.bigEndian64(at: index) else { continue }
            let offset = entry & CompressedClusters.offsetMask
            guard offset != 0 else { continue }
            try requireEnd(offset, plus: 1 << clusterBits)
            if hasCompressed { try verifyLevelTwo(at: offset, entryStride: entryStride) }
        }
    }

    private func verifyLevelTwo(at offset: UInt64, entryStride: Int) throws(Failure) {
        let table = try bytes(at: offset, byteCount: 1 << clusterBits)
        // Bits 0 ..< x are the offset, x ... 61 the number of further sectors the stream touches.
        let countShift = UInt64(62 - (clusterBits - 8))
        for index in stride(from: 0, to: table.count, by: entryStride) {
            guard let entry = table.bigEndian64(at: index),
                entry & CompressedClusters.compressedFlag != 0
            else { continue }
            let start = entry & ((1 << countShift) - 1)
            let furtherCount = (entry & (CompressedClusters.compressedFlag - 1)) >> countShift
            let firstSector = start / UInt64(sectorSize) * UInt64(sectorSize)
            try requireEnd(firstSector, plus: Int(furtherCount + 1) * sectorSize)
        }
    }

    private func bytes(at offset: UInt64, byteCount: Int) throws(Failure) -> [UInt8] {
        try requireEnd(offset, plus: byteCount)
        return try file.bytes(at: Int(offset), limit: byteCount, of: path)
    }

    private func requireEnd(_ offset: UInt64, plus length: Int) throws(Failure) {
        guard offset <= UInt64(byteCount), length <= byteCount - Int(offset) else {
            throw damaged(
                path,
                "its tables refer to byte \(offset + UInt64(length)), but the file has \(byteCount)"
            )
        }
    }
}
