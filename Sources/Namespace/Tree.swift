internal import CCNx
package import Disks
package import Failures
internal import Files
internal import Foundation
package import Logging
internal import Store
internal import Synchronization
package import Templates

/// The tree of the mount: names to nodes, nodes to attributes, handles to bytes.
///
/// ```
///   /mycorp.com/app1/linuxvm/{disk0,template.json,.versions/3/…,.tags/stable}
///   /localhost/web-01/{disk0,vm.json,.snapshots/before/disk0}
/// ```
/// Knows nothing of FUSE: failures leave it by kind, and errno is made of them one floor up.
///
/// Concurrency: any thread. Inodes and handles have a table each with its own lock; everything else
/// is owned by ``Templates`` and ``VirtualMachines``. No lock is held over a call into those.
package final class Tree: Sendable {
    let templates: Templates
    let machines: VirtualMachines
    let logger: Logger
    let inodes = InodeTable()
    let handles = HandleTable()
    package let parked = ParkingLot()
    let isReadOnly: Bool
    let owner: Caller
    let started: Int
    private let stateDirectory: String
    private let lastErrors = Mutex<[UInt64: String]>([:])
    private let invalidation = Mutex<(@Sendable (_ parent: UInt64, _ name: String) -> Void)?>(nil)

    /// In a VM: its snapshots.
    static let snapshotsName = ".snapshots"
    let clonePins = ClonePins()

    /// Last errors kept; the oldest knowledge goes first when there are more files in trouble.
    private static let lastErrorLimit = 1024

    /// - Parameter owner: of everything that no caller made.
    package init(
        templates: Templates,
        machines: VirtualMachines,
        stateDirectory: String,
        owner: Caller,
        isReadOnly: Bool,
        logger: Logger
    ) {
        self.templates = templates
        self.machines = machines
        self.stateDirectory = stateDirectory
        self.owner = owner
        self.isReadOnly = isReadOnly
        self.logger = logger
        started = WallClock.nanoseconds
        templates.onChange { [weak self] names in self?.invalidate(names) }
    }

    /// The name and the node's inode under it may have changed: `handler` drops what the kernel keeps.
    package func onInvalidate(_ handler: @escaping @Sendable (UInt64, String) -> Void) {
        invalidation.withLock { $0 = handler }
    }

    private func invalidate(_ names: Set<Name>) {
        // What was wrong with a template may be right now: trust was given, a record came.
        lastErrors.withLock { $0.removeAll() }
        guard let handler = invalidation.withLock(\.self) else { return }
        for name in names {
            for depth in 0..<name.segments.count {
                handler(
                    inode(of: .directory(name.prefix(depth))),
                    name.segments[depth].text
                )
            }
            let items = templates.template(named: name)?.newest?.record
            let files = (items?.disks ?? []) + (items?.files ?? [])
            for file in files.map(\.name) + [TemplateRecord.fileName] {
                handler(inode(of: .directory(name)), file)
            }
        }
    }

    /// The kernel need not keep what these disks' names stood for.
    package func forgetDisks(_ names: [String], of machine: String) {
        guard let id = machines.machine(named: machine)?.id,
            let handler = invalidation.withLock(\.self)
        else { return }
        for name in names { handler(inode(of: .machine(id: id)), name) }
    }

    package func forgetSnapshot(_ name: String, of machine: String) {
        guard let id = machines.machine(named: machine)?.id,
            let handler = invalidation.withLock(\.self)
        else { return }
        handler(inode(of: .snapshots(machine: id)), name)
    }

    // MARK: Inodes

    func inode(of node: TreeNode) -> UInt64 {
        inodes.inode(of: node, identity: node.identity, isLookup: false)
    }

    func node(_ inode: UInt64) throws(Failure) -> TreeNode {
        guard let node = inodes.node(inode) else {
            throw Failure(.notFound, "the kernel asks for inode \(inode), which it does not have")
        }
        return node
    }

    package func forget(_ inode: UInt64, count: UInt64) { inodes.forget(inode, count: count) }

    // MARK: Errors, for those who look afterwards

    /// Says once in the log, and keeps for the xattr, why a file answered EIO.
    package func note(_ failure: Failure, of inode: UInt64) {
        let text = "\(failure)"
        let isNew = lastErrors.withLock { errors in
            if errors.count >= Self.lastErrorLimit { errors.removeAll() }
            defer { errors[inode] = text }
            return errors[inode] != text
        }
        if isNew {
            logger.error(
                "input/output error",
                metadata: ["inode": "\(inode)", "cause": "\(text)"]
            )
        }
    }

    func lastError(of inode: UInt64) -> String? { lastErrors.withLock { $0[inode] } }

    // MARK: The filesystem as a whole

    /// Room for written blocks: that of the filesystem the state directory is on.
    package func space() throws(Failure) -> (totalByteCount: Int, availableByteCount: Int) {
        let space = try FileTree.space(at: stateDirectory)
        return (space.totalByteCount, space.availableByteCount)
    }

    func checkWritable() throws(Failure) {
        if isReadOnly { throw Failure(.readOnly, "the mount is read-only") }
    }

}

extension NameSegment {
    /// The segment as a path component.
    var text: String { String(decoding: value, as: UTF8.self) }
}
