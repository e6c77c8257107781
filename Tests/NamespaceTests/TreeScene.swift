import CCNx
import Failures
import Namespace
import Profiles
import Store
import TestSupport

/// The tree over a repository's templates and a node's VMs, without a mount.
struct TreeScene {
    static let owner = Caller(userId: 1000, groupId: 1001)
    static let caller = Caller(userId: 2000, groupId: 2001)
    static let root: UInt64 = 1

    let scene: PublishingScene
    let tree: Tree

    init(_ scene: PublishingScene? = nil, isReadOnly: Bool = false) throws {
        let scene = try scene ?? PublishingScene()
        self.scene = scene
        tree = Tree(
            templates: scene.templates,
            machines: scene.machines,
            stateDirectory: scene.folder.path,
            owner: Self.owner,
            isReadOnly: isReadOnly,
            logger: quiet
        )
    }

    /// Looks up each component in turn, as the kernel does, and forgets those on the way.
    func find(_ path: String) throws(Failure) -> Tree.Found {
        var parent = Self.root
        var found: Tree.Found?
        for component in path.split(separator: "/") {
            let next = try tree.lookUp(String(component), in: parent)
            if parent != Self.root { tree.forget(parent, count: 1) }
            parent = next.attributes.inode
            found = next
        }
        guard let found else { throw Failure(.usage, "the path names nothing") }
        return found
    }

    func inode(_ path: String) throws(Failure) -> UInt64 {
        path == "/" ? Self.root : try find(path).attributes.inode
    }

    func open(_ path: String, forWriting: Bool = false) throws(Failure) -> UInt64 {
        try tree.open(try inode(path), forWriting: forWriting).handle
    }

    /// The names a directory lists.
    func names(_ path: String) throws(Failure) -> [String] {
        let handle = try tree.openDirectory(try inode(path))
        defer { tree.closeDirectory(handle) }
        return try tree.entries(of: handle, from: 2).map(\.name)
    }

    /// Makes a VM and gives its inode.
    @discardableResult
    func makeMachine(_ name: String) throws(Failure) -> UInt64 {
        try tree.makeDirectory(
            name,
            in: try inode("localhost"),
            mode: 0o750,
            by: Self.caller
        ).attributes.inode
    }

    func makeDisk(_ name: String, in machine: String) throws(Failure) -> UInt64 {
        try tree.makeFile(
            name,
            in: try inode("localhost/\(machine)"),
            mode: 0o444,
            by: Self.caller
        ).opened.handle
    }

    func remove(_ name: String, of machine: String) throws(Failure) {
        try tree.removeFile(name, in: try inode("localhost/\(machine)"))
    }

    func kind(_ path: String) throws(Failure) -> NodeAttributes.Kind {
        try find(path).attributes.kind
    }
}
