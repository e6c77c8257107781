internal import CCNx
internal import Disks
internal import Store
internal import Templates

/// What an inode stands for.
enum TreeNode: Sendable {
    /// A namespace, or a template at its newest version; the empty name is the root.
    case directory(Name)
    case versions(Name)
    case version(Name, Int)
    case tags(Name)
    case tag(Name, String)
    /// A disk, a carried file or the record of one version.
    case templateFile(TemplateFile)
    case localhost
    case machine(id: Int64)
    case machineInfo(id: Int64)
    case disk(Disk)
    /// The snapshots of a VM: reachable by name, not listed.
    case snapshots(machine: Int64)
    case snapshot(id: Int64, machine: Int64)
    case snapshotDisk(SnapshotDisk)

    /// Tells two nodes apart; the inode number is made from it, so it never names other bytes later.
    var identity: String {
        switch self {
        case .directory(let name): "d \(name)"
        case .versions(let name): "vs \(name)"
        case .version(let name, let number): "v \(number) \(name)"
        case .tags(let name): "ts \(name)"
        case .tag(let name, let tag): "t \(tag) \(name)"
        case .templateFile(let file):
            "f \(file.recordId) \(file.version) \(file.template) \(file.name)"
        case .localhost: "l"
        case .machine(let id): "m \(id)"
        case .machineInfo(let id): "i \(id)"
        case .disk(let disk): "k \(disk.id)"
        case .snapshots(let machine): "ss \(machine)"
        case .snapshot(let id, _): "s \(id)"
        case .snapshotDisk(let disk): "sk \(disk.row.id)"
        }
    }
}

/// A file of a template's version; with everything `stat` tells, so that one that is open stays as it
/// is when its version is withdrawn.
struct TemplateFile: Sendable {
    let template: Name
    let version: Int
    let recordId: ObjectId
    let name: String
    /// Bytes.
    let size: Int
    /// Nanoseconds since 1970.
    let modified: Int
}
