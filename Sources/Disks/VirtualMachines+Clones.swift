package import Failures
internal import Files
internal import Logging
package import Profiles
internal import Store
internal import Synchronization

/// What a disk, or a snapshot's, shows at one moment, kept for as long as somebody holds on to it.
package final class PinnedView: ViewedDisk {
    package let source: CloneSource
    private let keeping: SnapshotDisk?

    init(_ source: CloneSource, keeping disk: SnapshotDisk? = nil) {
        self.source = source
        keeping = disk
    }

    package var size: Int { source.size }

    var overlay: Int64? {
        if case .overlay(let id) = source.source { id } else { nil }
    }

    package func withView<Value>(
        _ body: (DiskView) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try body(DiskView(size: source.size, overlay: nil, backing: source.backing))
    }
}

extension VirtualMachines {
    /// Holds on to what a disk shows now, while it is written: for one copy of it, however many
    /// requests that takes.
    ///
    /// Nothing is copied: the disk's overlay is frozen. What was written is made durable first, so that
    /// a clone never shows blocks from before. Blocks its thread for as long; writers wait for a moment.
    package func pin(_ disk: Disk) throws(Failure) -> PinnedView {
        let view = try change.withLock { (_) throws(Failure) in
            try disk.checkIsWell(disk.view)
            guard unlinked.withLock({ $0[disk.id] }) == nil else {
                throw Failure(.unsupported, "a disk that was removed is copied, not cloned")
            }
            let directory = machine(id: disk.row.vm)?.overlayDirectory
            let view = PinnedView(try freeze([disk], in: directory)[0])
            keep(view)
            CrashPoint.cloneFrozen.reached()
            return view
        }
        if !view.source.isDurable { try flushQueue.flushAndWait([disk]) }
        return view
    }

    /// Holds on to what all disks of a VM show at one moment. It need not be durable.
    package func pinDisks(of machineName: String) throws(Failure) -> [String: PinnedView] {
        try change.withLock { (_) throws(Failure) in
            let machine = try existing(machineName)
            guard machine.missingDisks.isEmpty else {
                throw Failure(
                    .unavailable,
                    "VM \(machineName) has disks that cannot be opened: "
                        + machine.missingDisks.keys.sorted().joined(separator: ", ")
                )
            }
            let names = machine.disks.keys.sorted()
            let disks = names.compactMap { machine.disks[$0] }
            for disk in disks { try disk.checkIsWell(disk.view) }
            let views = try freeze(disks, in: machine.overlayDirectory).map { PinnedView($0) }
            for view in views { keep(view) }
            return Dictionary(uniqueKeysWithValues: zip(names, views))
        }
    }

    /// The disks of a snapshot, kept also if it is dropped meanwhile.
    package func pinDisks(
        of machineName: String,
        snapshot name: String
    ) throws(Failure) -> [String: PinnedView] {
        guard let snapshot = try existing(machineName).snapshot(named: name) else {
            throw Failure(
                .notFound,
                "VM \(machineName) has no snapshot \(name)",
                hint: "see: ccnfs snapshots \(machineName)"
            )
        }
        var views: [String: PinnedView] = [:]
        for (name, disk) in snapshot.disks { views[name] = try pin(disk) }
        return views
    }

    /// Lets everything that maps to a moment of a disk map to content with the same bytes instead.
    ///
    /// One durable commit for each overlay above; whatever dies in between, every disk reads the same.
    /// The space of the blocks comes back behind it.
    package func rebase(_ view: PinnedView, onto content: SegmentedContent) throws(Failure) {
        guard let overlay = view.overlay, content.descriptor.size == view.size else {
            throw Failure(.invalid, "the content is not that of this moment of the disk")
        }
        try change.withLock { (_) throws(Failure) in
            try overlays.arranging.withLock { (_) throws(Failure) in
                try moveReferences(from: overlay, to: content)
            }
            // Laid out anew, or blocks would be read on where they were: those of this overlay and those of
            // any below it, which nothing may refer to any more.
            for disk in allDisks() where !disk.backing.isContentOnly { try relayOut(disk) }
        }
    }

    private func moveReferences(
        from overlay: Int64,
        to content: SegmentedContent
    ) throws(Failure) {
        let source = CloneSource(content).source
        let graph = try OverlayGraph(database, roots: [])
        for (above, _) in graph.referrers[overlay] ?? [] {
            try replaceExtents(of: above) { extents in
                var profile = Profile(extents: self.overlays.extents(extents))
                for extent in profile.extents where extent.source == .overlay(overlay) {
                    // A disk that was cut off since shows less of the overlay than others do.
                    var byteCount = extent.byteCount
                    if extent.sourceRange.upperBound > content.descriptor.size {
                        let whole =
                            content.descriptor.size / BlockMap.blockSize * BlockMap.blockSize
                        byteCount = whole - extent.sourceStart
                    }
                    guard byteCount > 0 else { continue }
                    profile.map(
                        Extent(
                            start: extent.start,
                            byteCount: byteCount,
                            source: source,
                            sourceStart: extent.sourceStart
                        )
                    )
                }
                return profile.rows
            }
        }
        try database.synchronize()
    }

    private func relayOut(_ disk: Disk) throws(Failure) {
        guard unlinked.withLock({ $0[disk.id] }) == nil else { return }
        try overlays.arranging.withLock { (_) throws(Failure) in
            try disk.withShape { (row, below) throws(Failure) in
                var layout = try OverlayLayout(overlays)
                let shown = try layout.below(row.overlay)
                disk.adopt(
                    row,
                    Disk.Below(
                        profile: below.profile,
                        backing: shown.backing,
                        unsettled: shown.unsettled
                    )
                )
            }
        }
    }

    package func pin(_ disk: SnapshotDisk) throws(Failure) -> PinnedView {
        let view = PinnedView(try disk.cloneSource(), keeping: disk)
        keep(view)
        return view
    }

    func keep(_ view: PinnedView) {
        defer { noteReference() }
        pinned.withLock { pinned in
            pinned = pinned.filter { $0.view != nil } + [WeakPin(view: view)]
        }
    }

    /// A snapshot that is deleted while its disk is open.
    func keepWhileOpen(_ disk: SnapshotDisk) { openDeleted.withLock { $0.append(disk) } }

    /// Ends one use of a snapshot's disk; called at each close.
    package func close(_ disk: SnapshotDisk) {
        disk.close()
        guard !disk.isOpen else { return }
        let wasDeleted = openDeleted.withLock { disks in
            let count = disks.count
            disks.removeAll { $0 === disk }
            return disks.count < count
        }
        if wasDeleted { requestReclaim() }
    }
}
