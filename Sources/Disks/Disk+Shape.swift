package import Failures
internal import Files
package import Profiles
internal import Store

/// What a clone takes from: content, or a frozen overlay with everything below it.
package struct CloneSource: Sendable {
    let source: ExtentSource
    let backing: Backing
    let unsettled: [Overlay]
    /// Bytes.
    package let size: Int

    init(source: ExtentSource, backing: Backing, unsettled: [Overlay], size: Int) {
        self.source = source
        self.backing = backing
        self.unsettled = unsettled
        self.size = size
    }

    /// All of it outlives the power.
    var isDurable: Bool { unsettled.allSatisfy(\.isCommitted) }

    /// Content is told apart by bytes; of a block that an overlay has the rest would show later.
    var endsAnywhere: Bool { if case .content = source { true } else { false } }

    package init(_ content: SegmentedContent) {
        let size = content.descriptor.size
        let extent = Extent(start: 0, byteCount: size, content: content, sourceStart: 0)
        self.init(
            source: .content(content),
            backing: Backing(profile: Profile(extents: [extent])),
            unsettled: [],
            size: size
        )
    }
}

// MARK: - Size

extension Disk {
    /// Makes the disk at least `size` bytes; what is new reads as zeros. Inside of the gate.
    func grow(to size: Int) throws(Failure) {
        guard size <= Disks.sizeLimit else {
            throw Failure(.tooLarge, "a disk may have up to \(Disks.sizeLimit) bytes, not \(size)")
        }
        try changeRow { (row) throws(Failure) in row.size = max(row.size, size) }
    }

    /// Sets the size; growth reads as zeros, what is cut off is gone, durably. No flush of the disk may
    /// be under way: it would commit older states of the blocks that go.
    ///
    /// - Returns: `.missing`, with nothing changed, when the last block has to be fetched first.
    package func resize(to size: Int, fills: BlockFills? = nil) throws(Failure) -> Residency {
        gate.enter()
        defer { gate.leave() }
        try checkIsWell(view)
        if size >= self.size {
            try grow(to: size)
            return .complete
        }
        let blockSize = BlockMap.blockSize
        let keptBlocks = (size + blockSize - 1) / blockSize
        if size % blockSize != 0, case .missing = try clearTail(from: size, fills) {
            return .missing
        }
        try withShape { (row, below) throws(Failure) in
            var (row, below) = (row, below)
            row.size = size
            below.profile.clip(to: size)
            below.backing = try below.backing.removing(size..<Disks.sizeLimit, keepingPartOf: size)
            let overlay = overlay
            try overlay.withAllStripes { () throws(Failure) in
                let cut = keptBlocks..<Disks.sizeLimit / blockSize
                try replaceBlocks(cut, row, below)
                try overlay.truncate(to: size)
                CrashPoint.shrinkCommitted.reached()
            }
        }
        return .complete
    }

    /// Behind the end of a disk its last block is zeros; blocks of frozen overlays cannot be cut, so
    /// such a block is written anew.
    private func clearTail(from size: Int, _ fills: BlockFills?) throws(Failure) -> Residency {
        let blockSize = BlockMap.blockSize
        let end = min((size / blockSize + 1) * blockSize, self.size)
        guard end > size else { return .complete }
        return try writeInside(
            [UInt8](repeating: 0, count: end - size).span,
            at: size,
            fills: fills
        )
    }
}

// MARK: - Clones

extension Disk {
    /// Maps a range of the disk to a part of what another has, in place of whatever was there. O(1)
    /// in its length. No flush of the disk may be under way: it would commit older states of blocks
    /// that go.
    ///
    /// - Throws: `.invalid` if a block would be part old, part new.
    package func map(
        _ range: Range<Int>,
        to source: CloneSource,
        from sourceStart: Int
    ) throws(Failure) {
        guard !range.isEmpty else { return }
        gate.enter()
        defer { gate.leave() }
        try checkIsWell(view)
        let blockSize = BlockMap.blockSize
        guard range.lowerBound % blockSize == 0, sourceStart % blockSize == 0,
            range.upperBound % blockSize == 0
                || (range.upperBound >= size
                    && (source.endsAnywhere || sourceStart + range.count == source.size))
        else {
            throw Failure(
                .invalid,
                "bytes \(range.lowerBound) to \(range.upperBound) do not begin and end with a block"
            )
        }
        guard range.upperBound <= Disks.sizeLimit else {
            throw Failure(.tooLarge, "a disk may have up to \(Disks.sizeLimit) bytes")
        }
        let blocks =
            range.lowerBound / blockSize..<(range.upperBound + blockSize - 1) / blockSize
        try withShape { (row, below) throws(Failure) in
            var (row, below) = (row, below)
            row.size = max(row.size, range.upperBound)
            below.profile.map(
                Extent(
                    start: range.lowerBound,
                    byteCount: range.count,
                    source: source.source,
                    sourceStart: sourceStart
                )
            )
            guard below.profile.extents.count <= Profile.extentLimit else {
                throw Failure(.invalid, "the disk would map to too many pieces")
            }
            below.backing = try below.backing.mapping(
                range,
                to: source.backing,
                from: sourceStart
            )
            below.unsettled = source.unsettled
            let overlay = overlay
            // All stripes: every dirty page is committed, so no other may get one whose data is not
            // synchronized.
            try overlay.withAllStripes { () throws(Failure) in
                guard !overlay.map.all(blocks, are: .absent) else {
                    try database.update(row, extents: below.profile.rows)
                    return adopt(row, below)
                }
                try replaceBlocks(blocks, row, below)
            }
        }
        CrashPoint.cloneMapped.reached()
    }

    /// Makes written blocks give way to what comes below, durably; the caller holds all stripes.
    ///
    /// Order: data on disk, since map pages are committed whole; one transaction with row, extents and
    /// map; the backing in memory, still behind the blocks; readers of the one before gone; the blocks
    /// away. So a reader finds what was there or what comes, and never what lay below both.
    private func replaceBlocks(
        _ blocks: Range<Int>,
        _ row: DiskRow,
        _ below: Below
    ) throws(Failure) {
        let overlay = overlay
        do throws(Failure) {
            try overlay.synchronizeData()
        } catch {
            // The kernel tells of it once: the next flush would find nothing wrong.
            takeOutOfService(because: error)
            throw error
        }
        try database.update(
            row,
            extents: below.profile.rows,
            mapPages: overlay.map.pages(clearing: blocks),
            durably: true
        )
        adopt(row, below)
        readers.waitForReaders()
        let written = overlay.map.runs(in: blocks).filter { $0.state == .data }
        overlay.map.set(blocks, to: .absent)
        // After the states: a flush that takes both commits that they are not data any more.
        for run in written { overlay.noteFreed(run.range) }
        do throws(Failure) {
            try overlay.recordWholeMap()
        } catch {
            // After a restart of the process the live map would bring the old blocks back.
            takeOutOfService(because: error)
            throw error
        }
    }
}

// MARK: - Holes

extension Disk {
    /// Makes a range inside the disk read as zeros and gives its space back after the next flush.
    ///
    /// - Parameter fills: of the blocks that are covered in part only, after an earlier `.missing`.
    /// - Returns: `.missing` when such a block has to be fetched first; other parts may be zeros then.
    package func zero(_ range: Range<Int>, fills: BlockFills? = nil) throws(Failure) -> Residency {
        gate.enter()
        defer { gate.leave() }
        let view = view
        try checkIsWell(view)
        let range = range.clamped(to: 0..<view.size)
        if range.isEmpty { return .complete }
        let size = BlockMap.blockSize
        let first = (range.lowerBound + size - 1) / size
        // The rest of the last block is behind the end of the disk: all of it goes.
        let last =
            range.upperBound == view.size
            ? (range.upperBound + size - 1) / size : range.upperBound / size
        guard first < last else { return try clear(range, fills) }
        let tail = min(last * size, range.upperBound)
        for edge in [range.lowerBound..<first * size, tail..<range.upperBound] {
            guard !edge.isEmpty else { continue }
            if case .missing = try clear(edge, fills) { return .missing }
        }
        try discard(first..<last, of: view.overlay)
        noteWriting()
        CrashPoint.discardMarked.reached()
        return .complete
    }

    /// Zeros inside of blocks, written where there is anything else.
    private func clear(_ range: Range<Int>, _ fills: BlockFills?) throws(Failure) -> Residency {
        for (range, piece) in try withView({ $0.pieces(in: range) }) {
            switch piece {
            case .hole, .zero: continue
            case .written, .content:
                let zeros = [UInt8](repeating: 0, count: range.count)
                if case .missing = try writeInside(zeros.span, at: range.lowerBound, fills: fills) {
                    return .missing
                }
            }
        }
        return .complete
    }

    /// Blocks that have something below become zeros, the others absent.
    private func discard(_ blocks: Range<Int>, of overlay: Overlay) throws(Failure) {
        for start in stride(from: blocks.lowerBound, to: blocks.upperBound, by: Self.discardCount) {
            let part = start..<min(start + Self.discardCount, blocks.upperBound)
            try overlay.withStripes(of: part) { () throws(Failure) in
                let backing = backing
                var block = part.lowerBound
                while block < part.upperBound {
                    let below = backing.blockRun(at: block, limit: part.upperBound - block)
                    let wanted: BlockState = below.isHole ? .absent : .zero
                    let run = overlay.map.run(at: block, limit: below.count)
                    let range = block..<block + run.count
                    if run.state != wanted {
                        try overlay.setState(of: range, to: wanted)
                        if run.state == .data { overlay.noteFreed(range) }
                    }
                    block = range.upperBound
                }
            }
        }
    }

    /// Blocks discarded under one set of stripes: 64 MiB.
    private static let discardCount = 16_384

    /// Takes space for a range, so that writing to it does not meet a full disk.
    ///
    /// - Parameter keepsSize: what is behind the end is not reserved then.
    package func allocate(_ range: Range<Int>, keepsSize: Bool) throws(Failure) {
        gate.enter()
        defer { gate.leave() }
        try checkIsWell(view)
        let part = keepsSize ? range.clamped(to: 0..<size) : range
        guard !part.isEmpty else { return }
        try overlay.allocate(part)
        if part.upperBound > size { try grow(to: part.upperBound) }
    }

    /// Makes the disk at least this long, as a write behind its end does.
    package func extend(to size: Int) throws(Failure) {
        gate.enter()
        defer { gate.leave() }
        try checkIsWell(view)
        if size > self.size { try grow(to: size) }
    }

    /// Space of discarded blocks waits for the next flush.
    package var hasFreedBlocks: Bool { overlay.hasFreed }
}

extension Backing {
    /// Whether the blocks from `block` on show nothing, and how many are alike, at most `limit`.
    func blockRun(at block: Int, limit: Int) -> (isHole: Bool, count: Int) {
        let size = BlockMap.blockSize
        let (piece, byteCount) = piece(at: block * size, limit: limit * size)
        let count = byteCount / size
        switch piece {
        // Part of a block is content: the block is none of holes.
        case .hole: return count > 0 ? (true, count) : (false, 1)
        case .zero: return (false, count)
        case .written: return (false, count)
        case .content: return (false, max(1, (byteCount + size - 1) / size))
        }
    }

    /// The same without what lies behind `size`; the block that `size` is in stays, and is zeros from
    /// there on.
    func removing(_ range: Range<Int>, keepingPartOf size: Int) throws(Failure) -> Backing {
        let blockSize = BlockMap.blockSize
        let end = (size + blockSize - 1) / blockSize * blockSize
        let cut = end < range.upperBound ? try removing(end..<range.upperBound) : try merged()
        var profile = cut.profile
        profile.clip(to: size)
        return Backing(frozen: cut.frozen, profile: profile)
    }
}

extension Profile {
    /// The extents as the state database keeps them.
    var rows: [ExtentRow] {
        extents.map { extent in
            let source: ExtentRow.Source =
                switch extent.source {
                case .overlay(let id): .overlay(id)
                case .content(let content):
                    .content(
                        ExtentRow.Content(
                            root: content.descriptor.root,
                            size: content.descriptor.size,
                            segmentSize: content.descriptor.segmentSize,
                            levels: content.descriptor.levels,
                            prefix: content.prefix
                        )
                    )
                }
            return ExtentRow(
                start: extent.start,
                byteCount: extent.byteCount,
                sourceStart: extent.sourceStart,
                source: source
            )
        }
    }
}
