internal import CCNx
internal import Disks
package import Failures
internal import Templates

extension Tree {
    /// Opens a directory: what it lists is fixed until it is closed.
    package func openDirectory(_ inode: UInt64) throws(Failure) -> UInt64 {
        let node = try node(inode)
        var entries: [DirectoryEntry] = [
            DirectoryEntry(name: ".", inode: inode, kind: .directory),
            DirectoryEntry(name: "..", inode: inode, kind: .directory),
        ]
        for name in try names(in: node) {
            guard let child = try child(name, of: node) else { continue }
            entries.append(
                DirectoryEntry(
                    name: name,
                    inode: self.inode(of: child),
                    kind: Self.kind(of: child)
                )
            )
        }
        return handles.insert(.directory(entries))
    }

    /// The entries of an open directory from position `start` on.
    package func entries(
        of handle: UInt64,
        from start: Int
    ) throws(Failure) -> ArraySlice<DirectoryEntry> {
        guard case .directory(let entries) = handles[handle] else {
            throw Failure(.invalid, "this is no open directory")
        }
        return entries.dropFirst(start)
    }

    package func closeDirectory(_ handle: UInt64) { _ = handles.remove(handle) }

    /// The names listed; `.versions`, `.tags` and `.snapshots` are reachable but not among them.
    private func names(in node: TreeNode) throws(Failure) -> [String] {
        switch node {
        case .directory(let directory):
            var names = Set(
                templates.all().map(\.name)
                    .filter {
                        $0.hasPrefix(directory) && $0.segments.count > directory.segments.count
                    }
                    .map { $0.segments[directory.segments.count].text }
            )
            if directory.isEmpty { names.insert(Name.localScope) }
            if let newest = templates.template(named: directory)?.newest {
                names.formUnion(files(of: newest))
            }
            return names.sorted()
        case .versions(let template):
            return templates.template(named: template)?.versions.map { String($0.number) } ?? []
        case .version(let template, let number):
            return files(of: try version(number, of: template))
        case .tags(let template):
            return templates.template(named: template)?.tags.keys.sorted() ?? []
        case .localhost:
            return machines.all().map(\.name)
        case .machine(let id):
            return ["vm.json"] + (try machine(id)).disks.keys.sorted()
        case .snapshots(let id):
            return try machine(id).snapshots.map(\.name)
        case .snapshot(let id, let machine):
            return try snapshot(id, of: machine).disks.keys.sorted()
        case .tag, .templateFile, .machineInfo, .disk, .snapshotDisk:
            throw Failure(.notDirectory, "this is a file")
        }
    }

    private func files(of version: TemplateVersion) -> [String] {
        let items = (version.record?.disks ?? []) + (version.record?.files ?? [])
        let record = version.recordJSON.isEmpty ? [] : [TemplateRecord.fileName]
        return items.map(\.name) + record
    }

    private static func kind(of node: TreeNode) -> NodeAttributes.Kind {
        switch node {
        case .directory, .versions, .version, .tags, .localhost, .machine, .snapshots, .snapshot:
            .directory
        case .tag: .symbolicLink
        case .templateFile, .machineInfo, .disk, .snapshotDisk: .file
        }
    }
}
