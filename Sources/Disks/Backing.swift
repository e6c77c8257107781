internal import Failures
internal import Files
internal import Profiles

/// What lies below a disk's live overlay: blocks of frozen overlays, and content below those.
///
/// ```
///   recent     the overlay that was frozen last, while its map is not laid over `frozen` yet
///   frozen     blocks of all overlays before it, in one map
///   profile    content, where no overlay has a block
/// ```
/// The layers that were frozen are told apart only in the state database; here a block is found at
/// once whatever their number. Immutable: a change makes a new one.
final class Backing: Sendable {
    let recent: Overlay?
    let frozen: FrozenMap
    /// Content only, no overlays.
    let profile: Profile

    init(recent: Overlay? = nil, frozen: FrozenMap = FrozenMap(), profile: Profile = Profile()) {
        self.recent = recent
        self.frozen = frozen
        self.profile = profile
    }

    var isContentOnly: Bool { recent == nil && frozen.isEmpty }

    enum Piece: Sendable {
        case hole
        /// Zeros that an overlay has, whatever is below it.
        case zero
        case written(FrozenMap.Source)
        case content(SegmentedContent, offset: Int)
    }

    /// What is at `offset` and how far it goes, at most `limit` bytes.
    func piece(at offset: Int, limit: Int) -> (piece: Piece, byteCount: Int) {
        let blockSize = BlockMap.blockSize
        let first = offset / blockSize
        var blocks = (offset + limit - 1) / blockSize - first + 1
        func bytes(_ blocks: Int) -> Int {
            min((first + blocks) * blockSize, offset + limit) - offset
        }
        if let recent {
            let run = recent.map.run(at: first, limit: blocks)
            blocks = run.count
            switch run.state {
            case .data: return (.written(recent.source), bytes(blocks))
            case .zero: return (.zero, bytes(blocks))
            case .absent: break
            }
        }
        let run = frozen.run(at: first, limit: blocks)
        switch run.entry {
        case .data(let source): return (.written(source), bytes(run.count))
        case .zero: return (.zero, bytes(run.count))
        case .absent: break
        }
        let below = profile.run(at: offset, limit: bytes(run.count))
        guard let extent = below.extent, let content = extent.content else {
            return (.hole, below.byteCount)
        }
        return (
            .content(content, offset: extent.sourceStart + offset - extent.start),
            below.byteCount
        )
    }

    // MARK: Changes

    /// The same with `recent` laid over the rest.
    func merged() throws(Failure) -> Backing {
        guard let recent else { return self }
        var frozen = frozen
        try frozen.lay(recent.map.pages, of: recent.source)
        return Backing(frozen: frozen, profile: profile)
    }

    /// The same with nothing in `range`, whole blocks of it.
    func removing(_ range: Range<Int>) throws(Failure) -> Backing {
        let merged = try merged()
        var (frozen, profile) = (merged.frozen, merged.profile)
        frozen.remove(Self.blocks(range))
        profile.remove(range)
        return Backing(frozen: frozen, profile: profile)
    }

    /// The same with what `source` has from `sourceStart` on in `range`.
    func mapping(
        _ range: Range<Int>,
        to source: Backing,
        from sourceStart: Int
    ) throws(Failure) -> Backing {
        let emptied = try removing(range)
        let below = try source.merged()
        let sourceRange = sourceStart..<sourceStart + range.count
        let distance = range.lowerBound - sourceStart
        var (frozen, profile) = (emptied.frozen, emptied.profile)
        try frozen.insert(
            below.frozen,
            Self.blocks(sourceRange),
            at: range.lowerBound / BlockMap.blockSize
        )
        for extent in below.profile.extents(in: sourceRange) {
            profile.map(extent.moved(by: distance))
        }
        return Backing(frozen: frozen, profile: profile)
    }

    /// The same with one overlay's blocks read from another that has them now.
    func replacing(_ overlay: Int64, with id: Int64, _ data: File) throws(Failure) -> Backing {
        let merged = try merged()
        var frozen = merged.frozen
        frozen.replace(overlay, with: id, data)
        return Backing(frozen: frozen, profile: merged.profile)
    }

    private static func blocks(_ range: Range<Int>) -> Range<Int> {
        let size = BlockMap.blockSize
        return range.lowerBound
            / size..<(range.upperBound / size
            + (range.upperBound % size == 0 ? 0 : 1))
    }
}
