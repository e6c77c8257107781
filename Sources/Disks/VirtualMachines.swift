package import CCNx
package import Failures
internal import Files
package import Logging
package import Profiles
package import Store
internal import Synchronization

/// The VMs of this node, their disks and snapshots.
///
/// Every change is in the state database when the call returns; it outlives the process at once and
/// the power with the next flush of a disk or of the node.
///
/// Concurrency: any thread. `change` serialises changes, so that database and memory agree; `table`
/// is held for look-ups only. Lock order: change, then turns of the flush queue, then a disk's own,
/// then table.
package final class VirtualMachines: Sendable {
    let database: StateDatabase
    let overlays: Overlays
    let reserve: SpaceReserve
    let logger: Logger
    package let flushQueue: FlushQueue
    let table = Mutex<[String: VirtualMachine]>([:])
    let change = Mutex<Void>(())
    /// Deleted disks that someone still has open.
    let unlinked = Mutex<[Int64: Disk]>([:])
    /// Disks of deleted snapshots that someone still has open.
    let openDeleted = Mutex<[SnapshotDisk]>([])
    /// Moments of disks that copies under way hold on to.
    let pinned = Mutex<[WeakPin]>([])
    let reclaiming = OverlayReclaiming()
    /// Counts what may make an overlay needed that was not: the reclaimer looks again then.
    let references = Atomic<Int>(0)
    /// Where written blocks of new VMs are kept that name no place; nil for the state directory.
    package let defaultOverlayDirectory: String?

    struct WeakPin: Sendable { weak let view: PinnedView? }

    /// - Parameters:
    ///   - overlayPlace: a directory for the written blocks of new VMs; nil for `overlaysDirectory`.
    ///   - content: gives the reader of a content; extents with the same content share one.
    package init(
        database: StateDatabase,
        overlaysDirectory: String,
        bootId: String,
        reserve: SpaceReserve,
        logger: Logger,
        overlayPlace: String? = nil,
        content: @escaping @Sendable (ContentDescriptor, Name) -> SegmentedContent
    ) throws(Failure) {
        self.database = database
        self.reserve = reserve
        self.logger = logger
        overlays = Overlays(
            database: database,
            directory: overlaysDirectory,
            bootId: bootId,
            content: content
        )
        flushQueue = FlushQueue(overlays, logger: logger)
        defaultOverlayDirectory = try overlayPlace.map { (place) throws(Failure) in
            try OverlayPlace.directory(in: place, home: try database.homeId())
        }
        try FileTree.makeDirectory(overlaysDirectory, permissions: 0o700)
        let found = try FileTree.names(in: overlaysDirectory)
        guard found.isEmpty || !database.isNew else {
            throw Failure(
                .corrupt,
                "the state database is missing, but written blocks of VMs are in \(overlaysDirectory)",
                hint: "restore state.sqlite from a backup; nothing was removed"
            )
        }
        try dropUnfinished()
        let machines = try loadMachines()
        table.withLock { table in
            for machine in machines { table[machine.name] = machine }
        }
        try removeOrphans()
        overlays.onSettled { [weak self] in
            if let self, self.reclaiming.noteSettled() { self.requestReclaim() }
        }
    }

    /// What had begun when the process before ended and was not answered.
    private func dropUnfinished() throws(Failure) {
        let unfinished = try database.snapshots().filter { !$0.isComplete }
        if !unfinished.isEmpty {
            logger.notice(
                "snapshots that were not answered are dropped",
                metadata: ["names": "\(unfinished.map(\.name).joined(separator: ", "))"]
            )
            try reserve.lend { () throws(Failure) in
                try database.deleteSnapshots(unfinished.map(\.id))
            }
        }
        try database.deleteOrphanMapPages()
    }

    private func loadMachines() throws(Failure) -> [VirtualMachine] {
        var byId: [Int64: VirtualMachine] = [:]
        for row in try database.vms() { byId[row.id] = VirtualMachine(row) }
        var layout = try OverlayLayout(overlays)
        for row in try database.disks() {
            do throws(Failure) {
                let isMoved = byId[row.vm]?.movedAs != nil
                byId[row.vm]?.disks[row.name] = try reopen(row, isReadOnly: isMoved, &layout)
            } catch {
                // One bad disk must not keep all others from their VMs. Its files stay.
                logger.critical(
                    "a disk cannot be opened and is left out",
                    metadata: [
                        "vm": "\(byId[row.vm]?.name ?? "?")", "disk": "\(row.name)",
                        "cause": "\(error)",
                    ]
                )
                byId[row.vm]?.missingDisks[row.name] = "\(error)"
            }
        }
        let disks = Dictionary(grouping: try database.snapshotDisks(), by: \.snapshot)
        for row in try database.snapshots() {
            var snapshot = Snapshot(
                id: row.id,
                name: row.name,
                created: row.created,
                isComplete: true
            )
            for disk in disks[row.id] ?? [] {
                snapshot.disks[disk.name] = SnapshotDisk(disk, overlays)
            }
            byId[row.vm]?.allSnapshots[row.name] = snapshot
        }
        return Array(byId.values)
    }

    private func reopen(
        _ row: DiskRow,
        isReadOnly: Bool,
        _ layout: inout OverlayLayout
    ) throws(Failure) -> Disk {
        let overlayRow = try layout.row(of: row.overlay)
        let shown = try layout.below(row.overlay)
        // The disk below may be full, and opening may have to write a live map.
        return try reserve.lend { () throws(Failure) in
            try open(
                row,
                in: overlayRow.directory,
                profile: Profile(extents: overlays.extents(layout.extents(of: row.overlay))),
                backing: shown.backing,
                unsettled: shown.unsettled,
                isReadOnly: isReadOnly
            )
        }
    }

    /// Opens a disk with its live overlay, whose files are made when absent.
    func open(
        _ row: DiskRow,
        in directory: String?,
        profile: Profile,
        backing: Backing,
        unsettled: [Overlay] = [],
        isReadOnly: Bool = false
    ) throws(Failure) -> Disk {
        guard (0...Disks.sizeLimit).contains(row.size) else {
            throw Failure(
                .tooLarge,
                "disk \(row.name) cannot have \(row.size) bytes; up to \(Disks.sizeLimit) are allowed"
            )
        }
        let overlay = try overlays.openLive(
            OverlayRow(id: row.overlay, size: row.size, directory: directory),
            pages: try database.mapPages(of: row.overlay),
            diskSize: row.size
        )
        return Disk(
            row: row,
            profile: profile,
            overlay: overlay,
            backing: backing,
            unsettled: unsettled,
            isReadOnly: isReadOnly,
            database: database
        )
    }

    /// Files of overlays that were deleted, or never came to be, when the process ended.
    ///
    /// Outside of the state directory they are only told of: a copy of this state may use the same
    /// place, and what looks like nobody's may be its.
    private func removeOrphans() throws(Failure) {
        let rows = try database.overlays()
        let kept = Set(rows.map(overlays.folder))
        for directory in Set(rows.compactMap(\.directory)).union([overlays.directory])
        where FileTree.exists(directory) {
            for name in try FileTree.names(in: directory) {
                let folder = "\(directory)/\(name)"
                guard UInt64(name, radix: 16) != nil, !kept.contains(folder) else { continue }
                guard directory == overlays.directory else {
                    logger.warning(
                        "written blocks that no VM of this node refers to",
                        metadata: [
                            "folder": "\(folder)",
                            "remedy": "remove it if no copy of this state does",
                        ]
                    )
                    continue
                }
                logger.info("removed an overlay of nobody", metadata: ["overlay": "\(name)"])
                try Overlay.remove(folder)
            }
        }
    }
}

// MARK: - Looking

extension VirtualMachines {
    package func all() -> [VirtualMachine] {
        table.withLock { Array($0.values) }.sorted { $0.name < $1.name }
    }

    package func machine(named name: String) -> VirtualMachine? { table.withLock { $0[name] } }

    /// The VM, or a failure that says so.
    package func existing(_ name: String) throws(Failure) -> VirtualMachine {
        guard let machine = machine(named: name) else {
            throw Failure(.notFound, "there is no VM named \(name)", hint: "see: ccnfs vms")
        }
        return machine
    }

    package func disk(_ name: String, of machine: String) -> Disk? {
        table.withLock { $0[machine]?.disks[name] }
    }

    package func machine(id: Int64) -> VirtualMachine? {
        table.withLock { table in table.values.first { $0.id == id } }
    }

    package func machine(ofSnapshot id: Int64) -> VirtualMachine? {
        table.withLock { table in
            table.values.first { machine in
                machine.allSnapshots.values.contains { $0.id == id }
            }
        }
    }

    /// The directory for written blocks in a place that a VM names.
    package func overlayDirectory(in place: String) throws(Failure) -> String {
        try OverlayPlace.directory(in: place, home: try database.homeId())
    }

    /// Live disks, also deleted ones that are open.
    func allDisks() -> [Disk] {
        all().flatMap { Array($0.disks.values) } + unlinked.withLock { Array($0.values) }
    }

    /// The content that some disk or snapshot maps to: must not be freed.
    package func contentsInUse() throws(Failure) -> [SegmentedContent] {
        let rows = try database.extents().values.flatMap(\.self)
        let durable = overlays.extents(rows).compactMap(\.content)
        return durable + allDisks().flatMap(\.contents)
            + pinnedViews().flatMap { $0.source.backing.profile.extents.compactMap(\.content) }
    }

    func pinnedViews() -> [PinnedView] { pinned.withLock { $0.compactMap(\.view) } }
}
