package import Failures
internal import Files
internal import Logging
internal import Profiles
internal import Store
internal import Synchronization

/// Space of written blocks.
package struct OverlayUsage: Sendable, Codable {
    package var count = 0
    /// Bytes the files take on disk.
    package var allocatedBytes = 0
    /// Something was deleted whose space is on its way back.
    package var isReclaiming = false
}

extension VirtualMachines {
    /// Frees in the background what deletions left.
    package func requestReclaim() {
        reclaiming.request { [weak self] in
            guard let self else { return }
            do throws(Failure) {
                try reclaimOverlays()
            } catch {
                logger.warning(
                    "space of deleted disks and snapshots is not reclaimed",
                    metadata: ["cause": "\(error)", "remedy": "ccnfs reclaim"]
                )
            }
        }
    }

    /// Something may be needed from now on that was not: committed, or kept in memory.
    func noteReference() { references.add(1, ordering: .sequentiallyConsistent) }

    /// Frees what no disk, snapshot or copy under way shows any more, and shortens stacks of overlays
    /// that only deleted snapshots had kept apart.
    ///
    /// Each step is a durable commit after which everything reads the same, then the space: overlays
    /// nobody refers to; blocks that others hide; overlays without blocks; two overlays that are one.
    package func reclaimOverlays() throws(Failure) {
        // Space of discarded blocks comes with a flush of their disk.
        try flushQueue.flushAndWait(allDisks().filter(\.hasFreedBlocks))
        try reclaiming.pass.withLock { (_) throws(Failure) in
            // Every step may give the next one something to do.
            while try reclaimOnce() {}
        }
    }

    /// What a pass does next: parts that do not touch each other, so that one look serves all.
    private enum Step {
        case nothing
        case remove([OverlayRow])
        case free([Hidden])
        case takeOut([Int64])
        case merge([Merge])

        /// In pieces after each of which others get their turn.
        var parts: [Step] {
            switch self {
            case .nothing: []
            case .remove, .free, .takeOut: [self]
            case .merge(let merges):
                stride(from: 0, to: merges.count, by: VirtualMachines.mergesAtOnce).map { start in
                    let end = min(start + VirtualMachines.mergesAtOnce, merges.count)
                    return .merge(Array(merges[start..<end]))
                }
            }
        }
    }

    private static let mergesAtOnce = 8

    private struct Hidden {
        let overlay: OverlayRow
        let pages: [MapPageRow]
        let data: [Range<Int>]
    }

    /// - Returns: whether there may be more to do.
    private func reclaimOnce() throws(Failure) -> Bool {
        // Looking takes its time where much was written, and mkdir and cp do not wait for it.
        for _ in 0..<Self.looksLimit {
            let before = references.load(ordering: .sequentiallyConsistent)
            var graph = try OverlayGraph(database, roots: try roots())
            let step = try step(&graph)
            if case .nothing = step { return false }
            var isDone = false
            for part in step.parts {
                let isPerformed = try change.withLock { (_) throws(Failure) in
                    guard references.load(ordering: .sequentiallyConsistent) == before else {
                        return false
                    }
                    try perform(part, graph)
                    return true
                }
                guard isPerformed else { break }
                isDone = true
            }
            if isDone { return true }
        }
        return try change.withLock { (_) throws(Failure) in
            var graph = try OverlayGraph(database, roots: try roots())
            let step = try step(&graph)
            guard let first = step.parts.first else { return false }
            try perform(first, graph)
            return true
        }
    }

    /// Looks in vain, because something changed meanwhile, before changes have to wait.
    private static let looksLimit = 8

    private func step(_ graph: inout OverlayGraph) throws(Failure) -> Step {
        let unreachable = graph.unreachable()
        if !unreachable.isEmpty { return .remove(unreachable) }
        let interior = graph.interior.filter(isSettled)
        if interior.count < graph.interior.count { reclaiming.waitForSettling() }
        let hidden = try hidden(&graph, interior)
        if !hidden.isEmpty { return .free(hidden) }
        let empty = try empty(&graph, interior)
        if !empty.isEmpty { return .takeOut(empty) }
        let merges = try merges(&graph, interior)
        return merges.isEmpty ? .nothing : .merge(merges)
    }

    private func perform(_ step: Step, _ graph: OverlayGraph) throws(Failure) {
        try overlays.arranging.withLock { (_) throws(Failure) in
            switch step {
            case .nothing: break
            case .remove(let overlays): try remove(overlays)
            case .free(let hidden): try free(hidden)
            case .takeOut(let empty):
                for overlay in empty { try takeOut(overlay, graph) }
            case .merge(let merges): try perform(merges, graph)
            }
        }
    }

    private func roots() throws(Failure) -> Set<Int64> {
        openDeleted.withLock { $0 = $0.filter(\.isOpen) }
        var roots = Set(try database.disks().map(\.overlay))
        roots.formUnion(try database.snapshotDisks().map(\.overlay))
        roots.formUnion(openDeleted.withLock { $0.map(\.row.overlay) })
        roots.formUnion(pinnedViews().compactMap(\.overlay))
        for disk in unlinked.withLock({ Array($0.values) }) {
            // Its own may be gone from the database.
            roots.insert(disk.overlayId)
            for extent in disk.profile.extents {
                if case .overlay(let id) = extent.source { roots.insert(id) }
            }
        }
        return roots
    }

    private func remove(_ unreachable: [OverlayRow]) throws(Failure) {
        try reserve.lend { () throws(Failure) in
            try database.deleteOverlays(unreachable.map(\.id))
        }
        CrashPoint.reclaimCommitted.reached()
        for overlay in unreachable { try Overlay.remove(overlays.folder(of: overlay)) }
    }

    private func hidden(
        _ graph: inout OverlayGraph,
        _ interior: [Int64]
    ) throws(Failure) -> [Hidden] {
        var found: [Hidden] = []
        for overlay in interior {
            let hidden = try graph.hidden(of: overlay)
            guard !hidden.isEmpty, let row = graph.rows[overlay] else { continue }
            let pages = hidden.map { page, hidden in
                MapPageRow(
                    page: page,
                    states: hidden.states.allSatisfy { $0 == 0 } ? [] : hidden.states
                )
            }
            found.append(
                Hidden(overlay: row, pages: pages, data: hidden.values.flatMap(\.data))
            )
        }
        return found
    }

    private func free(_ hidden: [Hidden]) throws(Failure) {
        try reserve.lend { () throws(Failure) in
            try commit(hidden.map { (overlay: $0.overlay.id, pages: $0.pages) })
        }
        CrashPoint.reclaimCommitted.reached()
        // A read that began before the block above was written may still be at it.
        for disk in allDisks() { disk.readers.waitForReaders() }
        for hidden in hidden {
            let file = try overlays.frozenFile(hidden.overlay)
            for blocks in hidden.data {
                try file.punchHole(
                    at: blocks.lowerBound * BlockMap.blockSize,
                    byteCount: blocks.count * BlockMap.blockSize
                )
            }
        }
        CrashPoint.reclaimPunched.reached()
    }

    /// Commits pages of settled overlays: no flush commits older ones of them any more.
    private func commit(_ pages: [(overlay: Int64, pages: [MapPageRow])]) throws(Failure) {
        try overlays.settling.withLock { (_) throws(Failure) in
            try database.commit(mapPages: pages)
        }
    }

    /// Not settled yet: the next flush of a disk over it does that.
    private func isSettled(_ overlay: Int64) -> Bool {
        overlays.openOverlay(overlay)?.isSettled ?? true
    }

    /// Overlays without blocks, none of them next to another.
    private func empty(
        _ graph: inout OverlayGraph,
        _ interior: [Int64]
    ) throws(Failure) -> [Int64] {
        var empty: [Int64] = []
        var touched: Set<Int64> = []
        for overlay in interior {
            let pages = try graph.pages(of: overlay).values
            guard pages.allSatisfy({ $0.allSatisfy { $0 == 0 } }) else { continue }
            let around = graph.neighbours(of: overlay).union([overlay])
            guard touched.isDisjoint(with: around) else { continue }
            touched.formUnion(around)
            empty.append(overlay)
        }
        return empty
    }

    /// Those above an overlay without blocks refer to what is below it instead.
    private func takeOut(_ overlay: Int64, _ graph: OverlayGraph) throws(Failure) {
        for (above, _) in graph.referrers[overlay] ?? [] {
            try replaceExtents(of: above) { extents in
                extents.flatMap { extent -> [ExtentRow] in
                    guard extent.source == .overlay(overlay) else { return [extent] }
                    return graph.passing(extent, through: overlay)
                }
            }
        }
    }

    /// Changes how an overlay refers to what is below it; what it shows stays the same.
    func replaceExtents(
        of overlay: Int64,
        _ body: ([ExtentRow]) -> [ExtentRow]
    ) throws(Failure) {
        guard let disk = allDisks().first(where: { $0.overlayId == overlay }) else {
            let rows = try database.extents(of: overlay)
            return try database.replaceExtents(of: overlay, with: body(rows))
        }
        try disk.withShape { (row, below) throws(Failure) in
            let rows = body(below.profile.rows)
            try database.update(row, extents: rows)
            var below = below
            below.profile = Profile(extents: overlays.extents(rows))
            disk.adopt(row, below)
        }
    }

    /// Two overlays that only one stack has, one right over the other: the fewer blocks move to the more.
    private struct Merge {
        let lower: OverlayRow
        let upper: OverlayRow
        /// The blocks move up.
        let isUp: Bool
        let moved: [Int: [UInt8]]
        let kept: [Int: [UInt8]]

        var from: OverlayRow { isUp ? lower : upper }
        var to: OverlayRow { isUp ? upper : lower }

        /// The map pages of both; no block has a state in each.
        var mergedPages: [MapPageRow] {
            moved.map { page, states in
                guard let other = kept[page] else { return MapPageRow(page: page, states: states) }
                return MapPageRow(page: page, states: zip(states, other).map { $0 | $1 })
            }
        }
    }

    /// Pairs that do not touch each other.
    private func merges(
        _ graph: inout OverlayGraph,
        _ interior: [Int64]
    ) throws(Failure) -> [Merge] {
        let candidates = Set(interior)
        var merges: [Merge] = []
        var touched: Set<Int64> = []
        for lower in interior {
            guard let referrers = graph.referrers[lower], referrers.count == 1 else { continue }
            let (upper, extent) = referrers[0]
            guard candidates.contains(upper), extent.start == 0, extent.sourceStart == 0,
                graph.extents[upper]?.count == 1, let lowerRow = graph.rows[lower],
                let upperRow = graph.rows[upper], extent.byteCount == upperRow.size,
                lowerRow.size == upperRow.size
            else { continue }
            let around = graph.neighbours(of: lower).union(graph.neighbours(of: upper))
            guard touched.isDisjoint(with: around) else { continue }
            touched.formUnion(around)
            let lowerPages = try graph.pages(of: lower)
            let upperPages = try graph.pages(of: upper)
            let isUp = Self.dataCount(lowerPages) < Self.dataCount(upperPages)
            merges.append(
                Merge(
                    lower: lowerRow,
                    upper: upperRow,
                    isUp: isUp,
                    moved: isUp ? lowerPages : upperPages,
                    kept: isUp ? upperPages : lowerPages
                )
            )
        }
        return merges
    }

    /// Order, for each: blocks copied to where the other has none that anybody sees; fdatasync; durable
    /// commit of its map; those above refer to it, in the database and in memory; the emptied one goes
    /// with the next step.
    private func perform(_ merges: [Merge], _ graph: OverlayGraph) throws(Failure) {
        var pages: [(overlay: Int64, pages: [MapPageRow])] = []
        for merge in merges {
            let target = try overlays.frozenFile(merge.to)
            try copy(merge.moved, from: try overlays.frozenFile(merge.from), to: target)
            try target.synchronizeData()
            pages.append((overlay: merge.to.id, pages: merge.mergedPages))
        }
        CrashPoint.mergeCopied.reached()
        try commit(pages)
        for merge in merges {
            try moveReferrers(of: merge, graph)
            let target = try overlays.frozenFile(merge.to)
            for disk in allDisks()
            where disk.backing.recent != nil || disk.backing.frozen.shows(merge.from.id) {
                try disk.replaceOverlay(merge.from.id, with: merge.to.id, target)
            }
        }
        CrashPoint.mergeCommitted.reached()
    }

    private func moveReferrers(of merge: Merge, _ graph: OverlayGraph) throws(Failure) {
        let (lower, upper) = (merge.lower.id, merge.upper.id)
        if merge.isUp {
            return try replaceExtents(of: upper) { extents in
                extents.flatMap { graph.passing($0, through: lower) }
            }
        }
        for (above, _) in graph.referrers[upper] ?? [] {
            try replaceExtents(of: above) { extents in
                extents.map { extent in
                    guard extent.source == .overlay(upper) else { return extent }
                    var extent = extent
                    extent.source = .overlay(lower)
                    return extent
                }
            }
        }
    }

    private static func dataCount(_ pages: [Int: [UInt8]]) -> Int {
        pages.values.reduce(0) { $0 + BlockMap.dataBlocks(in: $1) }
    }

    private func copy(_ pages: [Int: [UInt8]], from: File, to: File) throws(Failure) {
        for page in pages.keys.sorted() {
            let map = BlockMap(pages: [MapPageRow(page: page, states: pages[page] ?? [])])
            for (blocks, state) in map.runs() where state == .data {
                for start in stride(from: blocks.lowerBound, to: blocks.upperBound, by: 256) {
                    let count = min(256, blocks.upperBound - start)
                    let bytes = try from.bytes(
                        at: start * BlockMap.blockSize,
                        byteCount: count * BlockMap.blockSize
                    )
                    try to.write(bytes.span, at: start * BlockMap.blockSize)
                }
            }
        }
    }

    /// Bytes that written blocks take, of all disks and snapshots.
    package func overlayUsage() throws(Failure) -> OverlayUsage {
        var usage = OverlayUsage(isReclaiming: reclaiming.isPending)
        for row in try database.overlays() {
            let folder = overlays.folder(of: row)
            usage.count += 1
            usage.allocatedBytes +=
                try FileTree.status(of: Overlay.dataPath(folder))?.allocatedByteCount ?? 0
        }
        return usage
    }
}
