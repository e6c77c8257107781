import CCNx
import Failures
import Publishing
import Store
import Templates
import TestSupport
import Testing

@testable import Namespace

private let image = SparseImage(size: 1 << 20, segments: [(0, 1), (10, 2)])
private let other = SparseImage(size: 2 << 20, segments: [(0, 3)])
private let template = "mycorp.com/app1/linuxvm"

struct LookupTests {
    /// Two versions with a carried file and a tag, and a VM.
    private func scene() async throws -> TreeScene {
        let scene = try TreeScene()
        try await scene.scene.publish(image, files: [.init(name: "domain.xml", bytes: [60, 62])])
        try await scene.scene.publish(other)
        try scene.scene.tag("stable", 1)
        try scene.scene.deploy("web-01")
        return scene
    }

    @Test func findsEveryKindOfNode() async throws {
        let scene = try await scene()
        for directory in [
            "mycorp.com", "mycorp.com/app1", template, "\(template)/.versions",
            "\(template)/.versions/1", "\(template)/.tags", "localhost", "localhost/web-01",
        ] {
            #expect(try scene.kind(directory) == .directory, "\(directory)")
        }
        for file in [
            "\(template)/disk0", "\(template)/template.json", "\(template)/.versions/1/disk0",
            "\(template)/.versions/1/domain.xml", "localhost/web-01/disk0",
            "localhost/web-01/vm.json",
        ] {
            #expect(try scene.kind(file) == .file, "\(file)")
        }
        #expect(try scene.kind("\(template)/.tags/stable") == .symbolicLink)
    }

    @Test(arguments: [
        "nothing", "mycorp.co", "mycorp.com/app", "mycorp.com/.versions", "mycorp.com/disk0",
        "\(template)/disk1", "\(template)/domain.xml", "\(template)/.versions/3",
        "\(template)/.versions/01", "\(template)/.versions/+1", "\(template)/.versions/0",
        "\(template)/.versions/x", "\(template)/.tags/other", "\(template)/.snapshots",
        "\(template)/.versions/2/domain.xml", "localhost/web-02", "localhost/web-01/disk1",
        "localhost/.versions",
    ])
    func findsNo(_ path: String) async throws {
        let scene = try await scene()
        #expect(await failure { try scene.find(path) }?.kind == .notFound)
    }

    @Test func findsNothingInAFile() async throws {
        let scene = try await scene()
        for file in ["\(template)/disk0", "localhost/web-01/disk0", "localhost/web-01/vm.json"] {
            #expect(await failure { try scene.find("\(file)/x") }?.kind == .notDirectory)
        }
    }

    @Test func refusesAnInodeThatTheKernelDoesNotHave() async throws {
        let scene = try await scene()
        #expect(kind { _ = try scene.tree.attributes(of: 4711) } == .notFound)
        #expect(kind { _ = try scene.tree.lookUp("disk0", in: 4711) } == .notFound)
        #expect(kind { _ = try scene.tree.open(4711, forWriting: false) } == .notFound)
    }

    // MARK: Listing

    @Test func listsTemplatesUnderTheirNames() async throws {
        let scene = try await scene()
        try await scene.scene.publish(image, as: PublishingScene.otherTemplate)
        #expect(try scene.names("/") == ["localhost", "mycorp.com"])
        #expect(try scene.names("mycorp.com") == ["app1", "app2"])
        #expect(try scene.names("mycorp.com/app1") == ["linuxvm"])
        #expect(try scene.names("localhost") == ["web-01"])
        #expect(try scene.names("localhost/web-01") == ["vm.json", "disk0"])
    }

    @Test func reachesDotDirectoriesButDoesNotListThem() async throws {
        let scene = try await scene()
        #expect(try scene.names(template) == ["disk0", "template.json"])
        #expect(try scene.names("\(template)/.versions") == ["1", "2"])
        #expect(
            try scene.names("\(template)/.versions/1") == ["disk0", "domain.xml", "template.json"]
        )
        #expect(try scene.names("\(template)/.versions/2") == ["disk0", "template.json"])
        #expect(try scene.names("\(template)/.tags") == ["stable"])
    }

    @Test func listsATemplateBelowAnother() async throws {
        let scene = try await scene()
        let inner = PublishingScene.template.appending(.name("minimal"))
        try await scene.scene.publish(image, as: inner)
        #expect(try scene.names(template) == ["disk0", "minimal", "template.json"])
        #expect(try scene.names("\(template)/minimal") == ["disk0", "template.json"])
    }

    @Test func fixesWhatADirectoryListsUntilItIsClosed() async throws {
        let scene = try await scene()
        let handle = try scene.tree.openDirectory(try scene.inode("localhost"))
        try scene.makeMachine("web-00")
        #expect(try scene.tree.entries(of: handle, from: 0).map(\.name) == [".", "..", "web-01"])
        #expect(try scene.tree.entries(of: handle, from: 2).map(\.name) == ["web-01"])
        #expect(try scene.tree.entries(of: handle, from: 3).isEmpty)
        scene.tree.closeDirectory(handle)
        #expect(kind { _ = try scene.tree.entries(of: handle, from: 0) } == .invalid)
        #expect(try scene.names("localhost") == ["web-00", "web-01"])
    }

    @Test func listsTheInodesAndKindsThatLookingUpFinds() async throws {
        let scene = try await scene()
        for directory in [template, "\(template)/.tags", "localhost/web-01", "mycorp.com"] {
            let handle = try scene.tree.openDirectory(try scene.inode(directory))
            defer { scene.tree.closeDirectory(handle) }
            for entry in try scene.tree.entries(of: handle, from: 2) {
                let found = try scene.find("\(directory)/\(entry.name)")
                #expect(found.attributes.inode == entry.inode)
                #expect(found.attributes.kind == entry.kind)
            }
        }
    }

    @Test func refusesToListAFile() async throws {
        let scene = try await scene()
        let inode = try scene.inode("\(template)/disk0")
        #expect(kind { _ = try scene.tree.openDirectory(inode) } == .notDirectory)
    }

    // MARK: Attributes

    @Test func sizesAreThoseOfTheDisksAndBlocksCoverThem() async throws {
        let scene = try await scene()
        let newest = try scene.find("\(template)/disk0").attributes
        #expect(newest.size == 2 << 20)
        #expect(newest.mode == 0o444)
        #expect(newest.userId == TreeScene.owner.userId)
        #expect(newest.modified == PublishingScene.now * 1_000_000_000)
        #expect(try scene.find("\(template)/.versions/1/disk0").attributes.size == 1 << 20)
        #expect(try scene.find("\(template)/.versions/1/domain.xml").attributes.size == 2)
        #expect(try scene.find("localhost/web-01/disk0").attributes.size == 2 << 20)
        for path in [
            "\(template)/disk0", "\(template)/template.json", "\(template)/.versions/1/domain.xml",
            "localhost/web-01/disk0", "localhost/web-01/vm.json",
        ] {
            let attributes = try scene.find(path).attributes
            #expect(attributes.blocks512 * 512 >= attributes.size, "\(path)")
            #expect(attributes.blocks512 * 512 - attributes.size < 512, "\(path)")
        }
    }

    @Test func tagsLeadToVersions() async throws {
        let scene = try await scene()
        let link = try scene.find("\(template)/.tags/stable").attributes
        #expect(try scene.tree.target(ofLink: link.inode) == "../.versions/1")
        #expect(link.size == "../.versions/1".utf8.count)
        try scene.scene.editor.change(PublishingScene.namespace, now: PublishingScene.now) {
            (listing) throws(Failure) in listing.tags = []
        }
        #expect(kind { _ = try scene.tree.target(ofLink: link.inode) } == .notFound)
        let file = try scene.inode("\(template)/disk0")
        #expect(kind { _ = try scene.tree.target(ofLink: file) } == .invalid)
    }

    @Test func namesInAVersionStayTrueAndOthersMayChange() async throws {
        let scene = try await scene()
        for (path, isImmutable) in [
            ("\(template)/.versions/1/disk0", true), ("\(template)/disk0", false),
            ("\(template)/.versions/1", false), ("localhost/web-01/disk0", false),
        ] {
            let freshness = try scene.find(path).name
            #expect((freshness == .immutable) == isImmutable, "\(path)")
        }
    }

    // MARK: Inodes

    @Test func givesDifferentContentDifferentInodes() async throws {
        let scene = try await scene()
        let first = try scene.inode("\(template)/disk0")
        #expect(try scene.inode("\(template)/.versions/2/disk0") == first)
        #expect(try scene.inode("\(template)/.versions/1/disk0") != first)
        try await scene.scene.publish(image)
        #expect(try scene.inode("\(template)/disk0") != first)

        let paths = [
            "mycorp.com", template, "\(template)/.versions", "\(template)/.versions/1",
            "\(template)/.versions/2", "\(template)/.tags", "\(template)/.tags/stable",
            "\(template)/disk0", "\(template)/template.json", "\(template)/.versions/1/domain.xml",
            "localhost", "localhost/web-01", "localhost/web-01/disk0", "localhost/web-01/vm.json",
        ]
        let inodes = try paths.map { try scene.inode($0) }
        #expect(Set(inodes + [TreeScene.root]).count == paths.count + 1)
    }

    @Test func keepsInodesOverANewTree() async throws {
        let scene = try await scene()
        let paths = [
            "mycorp.com", template, "\(template)/.versions/1/disk0", "\(template)/disk0",
            "localhost/web-01", "localhost/web-01/disk0",
        ]
        let before = try paths.map { try scene.inode($0) }
        let again = try TreeScene(scene.scene)
        #expect(try paths.reversed().map { try again.inode($0) } == before.reversed())
    }

    @Test func aDiskMadeAnewUnderAnOldNameHasAnotherInode() async throws {
        let scene = try await scene()
        let before = try scene.inode("localhost/web-01/disk0")
        try scene.remove("disk0", of: "web-01")
        scene.tree.close(try scene.makeDisk("disk0", in: "web-01"))
        #expect(try scene.inode("localhost/web-01/disk0") != before)
    }

    @Test func leavesTheTableEmptyWhenEverythingIsForgotten() async throws {
        let scene = try await scene()
        var counts: [UInt64: UInt64] = [:]
        func lookUp(_ name: String, _ parent: UInt64) throws -> UInt64 {
            let inode = try scene.tree.lookUp(name, in: parent).attributes.inode
            counts[inode, default: 0] += 1
            return inode
        }
        for _ in 0..<3 {
            var parent = TreeScene.root
            for component in "\(template)/.versions/1/disk0".split(separator: "/") {
                parent = try lookUp(String(component), parent)
            }
            _ = try lookUp("disk0", try lookUp("web-01", try lookUp("localhost", TreeScene.root)))
        }
        #expect(scene.tree.inodes.count == counts.count)
        // Listing makes no references.
        let handle = try scene.tree.openDirectory(TreeScene.root)
        scene.tree.closeDirectory(handle)
        #expect(scene.tree.inodes.count == counts.count)
        for (inode, count) in counts {
            scene.tree.forget(inode, count: count - 1)
            #expect(try scene.tree.attributes(of: inode).inode == inode)
            scene.tree.forget(inode, count: 1)
            #expect(kind { _ = try scene.tree.attributes(of: inode) } == .notFound)
        }
        #expect(scene.tree.inodes.count == 0)
        #expect(scene.tree.handles.count == 0)
        // The kernel may be wrong about what it has; that is no harm.
        scene.tree.forget(4711, count: 1)
        scene.tree.forget(TreeScene.root, count: 1)
        #expect(try scene.tree.attributes(of: TreeScene.root).kind == .directory)
    }

    @Test func goesOnProbingPastAnInodeThatIsTaken() {
        let table = InodeTable()
        let node = TreeNode.localhost
        let first = table.inode(of: node, identity: "one", isLookup: true)
        #expect(table.inode(of: node, identity: "one", isLookup: false) == first)
        let second = table.inode(of: node, identity: "two", isLookup: true)
        #expect(first != second)
        table.forget(first, count: 99)
        #expect(table.node(first) == nil)
        #expect(table.node(second) != nil)
        #expect(table.count == 1)
    }

    // MARK: Paths

    @Test func findsFilesByPath() async throws {
        let scene = try await scene()
        for (path, version) in [
            ("/\(template)/disk0", 2), ("ccnx:/\(template)/disk0", 2),
            ("/\(template)/.versions/1/disk0", 1), ("/\(template)/.tags/stable/disk0", 1),
        ] {
            guard case .templateDisk(_, version, _) = try scene.tree.target(ofPath: path) else {
                Issue.record("\(path) is not the disk of version \(version)")
                continue
            }
        }
        guard case .machineDisk = try scene.tree.target(ofPath: "/localhost/web-01/disk0") else {
            Issue.record("the VM's disk is not found")
            return
        }
        #expect(kind { _ = try scene.tree.target(ofPath: "/\(template)") } == .isDirectory)
        #expect(kind { _ = try scene.tree.target(ofPath: "/") } == .isDirectory)
        #expect(kind { _ = try scene.tree.target(ofPath: "/\(template)/disk7") } == .notFound)
        #expect(
            kind { _ = try scene.tree.target(ofPath: "/localhost/web-01/vm.json") } == .invalid
        )
    }
}
