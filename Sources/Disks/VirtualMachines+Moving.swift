package import Failures
internal import Files
package import Profiles
package import Store
internal import Synchronization

/// A disk that comes from elsewhere: content by id, and blocks that come along.
package struct ImportedDisk: Sendable {
    package let name: String
    /// Bytes.
    package let size: Int
    package let attributes: OwnedAttributes
    /// Content that shows where no block comes along.
    package let extents: [Extent]

    package init(name: String, size: Int, attributes: OwnedAttributes, extents: [Extent]) {
        self.name = name
        self.size = size
        self.attributes = attributes
        self.extents = extents
    }
}

extension VirtualMachines {
    /// Makes a VM of disks that come from elsewhere, durably, all of it or nothing.
    ///
    /// Order: blocks into new overlays, fdatasync, one durable transaction with the VM, its disks, their
    /// maps and the token. Whatever dies before leaves files of nobody, which the next start removes.
    /// - Parameters:
    ///   - new: without disks.
    ///   - token: of the export; `.exists` if it was imported before. Nil for one more copy.
    ///   - fill: writes the blocks of the disk with that name.
    package func importMachine(
        _ new: NewMachine,
        disks: [ImportedDisk],
        token: String?,
        fill: (String, Disk) throws(Failure) -> Void
    ) throws(Failure) -> VirtualMachine {
        try Self.check(machineName: new.name)
        try checkIsFree(new.name)
        var machine = VirtualMachine(new.makeRow())
        do throws(Failure) {
            var rows: [StateDatabase.NewDisk] = []
            var pages: [(overlay: Int64, pages: [MapPageRow])] = []
            // Nobody waits for the blocks: until they are in the state database they are nobody's.
            for disk in disks {
                let (made, row, page) = try importDisk(disk, into: machine, fill)
                machine.disks[disk.name] = made
                rows.append(row)
                pages.append(page)
            }
            CrashPoint.importWritten.reached()
            try change.withLock { (_) throws(Failure) in
                try insert(machine, disks: rows, mapPages: pages, token: token)
            }
            CrashPoint.importCommitted.reached()
        } catch {
            for disk in machine.disks.values { try? disk.overlay.removeFiles() }
            throw error
        }
        return machine
    }

    private func insert(
        _ machine: VirtualMachine,
        disks: [StateDatabase.NewDisk],
        mapPages: [(overlay: Int64, pages: [MapPageRow])],
        token: String?
    ) throws(Failure) {
        try checkIsFree(machine.name)
        try checkRoom(for: disks.count)
        try database.insert(
            [(vm: machine.row, disks: disks)],
            imported: token,
            mapPages: mapPages,
            durably: true
        )
        noteReference()
        table.withLock { $0[machine.name] = machine }
    }

    private func checkIsFree(_ name: String) throws(Failure) {
        guard machine(named: name) == nil else {
            throw Failure(
                .exists,
                "there is a VM named \(name) already",
                hint: "--name gives it another name"
            )
        }
    }

    private func importDisk(
        _ new: ImportedDisk,
        into machine: VirtualMachine,
        _ fill: (String, Disk) throws(Failure) -> Void
    ) throws(Failure) -> (
        disk: Disk, row: StateDatabase.NewDisk, pages: (overlay: Int64, pages: [MapPageRow])
    ) {
        try Self.check(diskName: new.name)
        let row = DiskRow(
            id: Self.newId(),
            vm: machine.id,
            name: new.name,
            size: new.size,
            attributes: new.attributes,
            overlay: Self.newId()
        )
        let profile = Profile(extents: new.extents)
        let disk = try open(
            row,
            in: machine.overlayDirectory,
            profile: profile,
            backing: Backing(profile: profile)
        )
        do throws(Failure) {
            try fill(new.name, disk)
            let flush = try disk.synchronizeData()
            return (
                disk, StateDatabase.NewDisk(row, extents: profile.rows),
                (overlay: row.overlay, pages: flush.pages)
            )
        } catch {
            try? disk.overlay.removeFiles()
            throw error
        }
    }

    /// The VM has left with an export: it is read-only here from now on, durably.
    ///
    /// - Parameter token: nil brings it back, after an export that failed.
    package func setMoved(_ token: String?, _ name: String) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            var machine = try existing(name)
            if token != nil {
                try machine.checkMayChange()
                for disk in machine.disks.values where !disk.handles.areClosed() {
                    throw Failure(
                        .busy,
                        "\(disk.row.name) of VM \(name) is open",
                        hint: "stop the VM first, or export a snapshot"
                    )
                }
            }
            machine.movedAs = token
            try database.update(machine.row, durably: true)
            for disk in machine.disks.values { disk.setReadOnly(token != nil) }
            table.withLock { [machine] in $0[name]?.movedAs = machine.movedAs }
        }
    }
}
