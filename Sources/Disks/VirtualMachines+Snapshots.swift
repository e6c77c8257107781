package import Failures
internal import Files
internal import Profiles
internal import Store
internal import Synchronization

// MARK: - Freezing

extension VirtualMachines {
    /// Freezes the overlays of disks at one moment; writes go into fresh ones from then on.
    ///
    /// Order, for the moment to be one and for answered writes to outlive the process whenever it dies:
    /// 1. no flush under way; fresh overlays with their files;
    /// 2. no writer inside;
    /// 3. one transaction: the fresh overlays over the frozen ones, the snapshot, incomplete;
    /// 4. the same in memory, and writers go on.
    ///
    /// What is durable afterwards is what was before: the caller flushes the disks, which makes the
    /// frozen overlays durable before anything of the fresh ones is committed. The caller holds
    /// `change`.
    /// - Parameter note: gets what each disk shows at that moment, in the order of `disks`, and gives
    ///   the snapshot to note.
    /// - Returns: what each disk shows at that moment, in the order of `disks`.
    func freeze(
        _ disks: [Disk],
        in directory: String?,
        note: ([CloneSource]) -> (SnapshotRow, [SnapshotDiskRow])? = { _ in nil }
    ) throws(Failure) -> [CloneSource] {
        for disk in disks { try disk.mergeRecent() }
        let sources = try flushQueue.exclusively(disks) { () throws(Failure) in
            let candidates = try disks.map { (disk) throws(Failure) in
                try FreezeCandidate(disk, in: directory, overlays)
            }
            CrashPoint.snapshotPrepared.reached()
            for disk in disks { disk.gate.close() }
            defer { for disk in disks { disk.gate.open() } }
            let moments = candidates.map { $0.moment() }
            let sources = moments.map(\.source)
            let noted = note(sources)
            do throws(Failure) {
                try database.freeze(
                    moments.compactMap(\.freeze),
                    as: noted?.0,
                    with: noted?.1 ?? []
                )
            } catch {
                // Nothing has changed; what was made for it is nobody's.
                for candidate in candidates { candidate.discard() }
                throw error
            }
            noteReference()
            for (candidate, moment) in zip(candidates, moments) { candidate.adopt(moment) }
            CrashPoint.snapshotSwitched.reached()
            return sources
        }
        // One that cannot be laid out now is read as it is, and refuses the next freeze.
        for disk in disks { try? disk.mergeRecent() }
        return sources
    }

    /// One disk that is about to be frozen, with the overlay that will take its writes.
    private struct FreezeCandidate {
        let disk: Disk
        let directory: String?
        let fresh: Overlay

        /// What a disk shows at the moment, and what has to change for it to stay so.
        struct Moment {
            let source: CloneSource
            /// Nil if nothing was written since the last time: then that is the moment.
            let freeze: StateDatabase.Freeze?
            let below: Disk.Below
        }

        init(_ disk: Disk, in directory: String?, _ overlays: Overlays) throws(Failure) {
            self.disk = disk
            self.directory = directory
            fresh = try overlays.openLive(
                OverlayRow(id: VirtualMachines.newId(), size: disk.size, directory: directory),
                pages: [],
                diskSize: disk.size
            )
        }

        /// The gate is closed.
        func moment() -> Moment {
            let view = disk.view
            if let source = disk.unchangedSource {
                return Moment(source: source, freeze: nil, below: Disk.Below(view))
            }
            var row = disk.row
            row.overlay = fresh.id
            let extent = Extent(
                start: 0,
                byteCount: row.size,
                source: .overlay(view.overlay.id),
                sourceStart: 0
            )
            let profile = Profile(extents: row.size > 0 ? [extent] : [])
            return Moment(
                source: CloneSource(
                    source: .overlay(view.overlay.id),
                    backing: Backing(
                        recent: view.overlay,
                        frozen: view.backing.frozen,
                        profile: view.backing.profile
                    ),
                    unsettled: disk.unsettled + [view.overlay],
                    size: row.size
                ),
                freeze: StateDatabase.Freeze(
                    disk: row,
                    frozen: view.overlay.id,
                    extents: profile.rows,
                    directory: directory
                ),
                below: Disk.Below(profile: profile, backing: view.backing)
            )
        }

        func adopt(_ moment: Moment) {
            guard let freeze = moment.freeze else { return discard() }
            disk.adoptFreeze(freeze, fresh: fresh, below: moment.below)
        }

        /// What is left of it goes with the next start at the latest.
        func discard() { try? fresh.removeFiles() }
    }
}

extension Disk.Below {
    fileprivate init(_ view: Disk.View) {
        self.init(profile: Profile(), backing: view.backing)
    }
}

extension Disk {
    /// The frozen overlay that all of the disk maps to, if nothing was written over it.
    fileprivate var unchangedSource: CloneSource? {
        let view = view
        let extents = profile.extents
        guard extents.count == 1, extents[0].start == 0, extents[0].sourceStart == 0,
            extents[0].byteCount == view.size, case .overlay = extents[0].source,
            view.overlay.map.isEmpty
        else { return nil }
        return CloneSource(
            source: extents[0].source,
            backing: view.backing,
            unsettled: unsettled,
            size: view.size
        )
    }
}

// MARK: - Snapshots

extension VirtualMachines {
    /// Snapshots a VM may have.
    package static let snapshotLimit = 4096

    /// Takes a snapshot of all disks of a VM at one moment, durable when this returns. Blocks its
    /// thread for as long as what was written is on its way to the disk; writers wait for
    /// milliseconds.
    @discardableResult
    package func takeSnapshot(
        of machineName: String,
        named name: String,
        now: Int
    ) throws(Failure) -> Snapshot {
        try Self.check(snapshotName: name)
        let (id, disks) = try change.withLock { (_) throws(Failure) in
            try beginSnapshot(of: machineName, named: name, now: now)
        }
        do throws(Failure) {
            try flushQueue.complete(id, of: disks)
        } catch {
            // The disks go on as they are; what there is of the snapshot is nobody's.
            try? dropSnapshot(id)
            throw error.wrapped("snapshot \(name) of \(machineName) is not taken")
        }
        let snapshot = table.withLock { table -> Snapshot? in
            guard let machine = table.values.first(where: { $0.allSnapshots[name]?.id == id })?.name
            else { return nil }
            table[machine]?.allSnapshots[name]?.isComplete = true
            return table[machine]?.allSnapshots[name]
        }
        guard let snapshot else { preconditionFailure("a VM with snapshots is not removed") }
        return snapshot
    }

    private func beginSnapshot(
        of machineName: String,
        named name: String,
        now: Int
    ) throws(Failure) -> (id: Int64, disks: [Disk]) {
        let machine = try existing(machineName)
        try machine.checkMayChange()
        guard machine.allSnapshots[name] == nil else {
            throw Failure(.exists, "VM \(machineName) has a snapshot \(name) already")
        }
        guard machine.missingDisks.isEmpty else {
            throw Failure(
                .unavailable,
                "VM \(machineName) has disks that cannot be opened: "
                    + machine.missingDisks.keys.sorted().joined(separator: ", ")
            )
        }
        guard machine.allSnapshots.count < Self.snapshotLimit else {
            throw Failure(.tooLarge, "a VM may have up to \(Self.snapshotLimit) snapshots")
        }
        let disks = machine.disks.values.sorted { $0.id < $1.id }
        for disk in disks { try disk.checkIsWell(disk.view) }
        let row = SnapshotRow(id: Self.newId(), vm: machine.id, name: name, created: now)
        var snapshot = Snapshot(id: row.id, name: name, created: now, isComplete: false)
        _ = try freeze(disks, in: machine.overlayDirectory) { sources in
            for (disk, source) in zip(disks, sources) {
                guard case .overlay(let overlay) = source.source else { continue }
                let disk = disk.row
                snapshot.disks[disk.name] = SnapshotDisk(
                    SnapshotDiskRow(
                        id: Self.newId(),
                        snapshot: row.id,
                        name: disk.name,
                        size: source.size,
                        attributes: disk.attributes,
                        overlay: overlay
                    ),
                    overlays
                )
            }
            return (row, snapshot.disks.values.map(\.row))
        }
        table.withLock { [snapshot] in $0[machineName]?.allSnapshots[name] = snapshot }
        return (row.id, disks)
    }

    private func dropSnapshot(_ id: Int64) throws(Failure) {
        try reserve.lend { () throws(Failure) in try database.deleteSnapshots([id]) }
        table.withLock { table in
            for (name, machine) in table {
                table[name]?.allSnapshots = machine.allSnapshots.filter { $0.value.id != id }
            }
        }
        requestReclaim()
    }

    /// Drops a snapshot, durably. Who has its files open keeps them; space comes back behind it.
    package func deleteSnapshot(_ name: String, of machineName: String) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            let machine = try existing(machineName)
            guard let snapshot = machine.snapshot(named: name) else {
                throw Failure(
                    .notFound,
                    "VM \(machineName) has no snapshot \(name)",
                    hint: "see: ccnfs snapshots \(machineName)"
                )
            }
            for disk in snapshot.disks.values where disk.isOpen { keepWhileOpen(disk) }
            try dropSnapshot(snapshot.id)
        }
    }

    /// Puts the disks of a VM back to what a snapshot has, durably, as new disks of the same names.
    ///
    /// Disks that came after the snapshot stay as they are.
    /// - Returns: the names of the disks put back.
    /// - Throws: `.busy` while one of them is open.
    package func rollBack(
        _ machineName: String,
        to name: String
    ) throws(Failure) -> [String] {
        let names = try change.withLock { (_) throws(Failure) in
            let machine = try existing(machineName)
            try machine.checkMayChange()
            guard let snapshot = machine.snapshot(named: name) else {
                throw Failure(
                    .notFound,
                    "VM \(machineName) has no snapshot \(name)",
                    hint: "see: ccnfs snapshots \(machineName)"
                )
            }
            let old = snapshot.disks.keys.sorted().compactMap { machine.disks[$0] }
            for disk in old where !disk.handles.areClosed() {
                throw Failure(
                    .busy,
                    "\(disk.row.name) of VM \(machineName) is open",
                    hint: "stop the VM first"
                )
            }
            var disks: [String: Disk] = [:]
            var rows: [StateDatabase.NewDisk] = []
            for (name, disk) in snapshot.disks.sorted(by: { $0.key < $1.key }) {
                let new = NewDisk(
                    name: name,
                    size: disk.row.size,
                    attributes: disk.row.attributes,
                    source: try disk.cloneSource()
                )
                let (made, row) = try makeDisk(new, in: machine)
                disks[name] = made
                rows.append(row)
            }
            try reserve.lend { () throws(Failure) in
                try database.replaceDisks(
                    old.map(\.row),
                    with: rows,
                    directory: machine.overlayDirectory
                )
            }
            noteReference()
            CrashPoint.rollbackCommitted.reached()
            table.withLock { [disks] table in
                for (name, disk) in disks { table[machineName]?.disks[name] = disk }
            }
            unlinked.withLock { unlinked in
                for disk in old where disk.handles.isOpen { unlinked[disk.id] = disk }
            }
            return disks.keys.sorted()
        }
        requestReclaim()
        return names
    }
}
