internal import CCNx
internal import Disks
package import Failures
internal import Glibc
internal import Profiles
internal import Store
internal import Templates

extension Tree {
    package static let attributePrefix = "user.ccnfs."

    /// The names of a node's xattrs.
    package func extendedAttributeNames(of inode: UInt64) throws(Failure) -> [String] {
        let keys: [String]
        switch try node(inode) {
        case .templateFile(let file) where file.name != TemplateRecord.fileName:
            keys = ["name", "version", "publisher", "root", "size", "data", "local"]
        case .disk, .snapshotDisk: keys = ["size", "written"]
        case .directory(let name) where name.isEmpty: keys = ["node"]
        default: return []
        }
        let error = try error(of: inode) == nil ? [] : ["error"]
        return (keys + error).map { Self.attributePrefix + $0 }
    }

    /// On the root: the process that serves the mount.
    package static let nodeAttribute = attributePrefix + "node"

    /// The value of an xattr; nil when the node has none of that name.
    package func extendedAttribute(
        _ name: String,
        of inode: UInt64
    ) async throws(Failure) -> String? {
        guard name.hasPrefix(Self.attributePrefix) else { return nil }
        let key = String(name.dropFirst(Self.attributePrefix.count))
        if key == "error" { return try error(of: inode) }
        switch try node(inode) {
        case .templateFile(let file):
            let version = try version(file.version, of: file.template)
            guard let item = version.record?.item(named: file.name) else { return nil }
            switch key {
            case "name": return file.template.uri
            case "version": return String(file.version)
            case "publisher": return version.record?.publisher.digest.hex
            case "root": return item.content.root.hex
            case "size": return String(item.content.size)
            case "data": return String(item.dataByteCount)
            case "local":
                if let problem = version.problem { throw problem }
                let content = templates.content(item.content, prefix: file.template)
                return String(try await content.localByteCount().local)
            default: return nil
            }
        case .disk(let disk):
            switch key {
            case "size": return String(disk.size)
            case "written": return String(disk.writtenByteCount)
            default: return nil
            }
        case .snapshotDisk(let disk):
            switch key {
            case "size": return String(disk.size)
            case "written": return String(try disk.writtenByteCount())
            default: return nil
            }
        case .directory(let name) where name.isEmpty && key == "node":
            return String(getpid())
        default: return nil
        }
    }

    /// Why the file answers EIO, or did last.
    private func error(of inode: UInt64) throws(Failure) -> String? {
        switch try node(inode) {
        case .templateFile(let file) where file.name != TemplateRecord.fileName:
            if let problem = try version(file.version, of: file.template).problem {
                return "\(problem)"
            }
        case .disk(let disk):
            if let failure = disk.row.failure { return failure }
        default: break
        }
        return lastError(of: inode)
    }
}
