internal import CCNx
internal import Disks
package import Failures
internal import Foundation
internal import Profiles
internal import Store
internal import Templates

extension Tree {
    /// How long the kernel may believe what it was told.
    package enum Freshness: Sendable {
        /// What the name stands for may change: a new version, a deploy by the CLI.
        case changing
        /// The name always stands for this.
        case immutable
    }

    package struct Found: Sendable {
        package let attributes: NodeAttributes
        package let name: Freshness
    }

    /// Looks a name up and counts a reference of the kernel to what is found.
    package func lookUp(_ name: String, in parent: UInt64) throws(Failure) -> Found {
        let parentNode = try node(parent)
        guard let child = try child(name, of: parentNode) else {
            throw Failure(.notFound, "no \(name) here")
        }
        return try found(child, in: parentNode)
    }

    func found(_ child: TreeNode, in parent: TreeNode) throws(Failure) -> Found {
        var attributes = try attributes(of: child)
        attributes.inode = inodes.inode(
            of: child,
            identity: child.identity,
            isLookup: true
        )
        let freshness: Freshness =
            if case .version = parent { .immutable } else { .changing }
        return Found(attributes: attributes, name: freshness)
    }

    func child(_ name: String, of parent: TreeNode) throws(Failure) -> TreeNode? {
        switch parent {
        case .directory(let directory):
            return childOfDirectory(name, directory)
        case .versions(let template):
            guard let number = Int(name), String(number) == name,
                templates.template(named: template)?.version(number) != nil
            else { return nil }
            return .version(template, number)
        case .version(let template, let number):
            guard let version = templates.template(named: template)?.version(number) else {
                return nil
            }
            return file(name, of: version, template)
        case .tags(let template):
            guard templates.template(named: template)?.tags[name] != nil else { return nil }
            return .tag(template, name)
        case .localhost:
            return machines.machine(named: name).map { .machine(id: $0.id) }
        case .machine(let id):
            if name == "vm.json" { return .machineInfo(id: id) }
            if name == Self.snapshotsName { return .snapshots(machine: id) }
            return machines.machine(id: id)?.disks[name].map(TreeNode.disk)
        case .snapshots(let machine):
            let snapshot = machines.machine(id: machine)?.snapshot(named: name)
            return snapshot.map { .snapshot(id: $0.id, machine: machine) }
        case .snapshot(let id, let machine):
            return try snapshot(id, of: machine).disks[name].map(TreeNode.snapshotDisk)
        case .tag, .templateFile, .machineInfo, .disk, .snapshotDisk:
            throw Failure(.notDirectory, "a file has no entries")
        }
    }

    private func childOfDirectory(_ name: String, _ directory: Name) -> TreeNode? {
        if directory.isEmpty, name == Name.localScope { return .localhost }
        if let template = templates.template(named: directory) {
            switch name {
            case ".versions": return .versions(directory)
            case ".tags": return .tags(directory)
            default: break
            }
            if let newest = template.newest, let file = file(name, of: newest, directory) {
                return file
            }
        }
        let child = directory.appending(.name(name))
        return templates.all().contains { $0.name.hasPrefix(child) } ? .directory(child) : nil
    }

    private func file(
        _ name: String,
        of version: TemplateVersion,
        _ template: Name
    ) -> TreeNode? {
        let size: Int
        if name == TemplateRecord.fileName {
            guard !version.recordJSON.isEmpty else { return nil }
            size = version.recordJSON.count
        } else {
            guard let item = version.record?.item(named: name) else { return nil }
            size = item.content.size
        }
        return .templateFile(
            TemplateFile(
                template: template,
                version: version.number,
                recordId: version.recordId,
                name: name,
                size: size,
                modified: version.record.map { $0.time * 1_000_000_000 } ?? started
            )
        )
    }

    // MARK: Attributes

    package func attributes(of inode: UInt64) throws(Failure) -> NodeAttributes {
        var attributes = try attributes(of: try node(inode))
        attributes.inode = inode
        return attributes
    }

    func attributes(of node: TreeNode) throws(Failure) -> NodeAttributes {
        switch node {
        case .directory, .versions, .version, .tags:
            return fixed(.directory, mode: 0o555, size: 0)
        case .localhost:
            return fixed(.directory, mode: 0o755, size: 0)
        case .tag(let template, let tag):
            let target = try target(ofTag: tag, of: template)
            return fixed(.symbolicLink, mode: 0o777, size: target.utf8.count)
        case .templateFile(let file):
            var attributes = fixed(.file, mode: 0o444, size: file.size)
            attributes.modified = file.modified
            return attributes
        case .machine(let id):
            let machine = try machine(id)
            return owned(machine.attributes, .directory, size: 0)
        case .machineInfo(let id):
            let machine = try machine(id)
            var attributes = owned(
                machine.attributes,
                .file,
                size: try machineInfo(machine).count
            )
            attributes.mode = 0o444
            return attributes
        case .disk(let disk):
            let row = disk.row
            return owned(row.attributes, .file, size: row.size)
        case .snapshots(let id):
            return owned(try machine(id).attributes, .directory, size: 0)
        case .snapshot(let id, let machineId):
            var attributes = owned(try machine(machineId).attributes, .directory, size: 0)
            attributes.mode &= 0o555
            attributes.modified = try snapshot(id, of: machineId).created * 1_000_000_000
            return attributes
        case .snapshotDisk(let disk):
            var attributes = owned(disk.row.attributes, .file, size: disk.size)
            attributes.mode &= 0o444
            return attributes
        }
    }

    private func fixed(_ kind: NodeAttributes.Kind, mode: UInt32, size: Int) -> NodeAttributes {
        NodeAttributes(
            inode: 0,
            kind: kind,
            mode: mode,
            userId: owner.userId,
            groupId: owner.groupId,
            size: size,
            modified: started,
            linkCount: kind == .directory ? 2 : 1
        )
    }

    private func owned(
        _ attributes: OwnedAttributes,
        _ kind: NodeAttributes.Kind,
        size: Int
    ) -> NodeAttributes {
        NodeAttributes(
            inode: 0,
            kind: kind,
            mode: attributes.mode,
            userId: attributes.userId,
            groupId: attributes.groupId,
            size: size,
            modified: attributes.modified,
            linkCount: kind == .directory ? 2 : 1
        )
    }

    func version(_ number: Int, of template: Name) throws(Failure) -> TemplateVersion {
        guard let version = templates.template(named: template)?.version(number) else {
            throw Failure(.notFound, "\(template) version \(number) was withdrawn")
        }
        return version
    }

    func machine(_ id: Int64) throws(Failure) -> VirtualMachine {
        guard let machine = machines.machine(id: id) else {
            throw Failure(.notFound, "this VM was removed")
        }
        return machine
    }

    func snapshot(_ id: Int64, of machineId: Int64) throws(Failure) -> Snapshot {
        let machine = try machine(machineId)
        guard let snapshot = machine.snapshots.first(where: { $0.id == id }) else {
            throw Failure(.notFound, "this snapshot was deleted")
        }
        return snapshot
    }

    package func target(ofLink inode: UInt64) throws(Failure) -> String {
        guard case .tag(let template, let tag) = try node(inode) else {
            throw Failure(.invalid, "this is no symbolic link")
        }
        return try target(ofTag: tag, of: template)
    }

    private func target(ofTag tag: String, of template: Name) throws(Failure) -> String {
        guard let number = templates.template(named: template)?.tags[tag] else {
            throw Failure(.notFound, "\(template) has no tag \(tag)")
        }
        return "../.versions/\(number)"
    }

    private static func time(_ seconds: Int) -> String {
        Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
    }

    /// The contents of `vm.json`.
    func machineInfo(_ machine: VirtualMachine) throws(Failure) -> [UInt8] {
        struct Info: Encodable {
            struct DiskInfo: Encodable {
                let name: String
                let size: Int
                let writtenBytes: Int
            }
            let name: String
            let created: String
            let template: String?
            let version: Int?
            let disks: [DiskInfo]
            let snapshots: [SnapshotInfo]
            let movedAs: String?
        }
        struct SnapshotInfo: Encodable {
            let name: String
            let created: String
        }
        let info = Info(
            name: machine.name,
            created: Self.time(machine.created),
            template: machine.template?.uri,
            version: machine.templateVersion,
            disks: machine.disks.sorted { $0.key < $1.key }.map { name, disk in
                .init(name: name, size: disk.size, writtenBytes: disk.writtenByteCount)
            },
            snapshots: machine.snapshots.map {
                SnapshotInfo(name: $0.name, created: Self.time($0.created))
            },
            movedAs: machine.movedAs
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(info)) + [UInt8(ascii: "\n")]
        } catch {
            throw Failure(.invalid, "vm.json cannot be written: \(error)")
        }
    }
}
