internal import CCNx
internal import Control
internal import Disks
internal import Failures
internal import Files
internal import Glibc
internal import Profiles
internal import Publishing
internal import Store
internal import Templates

// A VM leaves in one file, and comes to another node.
extension NodeOperations {
    /// Order for a VM that moves: marked as moved, durably, with its disks closed; then the file; so that
    /// it never goes on in both places. If the file cannot be written the mark goes.
    func exportMachine(
        _ export: ControlRequest.MachineExport,
        _ session: any ControlSession
    ) async throws(Failure) -> MachineExported {
        if !export.isKept { try checkWritable() }
        let machines = homes.machines
        let token = String(UInt64.random(in: 1...UInt64.max), radix: 16)
        guard export.overwrites || !FileTree.exists(export.path) else {
            throw Failure(
                .exists,
                "\(export.path) is there already",
                hint: "--force replaces it"
            )
        }
        let moves = export.snapshot == nil && !export.isKept
        if moves {
            try await Threads.run { () throws(Failure) in
                try machines.setMoved(token, export.machine)
            }
        }
        do throws(Failure) {
            let result = try await withProgress(session) { (report) throws(Failure) in
                try Self.write(export, token: token, machines, report)
            }
            return MachineExported(
                machine: export.machine,
                path: export.path,
                token: token,
                fileBytes: result.fileBytes,
                writtenBytes: result.writtenBytes,
                isMoved: moves
            )
        } catch {
            if moves {
                try? await Threads.run { () throws(Failure) in
                    try machines.setMoved(nil, export.machine)
                }
            }
            throw error.wrapped("\(export.machine) is not exported")
        }
    }

    private static func write(
        _ export: ControlRequest.MachineExport,
        token: String,
        _ machines: VirtualMachines,
        _ report: (_ done: Int, _ total: Int) -> Void
    ) throws(Failure) -> (fileBytes: Int, writtenBytes: Int) {
        let machine = try machines.existing(export.machine)
        let views: [String: PinnedView]
        if let snapshot = export.snapshot {
            views = try machines.pinDisks(of: machine.name, snapshot: snapshot)
        } else {
            views = try machines.pinDisks(of: machine.name)
        }
        var header = MachineFile.Header(
            format: MachineFile.format,
            token: token,
            name: machine.name,
            snapshot: export.snapshot,
            template: machine.template?.uri,
            templateVersion: machine.templateVersion,
            mode: machine.attributes.mode,
            disks: []
        )
        for (name, view) in views.sorted(by: { $0.key < $1.key }) {
            header.disks.append(
                try MachineFile.describe(
                    view,
                    named: name,
                    mode: machine.disks[name]?.row.attributes.mode ?? 0o600
                )
            )
        }
        let bytes = try MachineFile.write(header, views, to: export.path, progress: report)
        return (bytes, header.disks.reduce(0) { $0 + $1.dataByteCount })
    }

    func importMachine(
        _ machineImport: ControlRequest.MachineImport,
        _ session: any ControlSession
    ) async throws(Failure) -> MachineSummary {
        try checkWritable()
        let machines = homes.machines
        let templates = homes.templates
        return try await withProgress(session) { (report) throws(Failure) in
            let file = try MachineFile.verified(machineImport.path, progress: report)
            let header = file.header
            let owner = { (mode: UInt32) in
                OwnedAttributes(
                    mode: mode & 0o777,
                    userId: geteuid(),
                    groupId: getegid(),
                    modified: WallClock.nanoseconds
                )
            }
            let disks = try header.disks.map { (disk) throws(Failure) in
                ImportedDisk(
                    name: disk.name,
                    size: disk.size,
                    attributes: owner(disk.mode),
                    extents: try disk.checkedExtents { templates.content($0, prefix: $1) }
                )
            }
            let machine = VirtualMachines.NewMachine(
                name: machineImport.name ?? header.name,
                attributes: owner(header.mode),
                template: try header.template.map { (uri) throws(Failure) in
                    try Name.templateName(uri: uri)
                },
                templateVersion: header.templateVersion,
                overlayDirectory: try Self.overlayDirectory(machineImport.overlayPlace, machines)
            )
            let total = header.disks.reduce(0) { $0 + $1.dataByteCount }
            var done = 0
            do throws(Failure) {
                let made = try machines.importMachine(
                    machine,
                    disks: disks,
                    token: machineImport.isClone ? nil : header.token
                ) { (name, disk) throws(Failure) in
                    try file.fill(disk, named: name) { count in
                        done += count
                        report(done, total)
                    }
                }
                return MachineSummary(made)
            } catch  where error.kind == .exists {
                throw error.wrapped("\(machineImport.path) is not imported")
            }
        }
    }

    /// Runs `body` on a thread that may block, and passes on how far it is.
    func withProgress<Value: Sendable>(
        _ session: any ControlSession,
        _ body:
            @escaping @Sendable (_ report: @escaping (Int, Int) -> Void) throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let (reports, continuation) = AsyncStream.makeStream(
            of: ControlProgress.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let reporting = Task { for await progress in reports { await session.report(progress) } }
        defer {
            continuation.finish()
            reporting.cancel()
        }
        return try await Threads.run { () throws(Failure) in
            try body { done, total in
                continuation.yield(.work(what: "bytes", done: done, total: total))
            }
        }
    }
}
