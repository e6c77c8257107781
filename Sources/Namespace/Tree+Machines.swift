internal import CCNx
package import Disks
package import Failures
internal import Files
internal import Profiles
internal import Store

extension Tree {
    /// `mkdir` in `localhost` makes a VM, in a VM's `.snapshots` it takes a snapshot: of all disks at
    /// one moment, durable when this returns. Blocks its thread.
    package func makeDirectory(
        _ name: String,
        in parent: UInt64,
        mode: UInt32,
        by caller: Caller
    ) throws(Failure) -> Found {
        try checkWritable()
        let node = try node(parent)
        switch node {
        case .localhost:
            let machine = try machines.make(
                .init(
                    name: name,
                    attributes: attributes(mode: mode, caller),
                    overlayDirectory: machines.defaultOverlayDirectory
                )
            )
            return try found(.machine(id: machine.id), in: .localhost)
        case .snapshots(let id):
            let snapshot = try machines.takeSnapshot(
                of: try machine(id).name,
                named: name,
                now: WallClock.seconds
            )
            return try found(.snapshot(id: snapshot.id, machine: id), in: node)
        default:
            throw Failure(
                .notPermitted,
                "directories are made in localhost and in .snapshots; templates come by publishing"
            )
        }
    }

    /// `rmdir` removes a VM that has no disks, or drops a snapshot.
    package func removeDirectory(_ name: String, in parent: UInt64) throws(Failure) {
        try checkWritable()
        switch try node(parent) {
        case .localhost: try machines.remove(name)
        case .snapshots(let id): try machines.deleteSnapshot(name, of: try machine(id).name)
        case .machine where name == Self.snapshotsName:
            throw Failure(.notPermitted, ".snapshots is there as long as the VM is")
        default: throw Self.templatesAreFixed
        }
    }

    /// A new file in a VM's directory is an empty disk.
    package func makeFile(
        _ name: String,
        in parent: UInt64,
        mode: UInt32,
        by caller: Caller
    ) throws(Failure) -> (found: Found, opened: Opened) {
        try checkWritable()
        let node = try node(parent)
        if case .snapshot = node { throw Self.snapshotsAreFixed }
        guard case .machine(let id) = node else {
            throw Failure(.notPermitted, "files are made in a VM's directory: they are its disks")
        }
        let disk = try machines.makeDisk(
            named: name,
            in: try machine(id).name,
            // `cp` of a template's disk asks for the template's mode, under which nobody could write.
            attributes: attributes(mode: (mode | 0o600) & Self.diskModes, caller)
        )
        let found = try found(.disk(disk), in: node)
        return (found, open(disk, forWriting: true))
    }

    package func removeFile(_ name: String, in parent: UInt64) throws(Failure) {
        try checkWritable()
        let node = try node(parent)
        if case .snapshot = node { throw Self.snapshotsAreFixed }
        guard case .machine(let id) = node else { throw Self.templatesAreFixed }
        // What ccnfs says of a VM goes with the VM; `rm -r` asks for it first.
        if name == "vm.json" { return }
        try machines.removeDisk(name, of: try machine(id).name)
    }

    package func rename(
        _ name: String,
        in parent: UInt64,
        to newName: String,
        in newParent: UInt64
    ) throws(Failure) {
        try checkWritable()
        switch (try node(parent), try node(newParent)) {
        case (.localhost, .localhost):
            try machines.rename(name, to: newName)
        case (.machine(let id), .machine(let newId)):
            try machines.renameDisk(
                name,
                of: try machine(id).name,
                to: newName,
                of: try machine(newId).name
            )
        default:
            throw Failure(
                .notPermitted,
                "VMs are renamed inside localhost, disks inside and between VMs; snapshots are not"
            )
        }
    }

    /// Changes what `changes` has. Blocks its thread where the size shrinks.
    ///
    /// - Parameter handle: through which it is asked for, if it is.
    /// - Returns: nil when the last block of a disk that shrinks has to be fetched first; see
    ///   ``fills(_:forResizeTo:)``.
    package func setAttributes(
        of inode: UInt64,
        _ changes: AttributeChanges,
        handle: UInt64? = nil,
        fills: BlockFills? = nil
    ) throws(Failure) -> NodeAttributes? {
        try checkWritable()
        switch try node(inode) {
        case .disk(let disk):
            if let size = changes.size, size != disk.size {
                try disk.checkMayChange()
                var own: OpenHandles.Token?
                if let handle, case .disk(_, let token, _) = handles[handle] {
                    own = token
                    clonePins.noteChange(through: handle)
                }
                try checkMayShrink(disk, to: size, besides: own)
                let residency = try machines.betweenFlushes(of: disk) { () throws(Failure) in
                    try disk.resize(to: size, fills: fills)
                }
                if case .missing = residency { return nil }
                if disk.hasFreedBlocks { machines.flushQueue.flushSoon(disk) }
            }
            if changes.changesAttributes {
                try disk.setAttributes { attributes in
                    changes.apply(to: &attributes)
                    attributes.mode &= Self.diskModes
                }
            }
        case .machine(let id):
            try machines.setAttributes(of: try machine(id).name) { changes.apply(to: &$0) }
        case .snapshot, .snapshotDisk:
            throw Self.snapshotsAreFixed
        case .directory, .versions, .version, .tags, .tag, .templateFile, .localhost, .machineInfo,
            .snapshots:
            throw Self.templatesAreFixed
        }
        return try attributes(of: inode)
    }

    /// What cutting a disk off inside of a block needs from below.
    package func fills(
        _ inode: UInt64,
        forResizeTo size: Int
    ) async throws(Failure) -> BlockFills? {
        guard case .disk(let disk) = try node(inode) else { return nil }
        return try await disk.fills(forWriteAt: size, byteCount: 1)
    }

    /// Nobody finds the end of a disk cut off that they have open.
    func checkMayShrink(
        _ disk: Disk,
        to size: Int,
        besides own: OpenHandles.Token?
    ) throws(Failure) {
        guard size < disk.size, !disk.handles.areClosed(besides: own) else { return }
        throw Failure(.busy, "disk \(disk.row.name) is open elsewhere and cannot become shorter")
    }

    /// VMs and disks that were made, renamed or removed stay so after a power cut.
    package func synchronizeNames() throws(Failure) { try machines.synchronizeNames() }

    private func attributes(mode: UInt32, _ caller: Caller) -> OwnedAttributes {
        OwnedAttributes(
            mode: mode & 0o7777,
            userId: caller.userId,
            groupId: caller.groupId,
            modified: WallClock.nanoseconds
        )
    }

    private static let snapshotsAreFixed = Failure(
        .readOnly,
        "snapshots do not change; rmdir drops one"
    )

    /// No set-user-id and the like: the kernel was told that a write takes them away.
    private static let diskModes: UInt32 = 0o777

    private static let templatesAreFixed = Failure(
        .readOnly,
        "templates do not change; publish a new version or withdraw one"
    )
}

extension AttributeChanges {
    fileprivate var changesAttributes: Bool {
        mode != nil || userId != nil || groupId != nil || modified != nil
    }

    fileprivate func apply(to attributes: inout OwnedAttributes) {
        if let mode { attributes.mode = mode & 0o7777 }
        if let userId { attributes.userId = userId }
        if let groupId { attributes.groupId = groupId }
        if let modified { attributes.modified = modified }
    }
}
