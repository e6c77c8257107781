package import CCNx
package import Failures
internal import Files
internal import Profiles
package import Store
internal import Synchronization

// MARK: - Changing

extension VirtualMachines {
    /// A VM to be made.
    package struct NewMachine: Sendable {
        package var name: String
        package var attributes: OwnedAttributes
        package var template: Name?
        package var templateVersion: Int?
        /// Where its written blocks are kept, as ``place(for:)`` gave it; nil for the state directory.
        package var overlayDirectory: String?
        package var disks: [NewDisk]

        package init(
            name: String,
            attributes: OwnedAttributes,
            template: Name? = nil,
            templateVersion: Int? = nil,
            overlayDirectory: String? = nil,
            disks: [NewDisk] = []
        ) {
            self.name = name
            self.attributes = attributes
            self.template = template
            self.templateVersion = templateVersion
            self.overlayDirectory = overlayDirectory
            self.disks = disks
        }

        /// With an id of its own.
        func makeRow() -> VMRow {
            VMRow(
                id: VirtualMachines.newId(),
                name: name,
                attributes: attributes,
                created: attributes.modified / 1_000_000_000,
                template: template,
                templateVersion: templateVersion,
                overlayDirectory: overlayDirectory
            )
        }
    }

    /// A disk to be made, all of it from a source.
    package struct NewDisk: Sendable {
        package let name: String
        /// Bytes.
        package let size: Int
        package let attributes: OwnedAttributes
        package let source: CloneSource?

        package init(
            name: String,
            size: Int,
            attributes: OwnedAttributes,
            source: CloneSource? = nil
        ) {
            self.name = name
            self.size = size
            self.attributes = attributes
            self.source = source
        }
    }

    @discardableResult
    package func make(_ new: NewMachine) throws(Failure) -> VirtualMachine {
        try make([new])[0]
    }

    /// Makes VMs with their disks; all of them or none.
    @discardableResult
    package func make(_ new: [NewMachine]) throws(Failure) -> [VirtualMachine] {
        guard Set(new.map(\.name)).count == new.count else {
            throw Failure(.usage, "two of the VMs have the same name")
        }
        return try change.withLock { (_) throws(Failure) in
            for machine in new {
                try Self.check(machineName: machine.name)
                guard self.machine(named: machine.name) == nil else {
                    throw Failure(.exists, "there is a VM named \(machine.name) already")
                }
            }
            try checkRoom(for: new.reduce(0) { $0 + $1.disks.count })
            var made: [VirtualMachine] = []
            var rows: [(vm: VMRow, disks: [StateDatabase.NewDisk])] = []
            for new in new {
                let row = new.makeRow()
                var machine = VirtualMachine(row)
                var diskRows: [StateDatabase.NewDisk] = []
                for new in new.disks {
                    let (disk, row) = try makeDisk(new, in: machine)
                    machine.disks[new.name] = disk
                    diskRows.append(row)
                }
                rows.append((vm: row, disks: diskRows))
                made.append(machine)
            }
            try database.insert(rows)
            noteReference()
            table.withLock { table in for machine in made { table[machine.name] = machine } }
            return made
        }
    }

    /// Opens a disk that is in no table yet.
    func makeDisk(
        _ new: NewDisk,
        in machine: VirtualMachine
    ) throws(Failure) -> (disk: Disk, row: StateDatabase.NewDisk) {
        try Self.check(diskName: new.name)
        let row = DiskRow(
            id: Self.newId(),
            vm: machine.id,
            name: new.name,
            size: new.size,
            attributes: new.attributes,
            overlay: Self.newId()
        )
        var profile = Profile()
        var backing = Backing()
        if let source = new.source {
            let count = min(source.size, new.size)
            profile.map(
                Extent(start: 0, byteCount: count, source: source.source, sourceStart: 0)
            )
            backing = try backing.mapping(0..<count, to: source.backing, from: 0)
        }
        let disk = try open(
            row,
            in: machine.overlayDirectory,
            profile: profile,
            backing: backing,
            unsettled: new.source?.unsettled ?? []
        )
        return (disk, StateDatabase.NewDisk(row, extents: profile.rows))
    }

    /// Makes an empty disk in a VM.
    package func makeDisk(
        named name: String,
        in machineName: String,
        attributes: OwnedAttributes
    ) throws(Failure) -> Disk {
        try Self.check(diskName: name)
        return try change.withLock { (_) throws(Failure) in
            let machine = try existing(machineName)
            try machine.checkMayChange()
            guard machine.disks[name] == nil, machine.missingDisks[name] == nil else {
                throw Failure(.exists, "VM \(machineName) has a disk \(name) already")
            }
            try checkRoom(for: 1)
            let new = NewDisk(name: name, size: 0, attributes: attributes)
            let (disk, row) = try makeDisk(new, in: machine)
            try database.insert(row, directory: machine.overlayDirectory)
            noteReference()
            table.withLock { $0[machineName]?.disks[name] = disk }
            return disk
        }
    }

    /// Removes a VM that has no disks.
    package func remove(_ name: String) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            let machine = try existing(name)
            guard machine.allSnapshots.isEmpty else {
                throw Failure(
                    .notEmpty,
                    "VM \(name) has snapshots: "
                        + machine.allSnapshots.keys.sorted().joined(separator: ", "),
                    hint: "rmdir them in \(name)/.snapshots first"
                )
            }
            guard machine.disks.isEmpty, machine.missingDisks.isEmpty else {
                throw Failure(
                    .notEmpty,
                    "VM \(name) has disks: \(machine.disks.keys.sorted().joined(separator: ", "))"
                )
            }
            try reserve.lend { () throws(Failure) in try database.deleteVM(machine.id) }
            table.withLock { $0[name] = nil }
        }
    }

    /// Removes a disk; who has it open keeps it until closing.
    ///
    /// - Throws: `.busy` while the VM has snapshots, so that `rm -r` of the VM is refused before
    ///   anything is lost.
    package func removeDisk(_ name: String, of machineName: String) throws(Failure) {
        let removed = try change.withLock { (_) throws(Failure) -> Disk in
            guard let machine = machine(named: machineName), let disk = machine.disks[name] else {
                throw Failure(.notFound, "VM \(machineName) has no disk \(name)")
            }
            guard machine.allSnapshots.isEmpty else {
                throw Failure(
                    .busy,
                    "VM \(machineName) has snapshots; its disks stay as long as they do",
                    hint: "rmdir them in \(machineName)/.snapshots first"
                )
            }
            disk.isOverlayDeleted = try reserve.lend { () throws(Failure) in
                try database.deleteDisk(disk.row)
            }
            CrashPoint.deleteCommitted.reached()
            table.withLock { $0[machineName]?.disks[name] = nil }
            unlinked.withLock { $0[disk.id] = disk }
            return disk
        }
        try reclaimIfClosed(removed)
    }

    /// Frees the files of a deleted disk that nobody has open; called at each last close.
    package func reclaimIfClosed(_ disk: Disk) throws(Failure) {
        let isReclaimed = unlinked.withLock { unlinked in
            guard unlinked[disk.id] != nil, !disk.handles.isOpen else { return false }
            unlinked[disk.id] = nil
            return true
        }
        guard isReclaimed else { return }
        if disk.isOverlayDeleted { try disk.overlay.removeFiles() }
        CrashPoint.deleteRemoved.reached()
        requestReclaim()
    }

    package func rename(_ name: String, to newName: String) throws(Failure) {
        try Self.check(machineName: newName)
        try change.withLock { (_) throws(Failure) in
            var machine = try existing(name)
            guard name != newName else { return }
            guard self.machine(named: newName) == nil else {
                throw Failure(.exists, "there is a VM named \(newName) already")
            }
            machine.name = newName
            try database.update(machine.row)
            table.withLock { [machine] table in
                table[name] = nil
                table[newName] = machine
            }
        }
    }

    /// Renames a disk, also into another VM; a disk of that name there is an error.
    package func renameDisk(
        _ name: String,
        of machineName: String,
        to newName: String,
        of newMachineName: String
    ) throws(Failure) {
        try Self.check(diskName: newName)
        try change.withLock { (_) throws(Failure) in
            guard let machine = machine(named: machineName), let disk = machine.disks[name] else {
                throw Failure(.notFound, "VM \(machineName) has no disk \(name)")
            }
            try disk.checkMayChange()
            guard machine.allSnapshots.isEmpty || machineName == newMachineName else {
                throw Failure(
                    .busy,
                    "VM \(machineName) has snapshots; its disks stay as long as they do"
                )
            }
            let target = try existing(newMachineName)
            if name == newName, machineName == newMachineName { return }
            guard target.disks[newName] == nil, target.missingDisks[newName] == nil else {
                throw Failure(.exists, "VM \(newMachineName) has a disk \(newName) already")
            }
            try disk.rename(to: newName, vm: target.id)
            table.withLock { table in
                table[machineName]?.disks[name] = nil
                table[newMachineName]?.disks[newName] = disk
            }
        }
    }

    package func setAttributes(
        of name: String,
        _ body: (inout OwnedAttributes) -> Void
    ) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            var machine = try existing(name)
            body(&machine.attributes)
            try database.update(machine.row)
            table.withLock { [machine] in $0[name] = machine }
        }
    }

    /// Says what a VM was deployed from, when that was seen: its first clone of a template's disk, or of a
    /// disk of a VM that has a template.
    package func noteTemplate(_ template: Name, version: Int, of id: Int64) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            guard var machine = machine(id: id), machine.template == nil else { return }
            machine.template = template
            machine.templateVersion = version
            try database.update(machine.row)
            table.withLock { [machine] in $0[machine.name] = machine }
        }
    }

    /// A VM stands on another template, or another version, from now on; durable when this returns.
    package func setTemplate(_ template: Name, version: Int, of id: Int64) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            guard var machine = machine(id: id) else { return }
            machine.template = template
            machine.templateVersion = version
            try database.update(machine.row, durably: true)
            table.withLock { [machine] in
                $0[machine.name]?.template = template
                $0[machine.name]?.templateVersion = version
            }
        }
    }

    /// Every change so far is on disk when this returns.
    package func synchronizeNames() throws(Failure) { try database.synchronize() }

    /// Runs `body` while no flush of the disk is under way; what cuts a disk off or clones over written
    /// blocks wants that. Blocks its thread.
    package func betweenFlushes<Value>(
        of disk: Disk,
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try flushQueue.exclusively([disk], body)
    }

    /// Returns once nothing goes on in the background: space being freed. Blocks its thread.
    package func finishBackgroundWork() {
        flushQueue.finish()
        reclaiming.finish()
    }

    /// Makes everything of every disk durable; for an orderly end.
    package func flushAll() async -> [Failure] {
        var failures: [Failure] = []
        for machine in all() {
            for disk in machine.disks.values {
                disk.makeTimeDue()
                do throws(Failure) { try await flushQueue.flush(disk) } catch {
                    failures.append(error)
                }
            }
        }
        return failures
    }
}

// MARK: - Names and limits

extension VirtualMachines {
    package static func check(machineName name: String) throws(Failure) {
        try check(name, "VM")
    }

    package static func check(diskName name: String) throws(Failure) {
        try check(name, "disk")
        guard name != "vm.json" else {
            throw Failure(.invalid, "vm.json is what ccnfs says of a VM and cannot be a disk")
        }
    }

    static func check(snapshotName name: String) throws(Failure) { try check(name, "snapshot") }

    private static func check(_ name: String, _ what: String) throws(Failure) {
        guard !name.isEmpty, name.utf8.count <= 255, !name.hasPrefix("."), !name.hasPrefix("@"),
            !name.contains("/"), !name.unicodeScalars.contains(where: { $0.value < 32 })
        else {
            throw Failure(
                .invalid,
                "\"\(name)\" cannot name a \(what): 1 to 255 bytes, not beginning with . or @, "
                    + "without / and control characters"
            )
        }
    }

    func checkRoom(for count: Int) throws(Failure) {
        let disks = table.withLock { $0.values.reduce(0) { $0 + $1.disks.count } }
        guard disks + count <= Disks.diskLimit else {
            throw Failure(.tooLarge, "a node may have up to \(Disks.diskLimit) disks")
        }
    }

    /// Random, so that a new disk is never taken for an old one by what keeps ids.
    static func newId() -> Int64 { Int64.random(in: 1...Int64.max) }
}
