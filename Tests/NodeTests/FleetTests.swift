import CCNx
import Control
import Faces
import Failures
import Files
import Management
import Publishing
import Signing
import Store
import TestSupport
import Testing

@testable import Node

private let image = {
    var image = SparseImage(size: 256 << 10)
    for index in 0..<8 { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

/// VMs of nodes that nobody can connect to, by way of the repository that they are connected to.
struct FleetTests {
    private static let hosts = TestNode.namespace.appending(.name("nodes"))
    private static let host1 = hosts.appending(.name("host1"))
    private static let host2 = hosts.appending(.name("host2"))

    /// A repository with one version, a node that follows it, and the node of an administrator, whose key is the
    /// publisher's.
    private struct Fleet {
        let repository: TestNode
        let address: FaceAddress
        let host: TestNode
        let administrator: TestNode

        init(accepting: Bool = true, isTrusted: Bool = true) async throws {
            repository = try TestNode(acceptsPublishing: true, acceptsManagement: true)
            let key = try TestNode.publisherKey.get().publicKey
            try await repository.trust(key, ["publish", "operate"])
            try await repository.publish(image)
            address = try #require(try await repository.start())
            host = try TestNode(
                asking: address,
                acceptsManagement: accepting,
                name: FleetTests.host1
            )
            try await host.trust(key, ["publish", "operate"])
            try await host.start(listening: nil)
            await host.operations.followCatalog(of: TestNode.namespace)
            if isTrusted {
                let hostKey = host.operations.homes.nodeKey.publicKey
                try await repository.trust(hostKey, ["node"], for: FleetTests.host1)
            }
            administrator = try TestNode(asking: address)
            try await administrator.start(listening: nil)
        }

        /// Tells the repository of the node's VMs.
        func report() async throws {
            let operations = host.operations
            try await host.exchange.withSource(at: address) { (source) throws(Failure) in
                var reporter = operations.reporter(of: FleetTests.host1, to: source)
                // Until the face is up nothing is told.
                for _ in 0..<500 {
                    try await reporter.report(operations.inventory)
                    if repository.operations.nodeBook.face(of: FleetTests.host1) != nil { return }
                    try? await Task.sleep(for: .milliseconds(20))
                }
                Issue.record("the repository does not know the node")
            }
        }

        func deploy(_ machines: [String], to node: String) async throws -> ControlResponse {
            try await administrator.manage(
                .deploy(
                    template: TestNode.template,
                    version: nil,
                    machines: machines,
                    size: nil
                ),
                node
            )
        }

        func nodes(
            of asked: TestNode? = nil,
            under prefix: Name = Name(),
            at addresses: [FaceAddress] = []
        ) async throws -> NodeList {
            let key = try TestNode.publisherKey.get().publicKey
            let response = try await (asked ?? administrator).perform(
                .listNodes(
                    prefix: prefix.uri,
                    repositories: addresses.map(\.description),
                    publicKeyPEM: String(decoding: try key.pem(), as: UTF8.self)
                )
            )
            guard case .nodes(let list) = response else {
                throw Failure(.invalid, "the answer is another one")
            }
            return list
        }

        func stop() async {
            await administrator.exchange.stop()
            await host.exchange.stop()
            await repository.exchange.stop()
        }
    }

    // MARK: Several ways

    private func deploy(from administrator: TestNode) async throws -> ControlResponse {
        try await administrator.manage(
            .deploy(template: TestNode.template, version: nil, machines: ["web-01"], size: nil),
            Self.host1.uri
        )
    }

    /// The first that is asked does nothing for others, and knows no nodes.
    @Test(.timeLimit(.minutes(1)))
    func goesOnFromAPlaceThatRefuses() async throws {
        let fleet = try await Fleet()
        try await fleet.report()
        let stranger = try TestNode()
        let strange = try #require(try await stranger.start())
        let administrator = try TestNode(asking: fleet.address, silent: strange)
        try await administrator.start(listening: nil)
        guard case .machines(let machines) = try await deploy(from: administrator),
            case .machines(let there) = try await fleet.host.perform(.listMachines)
        else {
            Issue.record("the answer is another one")
            return
        }
        #expect(machines.map(\.name) == ["web-01"])
        #expect(there.map(\.name) == ["web-01"])
        for node in [administrator, stranger] { await node.exchange.stop() }
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func tellsEachRefusalWhenNobodyDoesIt() async throws {
        let strangers = [try TestNode(), try TestNode()]
        var addresses: [FaceAddress] = []
        for stranger in strangers { addresses.append(try #require(try await stranger.start())) }
        let administrator = try TestNode(asking: addresses[0], silent: addresses[1])
        try await administrator.start(listening: nil)
        let refused = await failure { try await deploy(from: administrator) }
        #expect(refused?.kind == .notPermitted)
        for address in addresses {
            #expect(refused?.message.contains("\(address) refuses") == true)
        }
        for node in strangers + [administrator] { await node.exchange.stop() }
    }

    @Test(.timeLimit(.minutes(1)))
    func findsTheVMsOfANode() async throws {
        let fleet = try await Fleet()
        #expect(try await fleet.nodes().nodes.isEmpty)
        try await fleet.report()
        #expect(try await fleet.nodes().nodes.map(\.machines.count) == [0])
        let deployment = ControlRequest.Deployment(
            template: TestNode.template,
            version: nil,
            machines: ["web-01", "web-02"],
            size: nil,
            overlayPlace: nil
        )
        _ = try await fleet.host.perform(.deploy(deployment))
        try await fleet.report()
        for addresses in [[], [fleet.address]] {
            let list = try await fleet.nodes(at: addresses)
            #expect(list.problems.isEmpty)
            let node = try #require(list.nodes.first)
            #expect(list.nodes.count == 1)
            #expect(node.name == Self.host1.uri)
            #expect(!node.isLate)
            #expect(node.machines.map(\.name) == ["web-01", "web-02"])
            #expect(node.machines.first?.template == TestNode.template)
            #expect(node.machines.first?.templateVersion == 1)
            #expect(node.machines.first?.disks.map(\.size) == [256 << 10])
        }
        #expect(try await fleet.nodes(under: Self.hosts).nodes.map(\.name) == [Self.host1.uri])
        #expect(try await fleet.nodes(under: Self.host2).nodes.isEmpty)
        // A node says so itself, also to a command of its own.
        #expect(try await fleet.nodes(under: Self.host1).nodes.map(\.machines.count) == [2])
        #expect(try await fleet.nodes(of: fleet.host).nodes.map(\.machines.count) == [2])
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func saysWhichRepositoryCouldNotBeAsked() async throws {
        let fleet = try await Fleet()
        try await fleet.report()
        let nobody = FaceAddress.unix(path: "\(fleet.host.folder.path)/nobody.sock")
        let list = try await fleet.nodes(at: [fleet.address, nobody])
        #expect(list.nodes.map(\.name) == [Self.host1.uri])
        #expect(list.problems.map(\.repository) == [nobody.description])
        #expect(list.problems.first?.failure.kind == .unavailable)
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aNodeReportsOnlyUnderANameThatItsKeyMayHave() async throws {
        let fleet = try await Fleet(isTrusted: false)
        let operations = fleet.host.operations
        let refused = await failure {
            try await fleet.host.exchange.withSource(at: fleet.address) {
                (source) throws(Failure) in
                var reporter = operations.reporter(of: Self.host1, to: source)
                // Until the face is up nothing is told.
                for _ in 0..<500 {
                    try await reporter.report([])
                    try? await Task.sleep(for: .milliseconds(20))
                }
            }
        }
        #expect(refused?.kind == .untrusted)
        #expect(refused?.firstHint?.contains("--right node") == true)
        #expect(fleet.repository.operations.nodeBook.entries.isEmpty)
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func deploysAndSnapshotsOnANodeThatNobodyCanConnectTo() async throws {
        let fleet = try await Fleet()
        try await fleet.report()
        guard case .machines(let made) = try await fleet.deploy(["web-01"], to: Self.host1.uri)
        else {
            Issue.record("the answer is another one")
            return
        }
        #expect(made.map(\.name) == ["web-01"])
        #expect(try await fleet.host.status().machines == 1)
        #expect(try await fleet.administrator.status().machines == 0)
        // The last segment of the name is enough.
        let again = await failure { try await fleet.deploy(["web-01"], to: "host1") }
        #expect(again?.kind == .exists)

        let administrator = fleet.administrator
        let target = Self.host1.uri
        try await administrator.manage(.snapshot(machine: "web-01", name: "before"), target)
        let listed = try await administrator.manage(.listSnapshots(machine: "web-01"), target)
        guard case .snapshots(let snapshots) = listed else {
            Issue.record("the answer is another one")
            return
        }
        #expect(snapshots.map(\.name) == ["before"])
        try await administrator.manage(.deleteSnapshot(machine: "web-01", name: "before"), target)
        let gone = await failure {
            try await administrator.manage(
                .deleteSnapshot(machine: "web-01", name: "before"),
                target
            )
        }
        #expect(gone?.kind == .notFound)
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func whoKnowsTheKeyOfANodeBelievesNobodyElse() async throws {
        let fleet = try await Fleet()
        try await fleet.report()
        _ = try await fleet.deploy(["web-01"], to: Self.host1.uri)
        let list = ManagementRequest.Operation.listSnapshots(machine: "web-01")
        // Another key than that of the node that answers.
        let stranger = fleet.repository.operations.homes.nodeKey.publicKey
        try await fleet.administrator.trust(stranger, ["node"], for: Self.host1)
        let refused = await failure { try await fleet.administrator.manage(list, Self.host1.uri) }
        #expect(refused?.kind == .untrusted)
        let key = fleet.host.operations.homes.nodeKey.publicKey
        try await fleet.administrator.trust(key, ["node"], for: Self.hosts)
        try await fleet.administrator.manage(list, Self.host1.uri)
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func theRepositoryItselfReachesItsNodes() async throws {
        let fleet = try await Fleet()
        try await fleet.report()
        let operation = ManagementRequest.Operation.deploy(
            template: TestNode.template,
            version: 1,
            machines: ["web-01"],
            size: nil
        )
        try await fleet.repository.manage(operation, Self.host1.uri)
        #expect(try await fleet.host.status().machines == 1)
        // And a node itself.
        let snapshot = ManagementRequest.Operation.snapshot(machine: "web-01", name: "a")
        try await fleet.host.manage(snapshot, "host1")
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aNodeThatIsNotKnownIsNamed() async throws {
        let fleet = try await Fleet()
        for target in [Self.host2.uri, "host2"] {
            let refused = await failure { try await fleet.deploy(["a"], to: target) }
            #expect(refused?.kind == .notFound)
            #expect(refused?.message.contains("host2") == true)
        }
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aNodeIsManagedOnlyIfItWasToldSo() async throws {
        let fleet = try await Fleet(accepting: false)
        try await fleet.report()
        let refused = await failure { try await fleet.deploy(["a"], to: Self.host1.uri) }
        #expect(refused?.kind == .notPermitted)
        #expect(try await fleet.host.status().machines == 0)
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func theRightIsTheOneThatTheNodeGives() async throws {
        let fleet = try await Fleet()
        try await fleet.report()
        let key = try TestNode.publisherKey.get().publicKey
        _ = try await fleet.host.perform(
            .removeTrust(prefix: TestNode.namespace.uri, keyId: key.keyId.digest.hex)
        )
        try await fleet.host.trust(key, ["publish", "manage"])
        let refused = await failure { try await fleet.deploy(["a"], to: Self.host1.uri) }
        #expect(refused?.kind == .notPermitted)
        #expect(refused?.firstHint?.contains("--right operate") == true)
        await fleet.stop()
    }

    @Test(.timeLimit(.minutes(2)))
    func republishesAVMOfANodeWithTheAdministratorsSignature() async throws {
        let fleet = try await Fleet()
        try await fleet.report()
        _ = try await fleet.deploy(["web-01"], to: Self.host1.uri)
        let response = try await fleet.administrator.manage(
            .republish(
                .init(
                    machine: "web-01",
                    snapshot: nil,
                    template: TestNode.template,
                    properties: ["purpose": "test"]
                )
            ),
            Self.host1.uri
        )
        guard case .published(let report) = response else {
            Issue.record("the answer is another one")
            return
        }
        #expect(report.version == 2)
        let detail = try await fleet.repository.perform(
            .show(template: TestNode.template, version: 2)
        )
        guard case .template(let template) = detail else {
            Issue.record("the answer is another one")
            return
        }
        #expect(template.origin?.machine == "web-01")
        #expect(template.properties["purpose"] == "test")
        #expect(
            template.version.publisher
                == (try TestNode.publisherKey.get().publicKey.keyId.digest.hex)
        )
        await fleet.stop()
    }
}
