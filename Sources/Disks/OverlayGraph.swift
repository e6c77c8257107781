internal import Failures
internal import Profiles
internal import Store

/// Which overlays lie on which, as the state database says, and which of their blocks somebody sees.
///
/// ```
///   roots      overlays that a disk, a snapshot or a copy under way shows: all their blocks are needed
///   interior   overlays that are only below others: needed is what no overlay above hides
/// ```
/// Only what is durable hides anything: a block that is written and not flushed is absent again after a
/// power cut.
struct OverlayGraph {
    let roots: Set<Int64>
    private(set) var rows: [Int64: OverlayRow]
    private(set) var extents: [Int64: [ExtentRow]]
    /// Who refers to an overlay, with the extent.
    private(set) var referrers: [Int64: [(overlay: Int64, extent: ExtentRow)]] = [:]
    private let database: StateDatabase
    private var pages: [Int64: [Int: [UInt8]]] = [:]
    private var needs: [Key: [Bool]] = [:]

    private struct Key: Hashable {
        let overlay: Int64
        let page: Int
    }

    init(_ database: StateDatabase, roots: Set<Int64>) throws(Failure) {
        self.database = database
        self.roots = roots
        rows = Dictionary(uniqueKeysWithValues: try database.overlays().map { ($0.id, $0) })
        extents = try database.extents()
        for (overlay, extents) in extents {
            for extent in extents {
                guard case .overlay(let below) = extent.source else { continue }
                referrers[below, default: []].append((overlay: overlay, extent: extent))
            }
        }
    }

    /// Overlays that no root reaches.
    func unreachable() -> [OverlayRow] {
        var reached: Set<Int64> = []
        var waiting = Array(roots)
        while let overlay = waiting.popLast() {
            guard reached.insert(overlay).inserted else { continue }
            for extent in extents[overlay] ?? [] {
                if case .overlay(let below) = extent.source { waiting.append(below) }
            }
        }
        return rows.values.filter { !reached.contains($0.id) }
    }

    /// Overlays that are only below others.
    var interior: [Int64] { rows.keys.filter { !roots.contains($0) && referrers[$0] != nil } }

    /// Overlays right above and right below one.
    func neighbours(of overlay: Int64) -> Set<Int64> {
        var found = Set((referrers[overlay] ?? []).map(\.overlay))
        for extent in extents[overlay] ?? [] {
            if case .overlay(let below) = extent.source { found.insert(below) }
        }
        return found
    }

    /// The durable map of an overlay.
    mutating func pages(of overlay: Int64) throws(Failure) -> [Int: [UInt8]] {
        if let known = pages[overlay] { return known }
        let found = BlockMap(pages: try database.mapPages(of: overlay)).pages
        pages[overlay] = found
        return found
    }

    /// The blocks of an interior overlay's own that nobody sees, by page, with the page's states
    /// without them; pages that stay as they are left out.
    mutating func hidden(
        of overlay: Int64
    ) throws(Failure) -> [Int: (states: [UInt8], data: [Range<Int>])] {
        var hidden: [Int: (states: [UInt8], data: [Range<Int>])] = [:]
        for (page, states) in try pages(of: overlay) {
            let needed = try need(of: overlay, page)
            var kept = states
            var data: [Range<Int>] = []
            var isChanged = false
            for index in 0..<BlockMap.blocksPerPage where !needed[index] {
                let state = BlockMap.state(states, index)
                guard state != BlockState.absent.rawValue else { continue }
                isChanged = true
                kept[index >> 2] &= ~(3 << UInt8((index & 3) * 2))
                guard state == BlockState.data.rawValue else { continue }
                let block = page * BlockMap.blocksPerPage + index
                if let last = data.last, last.upperBound == block {
                    data[data.count - 1] = last.lowerBound..<block + 1
                } else {
                    data.append(block..<block + 1)
                }
            }
            if isChanged { hidden[page] = (states: kept, data: data) }
        }
        return hidden
    }

    /// Which blocks of a page of an overlay's view somebody sees.
    private mutating func need(of overlay: Int64, _ page: Int) throws(Failure) -> [Bool] {
        if roots.contains(overlay) {
            return [Bool](repeating: true, count: BlockMap.blocksPerPage)
        }
        let key = Key(overlay: overlay, page: page)
        if let known = needs[key] { return known }
        var needed = [Bool](repeating: false, count: BlockMap.blocksPerPage)
        let start = page * BlockMap.blocksPerPage
        for (above, extent) in referrers[overlay] ?? [] {
            let size = BlockMap.blockSize
            let first = extent.sourceStart / size
            let last = (extent.sourceStart + extent.byteCount + size - 1) / size
            let part = (first..<last).clamped(to: start..<start + BlockMap.blocksPerPage)
            let distance = (extent.start - extent.sourceStart) / size
            let own = try pages(of: above)
            var block = part.lowerBound
            while block < part.upperBound {
                // As far as the page of the overlay above goes.
                let shown = block + distance
                let shownPage = shown / BlockMap.blocksPerPage
                let end = min(
                    part.upperBound,
                    (shownPage + 1) * BlockMap.blocksPerPage - distance
                )
                let states = own[shownPage]
                let neededAbove = try need(of: above, shownPage)
                for block in block..<end {
                    let index = block + distance - shownPage * BlockMap.blocksPerPage
                    let isHidden =
                        states.map { BlockMap.state($0, index) != BlockState.absent.rawValue }
                        ?? false
                    if !isHidden, neededAbove[index] { needed[block - start] = true }
                }
                block = end
            }
        }
        needs[key] = needed
        return needed
    }

    /// What an extent to `overlay` becomes when that has no blocks of its own.
    func passing(_ extent: ExtentRow, through overlay: Int64) -> [ExtentRow] {
        (extents[overlay] ?? []).compactMap { below in
            let start = max(below.start, extent.sourceStart)
            let end = min(
                below.start + below.byteCount,
                extent.sourceStart + extent.byteCount
            )
            guard start < end else { return nil }
            return ExtentRow(
                start: extent.start + start - extent.sourceStart,
                byteCount: end - start,
                sourceStart: below.sourceStart + start - below.start,
                source: below.source
            )
        }
    }
}
