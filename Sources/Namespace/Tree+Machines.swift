internal import CCNx
internal import Disks
package import Failures
internal import Files
internal import Store

extension Tree {
    /// `mkdir` in `localhost` makes a VM.
    package func makeDirectory(
        _ name: String,
        in parent: UInt64,
        mode: UInt32,
        by caller: Caller
    ) throws(Failure) -> Found {
        try checkWritable()
        guard case .localhost = try node(parent) else {
            throw Failure(
                .notPermitted,
                "directories are made in localhost; templates come by publishing"
            )
        }
        let machine = try machines.make(
            named: name,
            attributes: attributes(mode: mode, caller)
        )
        return try found(.machine(id: machine.id), in: .localhost)
    }

    /// `rmdir` removes a VM that has no disks.
    package func removeDirectory(_ name: String, in parent: UInt64) throws(Failure) {
        try checkWritable()
        guard case .localhost = try node(parent) else { throw Self.templatesAreFixed }
        try machines.remove(name)
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
        guard case .machine(let id) = node else {
            throw Failure(.notPermitted, "files are made in a VM's directory: they are its disks")
        }
        let disk = try machines.makeDisk(
            named: name,
            in: try machine(id).name,
            // `cp` of a template's disk asks for the template's mode, under which nobody could write.
            attributes: attributes(mode: mode | 0o600, caller)
        )
        let found = try found(.disk(disk), in: node)
        return (found, open(disk, inode: found.attributes.inode, forWriting: true))
    }

    package func removeFile(_ name: String, in parent: UInt64) throws(Failure) {
        try checkWritable()
        guard case .machine(let id) = try node(parent) else { throw Self.templatesAreFixed }
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
                "VMs are renamed inside localhost, disks inside and between VMs"
            )
        }
    }

    package func setAttributes(
        of inode: UInt64,
        _ changes: AttributeChanges
    ) throws(Failure) -> NodeAttributes {
        try checkWritable()
        switch try node(inode) {
        case .disk(let disk):
            if let size = changes.size, size != disk.size { try disk.resize(to: size) }
            if changes.changesAttributes {
                try disk.setAttributes { changes.apply(to: &$0) }
            }
        case .machine(let id):
            try machines.setAttributes(of: try machine(id).name) { changes.apply(to: &$0) }
        case .directory, .versions, .version, .tags, .tag, .templateFile, .localhost, .machineInfo:
            throw Self.templatesAreFixed
        }
        return try attributes(of: inode)
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
