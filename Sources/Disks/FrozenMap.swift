internal import Failures
internal import Files
internal import Profiles

/// Which frozen overlay has each block of a disk: one look-up, however many overlays lie on each
/// other.
///
/// ```
///   page of 4,096 blocks
///     one:   the states of a single overlay, two bits a block, shared with others that show it
///     mixed: 16 bits a block: 0 absent, 1 zeros, n + 2: sources[n]
/// ```
/// A page that is not there is absent throughout. Blocks that a later overlay hides are not in the map.
/// A value: copies share pages until one of them changes.
struct FrozenMap: Sendable {
    /// An overlay's file, and how its offsets differ from the disk's.
    struct Source: Sendable {
        let overlay: Int64
        let data: File
        /// Added to an offset of the disk it gives that in the file. Bytes, a multiple of a block.
        let shift: Int
    }

    private enum Page: Sendable {
        case one(source: UInt16, states: [UInt8])
        case mixed([UInt16])
    }

    private(set) var sources: [Source] = []
    private var pages: [Int: Page] = [:]

    private static let blocksPerPage = BlockMap.blocksPerPage
    private static let absent: UInt16 = 0
    private static let zero: UInt16 = 1
    private static let firstSource: UInt16 = 2
    /// Overlays that one disk may show blocks of; far above what snapshots and merging leave.
    static let sourceLimit = 32_768

    init() {}

    var isEmpty: Bool { pages.isEmpty }

    /// Whether blocks of an overlay may be among what is shown.
    func shows(_ overlay: Int64) -> Bool { sources.contains { $0.overlay == overlay } }
}

// MARK: - Looking

extension FrozenMap {
    enum Entry: Sendable {
        case absent
        case zero
        case data(Source)
    }

    /// What `block` is and how many blocks from it on, at most `limit`, are the same.
    func run(at block: Int, limit: Int) -> (entry: Entry, count: Int) {
        let (value, count) = valueRun(at: block, limit: limit)
        return (entry(value), count)
    }

    private func entry(_ value: UInt16) -> Entry {
        switch value {
        case Self.absent: .absent
        case Self.zero: .zero
        default: .data(sources[Int(value - Self.firstSource)])
        }
    }

    private func valueRun(at block: Int, limit: Int) -> (value: UInt16, count: Int) {
        var page = block / Self.blocksPerPage
        var index = block % Self.blocksPerPage
        let first = Self.value(pages[page], index)
        var count = 0
        while count < limit {
            let end = min(Self.blocksPerPage, index + limit - count)
            let same = Self.run(pages[page], from: index, to: end, of: first)
            count += same
            if same < end - index { break }
            page += 1
            index = 0
        }
        return (first, count)
    }

    private static func value(_ page: Page?, _ index: Int) -> UInt16 {
        switch page {
        case nil: return absent
        case .mixed(let values): return values[index]
        case .one(let source, let states): return value(BlockMap.state(states, index), source)
        }
    }

    private static func value(_ state: UInt8, _ source: UInt16) -> UInt16 {
        switch state {
        case BlockState.data.rawValue: source
        case BlockState.zero.rawValue: zero
        default: absent
        }
    }

    /// How many of the page's blocks from `start` on, before `end`, have this value.
    private static func run(_ page: Page?, from start: Int, to end: Int, of wanted: UInt16) -> Int {
        var index = start
        switch page {
        case nil: return wanted == absent ? end - start : 0
        case .mixed(let values):
            while index < end, values[index] == wanted { index += 1 }
        case .one(let source, let states):
            while index < end, value(BlockMap.state(states, index), source) == wanted { index += 1 }
        }
        return index - start
    }
}

// MARK: - Changing

extension FrozenMap {
    private mutating func number(of source: Source) throws(Failure) -> UInt16 {
        let known = sources.firstIndex {
            $0.overlay == source.overlay && $0.shift == source.shift
        }
        if let known { return UInt16(known) + Self.firstSource }
        guard sources.count < Self.sourceLimit else {
            throw Failure(
                .tooLarge,
                "the disk shows blocks of \(sources.count) overlays; more are not allowed",
                hint: "delete snapshots or clones, then: ccnfs reclaim"
            )
        }
        sources.append(source)
        return UInt16(sources.count - 1) + Self.firstSource
    }

    /// Lays the blocks of an overlay over what is here.
    mutating func lay(_ pages: [Int: [UInt8]], of source: Source) throws(Failure) {
        if pages.isEmpty { return }
        let number = try number(of: source)
        for (page, states) in pages {
            guard let below = self.pages.removeValue(forKey: page) else {
                self.pages[page] = .one(source: number, states: states)
                continue
            }
            var values = Self.values(below)
            var isOfOne = true
            for index in 0..<Self.blocksPerPage {
                let state = BlockMap.state(states, index)
                if state != BlockState.absent.rawValue {
                    values[index] = Self.value(state, number)
                } else if values[index] != Self.absent {
                    isOfOne = false
                }
            }
            self.pages[page] = isOfOne ? .one(source: number, states: states) : .mixed(values)
        }
    }

    private static func values(_ page: Page?) -> [UInt16] {
        switch page {
        case nil: [UInt16](repeating: absent, count: blocksPerPage)
        case .mixed(let values): values
        case .one(let source, let states):
            (0..<blocksPerPage).map { value(BlockMap.state(states, $0), source) }
        }
    }

    /// Makes blocks absent.
    mutating func remove(_ blocks: Range<Int>) {
        for page in pages.keys {
            let start = page * Self.blocksPerPage
            let part = blocks.clamped(to: start..<start + Self.blocksPerPage)
            if part.isEmpty { continue }
            if part.count == Self.blocksPerPage {
                pages[page] = nil
                continue
            }
            var values = Self.values(pages.removeValue(forKey: page))
            for block in part { values[block - start] = Self.absent }
            if values.contains(where: { $0 != Self.absent }) { pages[page] = .mixed(values) }
        }
    }

    /// Takes over `blocks` of another disk's map, from block `target` on, where nothing is.
    mutating func insert(
        _ other: FrozenMap,
        _ blocks: Range<Int>,
        at target: Int
    ) throws(Failure) {
        let distance = target - blocks.lowerBound
        var numbers: [UInt16: UInt16] = [:]
        for (page, content) in other.pages {
            let start = page * Self.blocksPerPage
            let part = blocks.clamped(to: start..<start + Self.blocksPerPage)
            if part.isEmpty { continue }
            let moved = part.lowerBound + distance
            let isWhole =
                part.count == Self.blocksPerPage && moved % Self.blocksPerPage == 0
            if isWhole, case .one(let source, let states) = content {
                pages[moved / Self.blocksPerPage] = .one(
                    source: try number(of: source, in: other, moved: distance, &numbers),
                    states: states
                )
                continue
            }
            let values = Self.values(content)
            for block in part where values[block - start] != Self.absent {
                let value = values[block - start]
                set(
                    block + distance,
                    try number(of: value, in: other, moved: distance, &numbers)
                )
            }
        }
    }

    private mutating func set(_ block: Int, _ value: UInt16) {
        let page = block / Self.blocksPerPage
        // Out of the dictionary while it changes, so that it is not copied for each block. A page may
        // have blocks already where several extents share it.
        var values = Self.values(pages.removeValue(forKey: page))
        values[block % Self.blocksPerPage] = value
        pages[page] = .mixed(values)
    }

    private mutating func number(
        of value: UInt16,
        in other: FrozenMap,
        moved distance: Int,
        _ numbers: inout [UInt16: UInt16]
    ) throws(Failure) -> UInt16 {
        guard value >= Self.firstSource else { return value }
        if let known = numbers[value] { return known }
        let source = other.sources[Int(value - Self.firstSource)]
        let own = try number(
            of: Source(
                overlay: source.overlay,
                data: source.data,
                shift: source.shift - distance * BlockMap.blockSize
            )
        )
        numbers[value] = own
        return own
    }

    /// Reads blocks of one overlay from another that has the same bytes at the same offsets now.
    mutating func replace(_ overlay: Int64, with id: Int64, _ data: File) {
        for index in sources.indices where sources[index].overlay == overlay {
            sources[index] = Source(overlay: id, data: data, shift: sources[index].shift)
        }
    }
}
