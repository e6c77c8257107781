internal import CCNx
internal import Disks
internal import Failures
internal import Files
internal import Foundation
internal import Profiles
internal import Signing
internal import Store

/// A VM in one file: what its disks map to, by id, and the blocks that were written.
///
/// ```
///   | CCNFSVM\n | header length (8, big-endian) | header: JSON | blocks of all runs of data | SHA-256 of all before |
/// ```
/// Version 1: the first. Base content is named, not copied. The digest at the end is over everything
/// before it.
enum MachineFile {
    static let format = 1
    static let magic = Array("CCNFSVM\n".utf8)
    static let digestByteCount = 32
    /// Bytes of a header at most: runs of a disk with a million pieces.
    static let headerLimit = 256 << 20
    /// Bytes that are copied at once.
    static let pieceByteCount = 1 << 20

    struct Header: Codable {
        var format: Int
        /// Names the export: it can be imported once on a node.
        var token: String
        var name: String
        var snapshot: String?
        var template: String?
        var templateVersion: Int?
        var mode: UInt32
        var disks: [DiskHeader]
    }

    struct DiskHeader: Codable {
        var name: String
        var size: Int
        var mode: UInt32
        var extents: [ExtentHeader]
        var runs: [RunHeader]
    }

    struct ExtentHeader: Codable {
        var start: Int
        var byteCount: Int
        var sourceStart: Int
        var prefix: String
        var root: String
        var contentSize: Int
        var segmentSize: Int
        var levels: Int
    }

    /// Bytes that hide what is below: data, which is in the file, or zeros.
    struct RunHeader: Codable {
        var start: Int
        var byteCount: Int
        var isData: Bool
    }
}

// MARK: - Writing

extension MachineFile {
    /// Writes the file whole: nothing stands under `path` before all of it is on disk.
    ///
    /// - Returns: bytes of the file.
    static func write(
        _ header: Header,
        _ disks: [String: PinnedView],
        to path: String,
        progress: (_ done: Int, _ total: Int) -> Void
    ) throws(Failure) -> Int {
        let temporary = "\(path).new.\(ProcessInfo.processInfo.processIdentifier)"
        try FileTree.remove(temporary)
        do throws(Failure) {
            let file = try File(temporary, .createNew)
            var writer = Writer(file)
            let json = try encode(header)
            try writer.append(magic)
            try writer.append(withBytes(of: UInt64(json.count)))
            try writer.append(json)
            let total = header.disks.reduce(0) { $0 + $1.dataByteCount }
            var done = 0
            for disk in header.disks {
                guard let view = disks[disk.name] else { continue }
                for run in disk.runs where run.isData {
                    let range = run.start..<run.start + run.byteCount
                    for start in stride(
                        from: range.lowerBound,
                        to: range.upperBound,
                        by: pieceByteCount
                    ) {
                        let count = min(pieceByteCount, range.upperBound - start)
                        try writer.append(try writtenBytes(of: view, start, count))
                        done += count
                        progress(done, total)
                    }
                }
            }
            try writer.finish()
            try file.synchronizeData()
            try FileTree.rename(temporary, to: path)
            try FileTree.synchronizeDirectory(FileTree.parent(of: path) ?? ".")
            return writer.offset
        } catch {
            try? FileTree.remove(temporary)
            throw error
        }
    }

    /// Bytes of runs of data, which are always here.
    private static func writtenBytes(
        of view: PinnedView,
        _ offset: Int,
        _ byteCount: Int
    ) throws(Failure) -> [UInt8] {
        guard let bytes = try view.residentBytes(at: offset, byteCount: byteCount),
            bytes.count == byteCount
        else { throw Failure(.io, "bytes \(offset) to \(offset + byteCount) cannot be read") }
        return bytes
    }

    private struct Writer {
        private let file: File
        private let hasher = SHA256Hasher()
        private(set) var offset = 0

        init(_ file: File) { self.file = file }

        mutating func append(_ bytes: [UInt8]) throws(Failure) {
            hasher.update(bytes.span)
            try file.write(bytes.span, at: offset)
            offset += bytes.count
        }

        mutating func finish() throws(Failure) {
            let digest = hasher.finalize().bytes
            try file.write(Array(digest).span, at: offset)
            offset += digest.count
        }
    }

    private static func withBytes(of number: UInt64) -> [UInt8] {
        stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> UInt64($0)) }
    }

    private static func encode(_ header: Header) throws(Failure) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(header))
        } catch {
            throw Failure(.invalid, "the VM's description cannot be written: \(error)")
        }
    }

    /// What a moment of a disk is made of.
    static func describe(
        _ view: PinnedView,
        named name: String,
        mode: UInt32
    ) throws(Failure) -> DiskHeader {
        var disk = DiskHeader(name: name, size: view.size, mode: mode, extents: [], runs: [])
        // What lies between two pieces of content hides content too, but for a hole.
        var joins = true
        for (range, piece) in try view.withView({ $0.pieces(in: 0..<view.size) }) {
            switch piece {
            case .hole: joins = false
            case .zero, .written:
                var isData = false
                if case .written = piece { isData = true }
                if let last = disk.runs.last, last.isData == isData,
                    last.start + last.byteCount == range.lowerBound
                {
                    disk.runs[disk.runs.count - 1].byteCount += range.count
                } else {
                    disk.runs.append(
                        RunHeader(
                            start: range.lowerBound,
                            byteCount: range.count,
                            isData: isData
                        )
                    )
                }
            case .content(let content, let offset):
                let descriptor = content.descriptor
                let extent = ExtentHeader(
                    start: range.lowerBound,
                    byteCount: range.count,
                    sourceStart: offset,
                    prefix: content.prefix.uri,
                    root: descriptor.root.hex,
                    contentSize: descriptor.size,
                    segmentSize: descriptor.segmentSize,
                    levels: descriptor.levels
                )
                disk.add(extent, joins: joins)
                joins = true
            }
        }
        return disk
    }
}

extension MachineFile.DiskHeader {
    var dataByteCount: Int { runs.reduce(0) { $0 + ($1.isData ? $1.byteCount : 0) } }

    /// Blocks that were written cut the content below into pieces; it is one extent again where they lie
    /// over it.
    fileprivate mutating func add(_ extent: MachineFile.ExtentHeader, joins: Bool) {
        if joins, let last = extents.last, last.root == extent.root, last.prefix == extent.prefix,
            extent.start - last.start == extent.sourceStart - last.sourceStart
        {
            extents[extents.count - 1].byteCount = extent.start + extent.byteCount - last.start
        } else {
            extents.append(extent)
        }
    }
}

// MARK: - Reading

extension MachineFile {
    /// An export whose digest was checked.
    struct Verified {
        let header: Header
        fileprivate let file: File
        fileprivate let dataStart: Int

        /// Writes the blocks of a disk into it; what hides content is zeros.
        func fill(
            _ disk: Disk,
            named name: String,
            progress: (_ byteCount: Int) -> Void
        ) throws(Failure) {
            var offset = dataStart
            for described in header.disks {
                for run in described.runs {
                    defer { if run.isData { offset += run.byteCount } }
                    guard described.name == name else { continue }
                    if run.isData {
                        try copy(run, from: offset, to: disk, progress)
                    } else {
                        _ = try disk.zero(run.start..<run.start + run.byteCount)
                    }
                }
            }
        }

        private func copy(
            _ run: RunHeader,
            from offset: Int,
            to disk: Disk,
            _ progress: (_ byteCount: Int) -> Void
        ) throws(Failure) {
            for start in stride(from: 0, to: run.byteCount, by: pieceByteCount) {
                let count = min(pieceByteCount, run.byteCount - start)
                let bytes = try file.bytes(at: offset + start, byteCount: count)
                let isWritten = try disk.write(bytes.span, at: run.start + start)
                guard case .complete = isWritten else {
                    throw Failure(.corrupt, "a block of the export covers part of a block only")
                }
                progress(count)
            }
        }
    }

    /// Opens an export and checks all of it against its digest.
    static func verified(
        _ path: String,
        progress: (_ done: Int, _ total: Int) -> Void
    ) throws(Failure) -> Verified {
        let file = try File(path, .readOnly)
        let size = try file.size()
        let headStart = magic.count + 8
        guard size >= headStart + digestByteCount,
            try file.bytes(at: 0, byteCount: magic.count) == magic
        else {
            throw Failure(
                .invalid,
                "\(path) is no exported VM",
                hint: "make one: ccnfs export-vm VM FILE"
            )
        }
        let hasher = SHA256Hasher()
        let end = size - digestByteCount
        for start in stride(from: 0, to: end, by: pieceByteCount) {
            let bytes = try file.bytes(at: start, byteCount: min(pieceByteCount, end - start))
            hasher.update(bytes.span)
            progress(start + bytes.count, end)
        }
        guard
            Array(hasher.finalize().bytes) == (try file.bytes(at: end, byteCount: digestByteCount))
        else {
            throw Failure(
                .corrupt,
                "\(path) is damaged: its bytes do not match its digest",
                hint: "copy it again from where it was exported"
            )
        }
        let lengthBytes = try file.bytes(at: magic.count, byteCount: 8)
        let length = lengthBytes.reduce(0) { $0 << 8 | UInt64($1) }
        guard length <= headerLimit, headStart + Int(length) <= end else {
            throw Failure(.corrupt, "the head of \(path) has an impossible length")
        }
        let header = try decode(try file.bytes(at: headStart, byteCount: Int(length)), path)
        let dataStart = headStart + Int(length)
        let dataBytes = try header.checkedDataByteCount()
        guard dataStart + dataBytes == end else {
            throw Failure(.corrupt, "\(path) has other blocks than its head says")
        }
        return Verified(header: header, file: file, dataStart: dataStart)
    }

    private static func decode(_ bytes: [UInt8], _ path: String) throws(Failure) -> Header {
        struct Version: Codable { var format: Int }
        let header: Header
        do {
            let found = try JSONDecoder().decode(Version.self, from: Data(bytes)).format
            guard found <= format else {
                throw Failure(
                    .unsupported,
                    "\(path) has format \(found), this program knows up to \(format)",
                    hint: "import it with the newer ccnfs"
                )
            }
            header = try JSONDecoder().decode(Header.self, from: Data(bytes))
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.invalid, "the head of \(path) is malformed: \(error)")
        }
        return header
    }
}

extension MachineFile.Header {
    /// Bytes of blocks that follow the head.
    ///
    /// - Throws: `.invalid` for what no export says.
    func checkedDataByteCount() throws(Failure) -> Int {
        var count = 0
        for disk in disks {
            guard (0...Disks.sizeLimit).contains(disk.size) else {
                throw Failure(.invalid, "disk \(disk.name) cannot have \(disk.size) bytes")
            }
            var end = 0
            for run in disk.runs {
                guard run.start >= end, run.start % 4096 == 0, run.byteCount > 0,
                    run.byteCount <= disk.size - run.start,
                    run.byteCount % 4096 == 0 || run.start + run.byteCount == disk.size
                else { throw Failure(.invalid, "a run of disk \(disk.name) is malformed") }
                end = run.start + run.byteCount
                if run.isData { count += run.byteCount }
            }
        }
        return count
    }
}

extension MachineFile.DiskHeader {
    /// What the disk maps to below its written blocks.
    func checkedExtents(
        _ content: (ContentDescriptor, Name) -> SegmentedContent
    ) throws(Failure) -> [Extent] {
        var checked: [Extent] = []
        var end = 0
        for extent in extents {
            guard let root = ObjectId(hex: extent.root), extent.start >= end, extent.byteCount > 0,
                extent.byteCount <= size - extent.start, extent.start % 4096 == 0,
                (0...Disks.sizeLimit).contains(extent.contentSize), extent.sourceStart >= 0,
                extent.sourceStart <= extent.contentSize,
                extent.byteCount <= extent.contentSize - extent.sourceStart,
                [4096, 8192, 16384, 32768].contains(extent.segmentSize),
                extent.levels
                    == ManifestNode.levels(
                        size: extent.contentSize,
                        segmentSize: extent.segmentSize
                    )
            else { throw Failure(.invalid, "an extent of disk \(name) is malformed") }
            end = extent.start + extent.byteCount
            checked.append(
                Extent(
                    start: extent.start,
                    byteCount: extent.byteCount,
                    content: content(
                        ContentDescriptor(
                            root: root,
                            size: extent.contentSize,
                            segmentSize: extent.segmentSize,
                            levels: extent.levels
                        ),
                        try Name(uri: extent.prefix)
                    ),
                    sourceStart: extent.sourceStart
                )
            )
        }
        return checked
    }
}
