internal import Files
package import Store

/// What the overlay says of a 4 KiB block.
package enum BlockState: UInt8, Sendable {
    /// Nothing: what is below shows through.
    case absent = 0
    /// The overlay's file has the block.
    case data = 1
    /// Zeros, whatever is below.
    case zero = 2
}

/// The state of every block of a disk, two bits each.
///
/// ```
///   page 0: blocks 0 … 4095            1,024 bytes, 16 MiB of disk
///     byte 0:  | b3 | b2 | b1 | b0 |   two bits a block, lowest block in the lowest bits
///   page 1: blocks 4096 … 8191
/// ```
/// Pages of nothing but absent blocks take no memory. A page is *dirty* from a change until it is
/// taken for a durable commit.
///
/// Concurrency: any thread; one lock, held for the words of one request.
package final class BlockMap: Sendable {
    package static let blockSize = 4096
    package static let blocksPerPage = 4096
    package static let bytesPerPage = blocksPerPage / 4

    fileprivate struct State {
        var pages: [Int: [UInt8]] = [:]
        var dirty: Set<Int> = []
        var dataBlockCount = 0
    }

    private let state = Guarded(State())

    package init() {}

    /// Fills the map from what was durable.
    package init(pages: [MapPageRow]) {
        state.withLock { state in
            for row in pages where row.states.count == Self.bytesPerPage {
                state.pages[row.page] = row.states
                state.dataBlockCount += Self.dataBlocks(in: row.states)
            }
        }
    }

    package static func dataBlocks(in states: [UInt8]) -> Int {
        states.reduce(0) { count, byte in
            // Both bits are never set; data is the low bit of each pair.
            count + (byte & 0b0101_0101).nonzeroBitCount
        }
    }

    /// The state of an entry of a page.
    @inline(__always)
    package static func state(_ states: [UInt8], _ entry: Int) -> UInt8 {
        states[entry >> 2] >> UInt8((entry & 3) * 2) & 3
    }

    /// Blocks in the overlay's file.
    package var dataBlockCount: Int { state.withLock(\.dataBlockCount) }

    /// The state of `block` and how many blocks from it on, at most `limit`, have the same.
    package func run(at block: Int, limit: Int) -> (state: BlockState, count: Int) {
        state.withLock { state in
            var page = block / Self.blocksPerPage
            var entry = block % Self.blocksPerPage
            var states = state.pages[page]
            func value(_ states: [UInt8]?, _ entry: Int) -> UInt8 {
                guard let states else { return 0 }
                return states[entry >> 2] >> UInt8((entry & 3) * 2) & 3
            }
            let first = value(states, entry)
            var count = 1
            while count < limit {
                entry += 1
                if entry == Self.blocksPerPage {
                    entry = 0
                    page += 1
                    states = state.pages[page]
                }
                if states == nil {
                    // A page that is not there is all absent.
                    if first != 0 { break }
                    count += min(Self.blocksPerPage - entry, limit - count)
                    entry = Self.blocksPerPage - 1
                    continue
                }
                guard value(states, entry) == first else { break }
                count += 1
            }
            return (BlockState(rawValue: first) ?? .absent, count)
        }
    }

    /// - Returns: true if every block of the range has this state.
    package func all(_ range: Range<Int>, are wanted: BlockState) -> Bool {
        let run = run(at: range.lowerBound, limit: range.count)
        return run.state == wanted && run.count == range.count
    }

    /// Sets the state of a range and marks its pages dirty.
    package func set(_ range: Range<Int>, to new: BlockState) {
        state.withLock { $0.set(range, to: new) }
    }

    /// The same; and the bytes of the map that hold the range, before and after, with the first one's
    /// index: for the live map's file.
    package func exchange(
        _ range: Range<Int>,
        to new: BlockState
    ) -> (first: Int, before: [UInt8], after: [UInt8]) {
        state.withLock { state in
            let before = state.bytes(of: range)
            state.set(range, to: new)
            return (range.lowerBound / 4, before, state.bytes(of: range))
        }
    }
}

extension BlockMap.State {
    fileprivate mutating func set(_ range: Range<Int>, to new: BlockState) {
        // Behind the last page there is nothing to clear, however long the range.
        var rangeEnd = range.upperBound
        if new == .absent {
            rangeEnd = min(rangeEnd, ((pages.keys.max() ?? -1) + 1) * BlockMap.blocksPerPage)
        }
        var block = range.lowerBound
        while block < rangeEnd {
            let page = block / BlockMap.blocksPerPage
            let start = page * BlockMap.blocksPerPage
            let end = min(rangeEnd, start + BlockMap.blocksPerPage)
            defer { block = end }
            if new == .absent, pages[page] == nil { continue }
            // Out of the table while it changes, so that it is not copied.
            var states =
                pages.removeValue(forKey: page)
                ?? [UInt8](repeating: 0, count: BlockMap.bytesPerPage)
            for entry in block - start..<end - start {
                let shift = UInt8((entry & 3) * 2)
                let old = states[entry >> 2] >> shift & 3
                dataBlockCount += (new == .data ? 1 : 0) - (old == BlockState.data.rawValue ? 1 : 0)
                states[entry >> 2] &= ~(3 << shift)
                states[entry >> 2] |= new.rawValue << shift
            }
            pages[page] = states
            dirty.insert(page)
        }
    }

    fileprivate func bytes(of range: Range<Int>) -> [UInt8] {
        let first = range.lowerBound / 4
        let last = (range.upperBound - 1) / 4
        return (first...last).map { index in
            pages[index / BlockMap.bytesPerPage]?[index % BlockMap.bytesPerPage] ?? 0
        }
    }
}

// MARK: - Whole pages, for the live map's file

extension BlockMap {
    /// Pages that have a block which is not absent, or had one since it was last taken.
    package var pageNumbers: [Int] { state.withLock { Array($0.pages.keys) } }

    /// All pages as they are.
    package var pages: [Int: [UInt8]] { state.withLock(\.pages) }

    /// Every block is absent.
    package var isEmpty: Bool {
        state.withLock { $0.pages.values.allSatisfy { $0.allSatisfy { $0 == 0 } } }
    }

    package func states(ofPage page: Int) -> [UInt8] {
        state.withLock { $0.pages[page] } ?? [UInt8](repeating: 0, count: Self.bytesPerPage)
    }

    /// Puts bytes of the map back as ``exchange(_:to:)`` gave them.
    package func restore(_ bytes: [UInt8], from first: Int) {
        for (offset, byte) in bytes.enumerated() {
            for entry in 0..<4 {
                let block = (first + offset) * 4 + entry
                let old = BlockState(rawValue: byte >> UInt8(entry * 2) & 3) ?? .absent
                set(block..<block + 1, to: old)
            }
        }
    }
}

// MARK: - Durable commits

extension BlockMap {
    /// Copies of all dirty pages as they are now, which count as clean from here on.
    ///
    /// A page of absent blocks comes without states: its row is to be removed.
    package func takeDirtyPages() -> [MapPageRow] {
        state.withLock { state in
            let rows = state.dirty.sorted().map { page in
                let states = state.pages[page] ?? []
                let isEmpty = states.allSatisfy { $0 == 0 }
                if isEmpty { state.pages[page] = nil }
                return MapPageRow(page: page, states: isEmpty ? [] : states)
            }
            state.dirty.removeAll()
            return rows
        }
    }

    /// Copies of all dirty pages, which stay dirty: for an overlay that is frozen, and that several
    /// disks may make durable at once.
    package func dirtyPages() -> [MapPageRow] {
        state.withLock { state in
            state.dirty.sorted().map { page in
                let states = state.pages[page] ?? []
                return MapPageRow(
                    page: page,
                    states: states.allSatisfy { $0 == 0 } ? [] : states
                )
            }
        }
    }

    /// A commit of these pages failed: they are dirty again.
    package func restoreDirty(_ rows: [MapPageRow]) {
        state.withLock { $0.dirty.formUnion(rows.map(\.page)) }
    }

    /// The rows of all dirty pages and of those that have blocks of `range`, as they will be when
    /// those blocks are absent. Changes nothing.
    package func pages(clearing range: Range<Int>) -> [MapPageRow] {
        state.withLock { state in
            let touched = state.pages.keys.filter { page in
                let start = page * Self.blocksPerPage
                return range.overlaps(start..<start + Self.blocksPerPage)
            }
            return state.dirty.union(touched).sorted().map { page in
                var states = state.pages[page] ?? []
                let start = page * Self.blocksPerPage
                for block in range.clamped(to: start..<start + Self.blocksPerPage)
                where !states.isEmpty {
                    let entry = block - start
                    states[entry >> 2] &= ~(3 << UInt8((entry & 3) * 2))
                }
                let isEmpty = states.allSatisfy { $0 == 0 }
                return MapPageRow(page: page, states: isEmpty ? [] : states)
            }
        }
    }

    package var hasDirtyPages: Bool { state.withLock { !$0.dirty.isEmpty } }

    /// Takes over a page of a live map that may be ahead of the durable one.
    package func merge(livePage page: Int, states: [UInt8]) {
        state.withLock { state in
            let old = state.pages[page] ?? [UInt8](repeating: 0, count: Self.bytesPerPage)
            guard old != states else { return }
            state.dataBlockCount += Self.dataBlocks(in: states) - Self.dataBlocks(in: old)
            state.pages[page] = states
            state.dirty.insert(page)
        }
    }

    /// Whether a block from `block` on is not absent.
    package func hasBlocks(from block: Int) -> Bool {
        pageNumbers.contains { page in
            let start = max(block, page * Self.blocksPerPage)
            let end = (page + 1) * Self.blocksPerPage
            return start < end && !all(start..<end, are: .absent)
        }
    }

    /// Forgets all blocks from `block` on: they are absent.
    package func clip(to block: Int) {
        let pages = state.withLock { Array($0.pages.keys) }
        for page in pages {
            let start = max(block, page * Self.blocksPerPage)
            let end = (page + 1) * Self.blocksPerPage
            if start < end { set(start..<end, to: .absent) }
        }
    }

    /// Every run of blocks that is not absent, in order.
    package func runs(
        in blocks: Range<Int> = 0..<Int.max
    ) -> [(range: Range<Int>, state: BlockState)] {
        let pages = state.withLock { $0.pages.keys.sorted() }
        var runs: [(range: Range<Int>, state: BlockState)] = []
        for page in pages {
            let start = page * Self.blocksPerPage
            let part = blocks.clamped(to: start..<start + Self.blocksPerPage)
            var block = part.lowerBound
            while block < part.upperBound {
                let run = run(at: block, limit: part.upperBound - block)
                let range = block..<block + run.count
                if run.state != .absent {
                    if let last = runs.last, last.state == run.state,
                        last.range.upperBound == range.lowerBound
                    {
                        runs[runs.count - 1].range = last.range.lowerBound..<range.upperBound
                    } else {
                        runs.append((range: range, state: run.state))
                    }
                }
                block += run.count
            }
        }
        return runs
    }
}
