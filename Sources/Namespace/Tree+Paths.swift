internal import CCNx
package import Disks
package import Failures
package import Profiles
internal import Store
internal import Templates

extension Tree {
    /// A file that has content, found by its path.
    package enum Target: Sendable {
        case templateDisk(SegmentedContent, version: Int, error: String?)
        case machineDisk(Disk, error: String?)
        case snapshotDisk(SnapshotDisk)
    }

    /// Finds a file by its path in the tree, such as `/mycorp.com/app1/linuxvm/disk0`.
    ///
    /// - Throws: `.notFound`, or `.isDirectory` and `.invalid` for what has no content.
    package func target(ofPath path: String) throws(Failure) -> Target {
        var node = TreeNode.directory(Name())
        var components = path.split(separator: "/").map(String.init)
        // A template may be named by its URI, too.
        if components.first == "ccnx:" { components.removeFirst() }
        for component in components {
            if case .tag(let template, let tag) = node,
                let number = templates.template(named: template)?.tags[tag]
            {
                node = .version(template, number)
            }
            guard let next = try child(component, of: node) else {
                throw Failure(
                    .notFound,
                    "there is no \(path) in the tree",
                    hint: "name a file below the mount, or as /mycorp.com/app1/linuxvm/disk0"
                )
            }
            node = next
        }
        let error = lastError(of: inode(of: node))
        switch node {
        case .disk(let disk):
            return .machineDisk(disk, error: disk.row.failure ?? error)
        case .templateFile(let file):
            let version = try version(file.version, of: file.template)
            if let problem = version.problem { throw problem }
            guard let item = version.record?.item(named: file.name) else {
                throw Failure(.invalid, "\(path) has no segments")
            }
            return .templateDisk(
                templates.content(item.content, prefix: file.template),
                version: file.version,
                error: error
            )
        case .snapshotDisk(let disk):
            return .snapshotDisk(disk)
        case .machineInfo:
            throw Failure(.invalid, "\(path) has no segments")
        case .directory, .versions, .version, .tags, .tag, .localhost, .machine, .snapshots,
            .snapshot:
            throw Failure(.isDirectory, "\(path) is a directory; name a file in it")
        }
    }
}
