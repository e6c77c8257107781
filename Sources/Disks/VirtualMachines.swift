package import CCNx
package import Failures
internal import Files
package import Logging
package import Profiles
package import Store
internal import Synchronization

/// The VMs of this node and their disks.
///
/// Every change is in the state database when the call returns; it outlives the process at once and
/// the power with the next flush of a disk or of the node.
///
/// Concurrency: any thread. `change` serialises changes, so that database and memory agree; `table`
/// is held for look-ups only. Lock order: change, then a disk's own, then table.
package final class VirtualMachines: Sendable {
    private let database: StateDatabase
    private let overlaysDirectory: String
    private let bootId: String
    private let reserve: SpaceReserve
    package let flushQueue: FlushQueue
    private let table = Mutex<[String: VirtualMachine]>([:])
    private let change = Mutex<Void>(())
    /// Deleted disks that someone still has open.
    private let unlinked = Mutex<[Int64: Disk]>([:])

    /// - Parameter content: gives the reader of a content; extents with the same content share one.
    package init(
        database: StateDatabase,
        overlaysDirectory: String,
        bootId: String,
        reserve: SpaceReserve,
        logger: Logger,
        content: (ContentDescriptor, Name) -> SegmentedContent
    ) throws(Failure) {
        self.database = database
        self.overlaysDirectory = overlaysDirectory
        self.bootId = bootId
        self.reserve = reserve
        flushQueue = FlushQueue(database: database)
        try FileTree.makeDirectory(overlaysDirectory, permissions: 0o700)
        let found = try FileTree.names(in: overlaysDirectory)
        guard found.isEmpty || !database.isNew else {
            throw Failure(
                .corrupt,
                "the state database is missing, but written blocks of VMs are in \(overlaysDirectory)",
                hint: "restore state.sqlite from a backup; nothing was removed"
            )
        }
        var byId: [Int64: VirtualMachine] = [:]
        for row in try database.vms() { byId[row.id] = VirtualMachine(row) }
        var overlays: Set<String> = []
        for row in try database.disks() {
            overlays.insert(Overlay.path(of: row.overlay, in: overlaysDirectory))
            do throws(Failure) {
                byId[row.vm]?.disks[row.name] = try reopen(row, content)
            } catch {
                // One bad disk must not keep all others from their VMs. Its files stay.
                logger.critical(
                    "a disk cannot be opened and is left out",
                    metadata: [
                        "vm": "\(byId[row.vm]?.name ?? "?")", "disk": "\(row.name)",
                        "cause": "\(error)",
                    ]
                )
            }
        }
        table.withLock { table in
            for vm in byId.values { table[vm.name] = vm }
        }
        try database.deleteOrphanMapPages()
        try removeOrphans(keeping: overlays, logger)
    }

    private func reopen(
        _ row: DiskRow,
        _ content: (ContentDescriptor, Name) -> SegmentedContent
    ) throws(Failure) -> Disk {
        let extents = try database.extents(of: row.id).map { extent in
            Extent(
                start: extent.start,
                byteCount: extent.byteCount,
                content: content(
                    ContentDescriptor(
                        root: extent.root,
                        size: extent.contentSize,
                        segmentSize: extent.segmentSize,
                        levels: extent.levels
                    ),
                    extent.prefix
                ),
                sourceStart: extent.sourceStart
            )
        }
        // The disk below may be full, and opening may have to write a live map.
        return try reserve.lend { () throws(Failure) in
            try open(row, Profile(extents: extents))
        }
    }

    private func open(_ row: DiskRow, _ profile: Profile) throws(Failure) -> Disk {
        guard (0...Disks.sizeLimit).contains(row.size) else {
            throw Failure(
                .tooLarge,
                "disk \(row.name) cannot have \(row.size) bytes; up to \(Disks.sizeLimit) are allowed"
            )
        }
        let overlay = try Overlay(
            id: row.overlay,
            directory: overlaysDirectory,
            durablePages: try database.mapPages(of: row.overlay),
            bootId: bootId,
            diskSize: row.size
        )
        return Disk(row: row, profile: profile, overlay: overlay, database: database)
    }

    /// Overlays of disks that were deleted, or never came to be, when the process ended.
    private func removeOrphans(keeping kept: Set<String>, _ logger: Logger) throws(Failure) {
        for name in try FileTree.names(in: overlaysDirectory) {
            guard let bits = UInt64(name, radix: 16) else { continue }
            let id = Int64(bitPattern: bits)
            guard !kept.contains(Overlay.path(of: id, in: overlaysDirectory)) else { continue }
            logger.info("removed the overlay of a deleted disk", metadata: ["overlay": "\(name)"])
            try Overlay.remove(id, in: overlaysDirectory)
        }
    }
}

// MARK: - Looking

extension VirtualMachines {
    package func all() -> [VirtualMachine] {
        table.withLock { Array($0.values) }.sorted { $0.name < $1.name }
    }

    package func machine(named name: String) -> VirtualMachine? { table.withLock { $0[name] } }

    package func disk(_ name: String, of machine: String) -> Disk? {
        table.withLock { $0[machine]?.disks[name] }
    }

    package func machine(id: Int64) -> VirtualMachine? {
        table.withLock { table in table.values.first { $0.id == id } }
    }

    /// The content that some disk maps to: must not be freed.
    package func contentsInUse() -> [SegmentedContent] {
        let disks =
            all().flatMap { Array($0.disks.values) } + unlinked.withLock { Array($0.values) }
        return disks.flatMap { $0.profile.extents.map(\.content) }
    }
}

// MARK: - Changing

extension VirtualMachines {
    /// Makes a VM, with its disks when it is deployed from a template; all of it or nothing.
    @discardableResult
    package func make(
        named name: String,
        attributes: OwnedAttributes,
        template: Name? = nil,
        templateVersion: Int? = nil,
        disks: [NewDisk] = []
    ) throws(Failure) -> VirtualMachine {
        try Self.check(machineName: name)
        return try change.withLock { (_) throws(Failure) in
            guard machine(named: name) == nil else {
                throw Failure(.exists, "there is a VM named \(name) already")
            }
            try checkRoom(for: disks.count)
            let row = VMRow(
                id: Self.newId(),
                name: name,
                attributes: attributes,
                created: attributes.modified / 1_000_000_000,
                template: template,
                templateVersion: templateVersion
            )
            var machine = VirtualMachine(row)
            var rows: [(disk: DiskRow, extents: [ExtentRow])] = []
            for disk in disks {
                try Self.check(diskName: disk.name)
                let diskRow = DiskRow(
                    id: Self.newId(),
                    vm: row.id,
                    name: disk.name,
                    size: disk.size,
                    attributes: disk.attributes,
                    overlay: Self.newId()
                )
                rows.append((disk: diskRow, extents: disk.profile.rows))
                machine.disks[disk.name] = try open(diskRow, disk.profile)
            }
            try database.insert(row, disks: rows)
            table.withLock { $0[name] = machine }
            return machine
        }
    }

    package struct NewDisk: Sendable {
        package let name: String
        /// Bytes.
        package let size: Int
        package let attributes: OwnedAttributes
        package let profile: Profile

        package init(name: String, size: Int, attributes: OwnedAttributes, profile: Profile) {
            self.name = name
            self.size = size
            self.attributes = attributes
            self.profile = profile
        }
    }

    /// Makes an empty disk in a VM.
    package func makeDisk(
        named name: String,
        in machineName: String,
        attributes: OwnedAttributes
    ) throws(Failure) -> Disk {
        try Self.check(diskName: name)
        return try change.withLock { (_) throws(Failure) in
            guard let machine = machine(named: machineName) else {
                throw Failure(.notFound, "there is no VM named \(machineName)")
            }
            guard machine.disks[name] == nil else {
                throw Failure(.exists, "VM \(machineName) has a disk \(name) already")
            }
            try checkRoom(for: 1)
            let row = DiskRow(
                id: Self.newId(),
                vm: machine.id,
                name: name,
                size: 0,
                attributes: attributes,
                overlay: Self.newId()
            )
            let disk = try open(row, Profile())
            try database.insert(row)
            table.withLock { $0[machineName]?.disks[name] = disk }
            return disk
        }
    }

    /// Removes a VM that has no disks.
    package func remove(_ name: String) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            guard let machine = machine(named: name) else {
                throw Failure(.notFound, "there is no VM named \(name)")
            }
            guard machine.disks.isEmpty else {
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
    package func removeDisk(_ name: String, of machineName: String) throws(Failure) {
        let removed = try change.withLock { (_) throws(Failure) -> Disk in
            guard let disk = disk(name, of: machineName) else {
                throw Failure(.notFound, "VM \(machineName) has no disk \(name)")
            }
            try reserve.lend { () throws(Failure) in try database.deleteDisk(disk.row) }
            table.withLock { $0[machineName]?.disks[name] = nil }
            unlinked.withLock { $0[disk.id] = disk }
            return disk
        }
        try reclaimIfClosed(removed)
    }

    /// Frees the files of a deleted disk that nobody has open; called at each last close.
    package func reclaimIfClosed(_ disk: Disk) throws(Failure) {
        let isReclaimed = unlinked.withLock { unlinked in
            guard unlinked[disk.id] != nil, !disk.isOpen else { return false }
            unlinked[disk.id] = nil
            return true
        }
        if isReclaimed { try Overlay.remove(disk.overlayId, in: overlaysDirectory) }
    }

    package func rename(_ name: String, to newName: String) throws(Failure) {
        try Self.check(machineName: newName)
        try change.withLock { (_) throws(Failure) in
            guard var machine = machine(named: name) else {
                throw Failure(.notFound, "there is no VM named \(name)")
            }
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
            guard let disk = disk(name, of: machineName) else {
                throw Failure(.notFound, "VM \(machineName) has no disk \(name)")
            }
            guard let target = machine(named: newMachineName) else {
                throw Failure(.notFound, "there is no VM named \(newMachineName)")
            }
            if name == newName, machineName == newMachineName { return }
            guard target.disks[newName] == nil else {
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
            guard var machine = machine(named: name) else {
                throw Failure(.notFound, "there is no VM named \(name)")
            }
            body(&machine.attributes)
            try database.update(machine.row)
            table.withLock { [machine] in $0[name] = machine }
        }
    }

    /// Says what a VM was deployed from, when that was seen: its first clone of a template's disk.
    package func noteTemplate(_ template: Name, version: Int, of id: Int64) throws(Failure) {
        try change.withLock { (_) throws(Failure) in
            guard var machine = machine(id: id), machine.template == nil else { return }
            machine.template = template
            machine.templateVersion = version
            try database.update(machine.row)
            table.withLock { [machine] in $0[machine.name] = machine }
        }
    }

    /// Every change so far is on disk when this returns.
    package func synchronizeNames() throws(Failure) { try database.synchronize() }

    /// Makes everything of every disk durable; for an orderly end.
    package func flushAll() async -> [Failure] {
        var failures: [Failure] = []
        for machine in all() {
            for disk in machine.disks.values {
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

    private func checkRoom(for count: Int) throws(Failure) {
        let disks = table.withLock { $0.values.reduce(0) { $0 + $1.disks.count } }
        guard disks + count <= Disks.diskLimit else {
            throw Failure(.tooLarge, "a node may have up to \(Disks.diskLimit) disks")
        }
    }

    /// Random, so that a new disk is never taken for an old one by what keeps ids.
    private static func newId() -> Int64 { Int64.random(in: 1...Int64.max) }
}
