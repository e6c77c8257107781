package import Failures
package import Profiles
internal import Store

/// What a block holds below the overlay, fetched before a write that covers only part of the block.
package struct BlockFills: Sendable {
    fileprivate let generation: Int
    fileprivate let blocks: [Int: [UInt8]]
}

extension Disk {
    /// Writes at any offset and of any size; the disk grows as needed.
    ///
    /// A block that is written in part and is not in the overlay yet is filled from below first.
    /// - Parameter fills: from ``fills(forWriteAt:byteCount:)`` after an earlier `.missing`.
    /// - Returns: `.missing`, with nothing written, when something below has to be fetched first.
    package func write(
        _ bytes: Span<UInt8>,
        at offset: Int,
        fills: BlockFills? = nil
    ) throws(Failure) -> Residency {
        gate.enter()
        defer { gate.leave() }
        return try writeInside(bytes, at: offset, fills: fills)
    }

    /// The same, inside of the gate.
    func writeInside(
        _ bytes: Span<UInt8>,
        at offset: Int,
        fills: BlockFills?
    ) throws(Failure) -> Residency {
        guard bytes.count > 0 else { return .complete }
        guard let (size, overlay) = noteWriting() else {
            try checkIsWell(view)
            return try writeInside(bytes, at: offset, fills: fills)
        }
        let end = offset + bytes.count
        if end > size { try grow(to: end) }
        let blocks = offset / BlockMap.blockSize..<(end - 1) / BlockMap.blockSize + 1
        if overlay.map.all(blocks, are: .data) {
            try overlay.overwrite(bytes, at: offset)
        } else {
            let residency = try overlay.withStripes(of: blocks) { () throws(Failure) -> Residency in
                for block in Self.partialBlocks(offset..<end) {
                    guard let fill = try fill(for: block, of: overlay, fills) else {
                        return .missing
                    }
                    if case .with(let bytes) = fill {
                        try overlay.prepare(block: block, bytes)
                    }
                }
                try overlay.write(bytes, at: offset, blocks: blocks)
                return .complete
            }
            if case .missing = residency { return .missing }
        }
        return .complete
    }

    private static func partialBlocks(_ range: Range<Int>) -> [Int] {
        let size = BlockMap.blockSize
        let first = range.lowerBound / size
        let last = (range.upperBound - 1) / size
        var blocks: [Int] = []
        if range.lowerBound % size != 0 || range.upperBound < (first + 1) * size {
            blocks.append(first)
        }
        if last != first, range.upperBound % size != 0 { blocks.append(last) }
        return blocks
    }

    private enum Fill {
        case unneeded
        case with([UInt8])
    }

    /// - Returns: nil when the block has to be fetched first.
    private func fill(
        for block: Int,
        of overlay: Overlay,
        _ fills: BlockFills?
    ) throws(Failure) -> Fill? {
        let size = BlockMap.blockSize
        switch overlay.map.run(at: block, limit: 1).state {
        case .data: return .unneeded
        case .zero: return .with([UInt8](repeating: 0, count: size))
        case .absent: break
        }
        let view = view
        if let fills, fills.generation == view.generation, let bytes = fills.blocks[block] {
            return .with(bytes)
        }
        return try view.below.residentBytes(at: block * size, byteCount: size).map(Fill.with)
    }

    /// Fetches what a write needs from below; outside of all locks, so it is checked again by `write`.
    package func fills(
        forWriteAt offset: Int,
        byteCount: Int
    ) async throws(Failure) -> BlockFills {
        let view = view
        let size = BlockMap.blockSize
        let below = Below.Reader(disk: self, view: view.below)
        var blocks: [Int: [UInt8]] = [:]
        for block in Self.partialBlocks(offset..<offset + byteCount) {
            blocks[block] = try await below.read(at: block * size, byteCount: size)
        }
        return BlockFills(generation: view.generation, blocks: blocks)
    }
}

extension Disk.View {
    /// What is below the live overlay, whole blocks of it: behind the end there are zeros.
    var below: DiskView {
        DiskView(size: Disks.sizeLimit, overlay: nil, backing: backing)
    }
}

extension Disk.Below {
    /// Reads what is below a disk's live overlay as it was at one moment.
    struct Reader: ViewedDisk {
        let disk: Disk
        let view: DiskView

        func withView<Value>(
            _ body: (DiskView) throws(Failure) -> Value
        ) throws(Failure) -> Value {
            let ticket = disk.readers.enter()
            defer { disk.readers.leave(ticket) }
            return try body(view)
        }
    }
}
