package import Failures
internal import Files
internal import Profiles
internal import Store
internal import Synchronization

extension VirtualMachines {
    /// Copies the state database and all written blocks into a directory that becomes a state directory:
    /// every VM as it is at one moment, with its snapshots. Blocks its thread.
    ///
    /// Order: overlays frozen; made durable; the database copied, whose live disks show the frozen
    /// overlays; the files of those, which nobody changes: reclaiming waits.
    /// - Returns: the VMs, and bytes that the copied blocks take on disk.
    package func backUp(
        to directory: String,
        progress: (_ copiedBytes: Int) -> Void
    ) throws(Failure) -> (machines: Int, copiedBytes: Int) {
        try reclaiming.pass.withLock { (_) throws(Failure) in
            let (pins, machines) = try change.withLock { (_) throws(Failure) in
                try freezeAll(copyingDatabaseTo: "\(directory)/state.sqlite")
            }
            defer { withExtendedLifetime(pins) {} }
            let live = Set(try database.disks().map(\.overlay))
            var copied = 0
            try FileTree.makeDirectory("\(directory)/overlays", permissions: 0o700)
            for row in try database.overlays() where !live.contains(row.id) {
                let source = Overlay.dataPath(overlays.folder(of: row))
                // Frozen after the copy of the database: not in it.
                guard FileTree.exists(source) else { continue }
                let folder = Overlay.folder(of: row.id, in: "\(directory)/overlays")
                try FileTree.makeDirectory(folder, permissions: 0o700)
                copied += try FileTree.copySparse(source, to: Overlay.dataPath(folder))
                progress(copied)
            }
            try FileTree.synchronizeDirectory("\(directory)/overlays")
            try FileTree.synchronizeDirectory(directory)
            return (machines, copied)
        }
    }

    private func freezeAll(
        copyingDatabaseTo copy: String
    ) throws(Failure) -> (pins: [PinnedView], machines: Int) {
        var pins: [PinnedView] = []
        var moments: [StateDatabase.Moment] = []
        let machines = all()
        for machine in machines {
            guard machine.missingDisks.isEmpty else {
                throw Failure(
                    .unavailable,
                    "VM \(machine.name) has disks that cannot be opened: "
                        + machine.missingDisks.keys.sorted().joined(separator: ", ")
                )
            }
            let disks = machine.disks.values.sorted { $0.id < $1.id }
            for (disk, source) in zip(disks, try freeze(disks, in: machine.overlayDirectory)) {
                let view = PinnedView(source)
                keep(view)
                pins.append(view)
                guard let overlay = view.overlay else { continue }
                moments.append(.init(disk: disk.id, overlay: overlay, size: view.size))
            }
        }
        try flushQueue.flushAndWait(machines.flatMap { Array($0.disks.values) })
        try database.backUp(to: copy, showing: moments)
        return (pins, machines.count)
    }
}
