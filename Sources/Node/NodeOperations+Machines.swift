internal import CCNx
internal import Control
internal import Disks
internal import Failures
internal import Files
internal import Glibc
internal import Namespace
internal import Provisioning
internal import Publishing
internal import Store

// VMs and their snapshots. What may wait for a disk runs on threads of its own.
extension NodeOperations {
    func checkWritable() throws(Failure) {
        if configuration.isReadOnly { throw Failure(.readOnly, "the node is read-only") }
    }

    func deploy(
        _ deployment: ControlRequest.Deployment
    ) async throws(Failure) -> [MachineSummary] {
        try checkWritable()
        let owner = OwnedAttributes(
            mode: 0o600,
            userId: geteuid(),
            groupId: getegid(),
            modified: WallClock.nanoseconds
        )
        let machines = homes.machines
        let deployer = Deployer(
            templates: homes.templates,
            machines: machines,
            database: homes.database
        )
        let template = try Name(uri: deployment.template)
        return try await Threads.run { () throws(Failure) in
            let directory = try Self.overlayDirectory(deployment.overlayPlace, machines)
            return try deployer.deploy(
                template,
                version: deployment.version,
                as: deployment.machines,
                size: deployment.size,
                owner: owner,
                overlayDirectory: directory
            ).map(MachineSummary.init)
        }
    }

    /// Where written blocks of a new VM go: the place it names, or the node's.
    static func overlayDirectory(
        _ place: String?,
        _ machines: VirtualMachines
    ) throws(Failure) -> String? {
        guard let place else { return machines.defaultOverlayDirectory }
        return try machines.overlayDirectory(in: place)
    }

    func takeSnapshot(
        of machine: String,
        named name: String
    ) async throws(Failure) -> SnapshotSummary {
        try checkWritable()
        let machines = homes.machines
        return try await Threads.run { () throws(Failure) in
            let snapshot = try machines.takeSnapshot(
                of: machine,
                named: name,
                now: WallClock.seconds
            )
            return try SnapshotSummary(snapshot, of: try machines.existing(machine))
        }
    }

    func deleteSnapshot(_ name: String, of machine: String) async throws(Failure) {
        try checkWritable()
        let machines = homes.machines
        try await Threads.run { () throws(Failure) in
            try machines.deleteSnapshot(name, of: machine)
        }
        tree.forgetSnapshot(name, of: machine)
    }

    /// - Parameter machine: nil for all.
    func snapshots(of machine: String?) throws(Failure) -> [SnapshotSummary] {
        let machines =
            try machine.map { (name) throws(Failure) in [try homes.machines.existing(name)] }
            ?? homes.machines.all()
        var summaries: [SnapshotSummary] = []
        for machine in machines {
            for snapshot in machine.snapshots {
                summaries.append(try SnapshotSummary(snapshot, of: machine))
            }
        }
        return summaries
    }

    func rollBack(_ machine: String, to snapshot: String) async throws(Failure) -> [String] {
        try checkWritable()
        let machines = homes.machines
        let disks = try await Threads.run { () throws(Failure) in
            try machines.rollBack(machine, to: snapshot)
        }
        // Other inodes stand under the names now.
        tree.forgetDisks(disks, of: machine)
        return disks
    }
}
