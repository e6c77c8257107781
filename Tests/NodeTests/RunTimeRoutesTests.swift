import CCNx
import Control
import Faces
import Failures
import Fetching
import Publishing
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 40 segments at the start, one at the end.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in Array(0..<40) + [255] { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

struct RunTimeRoutesTests {
    /// A repository that has the template, and a node that runs and knows nobody.
    private struct Pair {
        let repository: TestNode
        let address: FaceAddress
        let node: TestNode
        private let following: Task<Void, Never>

        init() async throws {
            repository = try TestNode()
            try await repository.trustPublisher()
            try await repository.publish(image)
            address = try #require(try await repository.start())
            let node = try TestNode()
            try await node.trustPublisher()
            try await node.start(listening: nil)
            self.node = node
            following = Task {
                await node.operations.followCatalogs(every: .milliseconds(100))
            }
        }

        var route: NeighbourRequest {
            .addRoute(prefix: TestNode.namespace.uri, address: "\(address)", cost: nil)
        }

        var noRoute: NeighbourRequest {
            .removeRoute(prefix: TestNode.namespace.uri, address: "\(address)")
        }

        func stop() async {
            following.cancel()
            await following.value
            await node.exchange.stop()
            await repository.exchange.stop()
        }
    }

    // MARK: Routes

    @Test(.timeLimit(.minutes(1)))
    func readsATemplateOverARouteThatIsAddedAndGoesOnWithoutIt() async throws {
        let pair = try await Pair()
        let node = pair.node
        #expect(!node.exchange.hasSource(for: TestNode.namespace))
        #expect(try await node.added(pair.route))
        #expect(try await !node.added(pair.route))
        #expect(node.exchange.hasSource(for: TestNode.namespace))
        await until { try await node.status().templates == 1 }
        let handle = try node.openDisk()
        let head = try await node.read(handle, at: 0, byteCount: 20 * 4096)
        #expect(head == Array(image.bytes.prefix(20 * 4096)))
        let listed = try await node.routes()
        #expect(listed.map(\.prefix) == [TestNode.namespace.uri])
        #expect(listed.map(\.isConfigured) == [false])
        #expect(listed.map(\.isUp) == [true])

        guard case .removed(wasConfigured: false) = try await node.ask(pair.noRoute) else {
            Issue.record("the route was not removed, or is a configured one")
            return
        }
        #expect(!node.exchange.hasSource(for: TestNode.namespace))
        #expect(try await node.read(handle, at: 0, byteCount: 20 * 4096) == head)
        _ = try await node.perform(.evict)
        let refused = await failure {
            try await node.read(handle, at: 255 * 4096, byteCount: 4096)
        }
        #expect(refused?.kind == .noSource)
        #expect(await failure { try await node.ask(pair.noRoute) }?.kind == .notFound)
        // Nothing needs the face, and nobody misses the catalog.
        await until { try await node.faces().isEmpty }
        #expect(try await node.status().sources.isEmpty)
        await until { try await node.status().catalogs.allSatisfy { $0.problem == nil } }
        #expect(try await node.status().templates == 1)

        #expect(try await node.added(pair.route))
        let all = try await node.read(handle, at: 0, byteCount: 2 << 20)
        #expect(all == image.bytes)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func whatOnlyARemovedRouteCouldServeEndsAtOnce() async throws {
        let pair = try await Pair()
        let silent = try await SilentListener()
        let address = "\(silent.address)"
        let prefix = TestNode.namespace.uri
        _ = try await pair.node.added(.addRoute(prefix: prefix, address: address, cost: 3))
        try await silent.waitForConnection()
        let name = TestNode.namespace.appending([.name("nobody-has-it")])
        async let answer = pair.node.exchange.fetch(
            name,
            lane: .reader,
            patience: 30_000,
            mayPeersAnswer: true
        )
        await until { try await pair.node.status().interestsSent > 0 }
        let start = ContinuousClock.now
        _ = try await pair.node.ask(.removeRoute(prefix: prefix, address: address))
        guard case .failure(let failure) = await answer else {
            Issue.record("somebody answered")
            return
        }
        #expect(failure.kind == .noSource)
        #expect(ContinuousClock.now - start < .seconds(10))
        await silent.stop()
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func takesRoutesAndPeersOutOfSettingsThatAreReadAnew() async throws {
        let pair = try await Pair()
        let node = pair.node
        #expect(try await node.added(.addPeer(address: "tcp:127.0.0.1:1")))
        var settings = node.operations.configuration
        settings.routes = [.init(prefix: TestNode.namespace, address: pair.address)]
        await node.operations.reload(at: once()) { [settings] in settings }
        #expect(try await node.routes().map(\.isConfigured) == [true])
        #expect(try await node.peers().map(\.address) == ["tcp:127.0.0.1:1"])
        await until { try await node.status().templates == 1 }

        await node.operations.reload(at: once()) { () throws(Failure) in
            throw Failure(.configuration, "ccnfs.yaml:3:1: there is no key rotues")
        }
        #expect(try await node.routes().count == 1)
        settings.routes = []
        await node.operations.reload(at: once()) { [settings] in settings }
        #expect(try await node.routes().isEmpty)
        #expect(try await node.peers().count == 1)
        await pair.stop()
    }

    // MARK: Peers

    @Test(.timeLimit(.minutes(1)))
    func asksAPeerThatIsAddedUntilItIsRemoved() async throws {
        let pair = try await Pair()
        let near = try TestNode(asking: pair.address)
        try await near.trustPublisher()
        let address = try #require(try await near.start())
        await near.operations.followCatalog(of: TestNode.namespace)
        let held = try near.openDisk()
        _ = try await near.read(held, at: 0, byteCount: 2 << 20)

        let node = pair.node
        _ = try await node.added(pair.route)
        await until { try await node.status().templates == 1 }
        #expect(try await node.added(.addPeer(address: "\(address)")))
        #expect(try await !node.added(.addPeer(address: "\(address)")))
        await until { try await node.peers().map(\.isUp) == [true] }
        let handle = try node.openDisk()
        #expect(try await node.read(handle, at: 0, byteCount: 2 << 20) == image.bytes)
        let peer = try await node.status().sources.first(where: \.isPeer)
        #expect((peer?.objects ?? 0) > 20)

        _ = try await node.ask(.removePeer(address: "\(address)"))
        #expect(try await node.peers().isEmpty)
        #expect(try await !node.status().sources.contains(where: \.isPeer))
        let again = await failure {
            try await node.ask(.removePeer(address: "\(address)"))
        }
        #expect(again?.kind == .notFound)
        await near.exchange.stop()
        await pair.stop()
    }

    // MARK: Faces

    @Test(.timeLimit(.minutes(1)))
    func aFaceThatARouteNeedsComesBack() async throws {
        let pair = try await Pair()
        let node = pair.node
        _ = try await node.added(pair.route)
        await until { try await node.faces().first?.id != nil }
        let first = try #require(try await node.faces().first)
        #expect(first.purposes == [.route])
        #expect(first.direction == .outgoing)
        let id = try #require(first.id)
        let removed = try await node.removed("\(id)")
        #expect(removed.ids == [id])
        #expect(removed.comesBack)
        await until {
            guard let next = try await node.faces().first?.id else { return false }
            return next != id
        }
        #expect(await failure { try await node.removed("\(id)") }?.kind == .notFound)
        #expect(await failure { try await node.removed("tcp:127.0.0.1:1") }?.kind == .notFound)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aFaceThatIsAddedStaysUntilItIsRemoved() async throws {
        let pair = try await Pair()
        let node = pair.node
        #expect(try await node.added(.addFace(address: "\(pair.address)")))
        #expect(try await !node.added(.addFace(address: "\(pair.address)")))
        await until { try await node.faces().first?.id != nil }
        #expect(try await node.faces().map(\.purposes) == [[.added]])
        // A route that comes and goes leaves it, and uses it at once.
        _ = try await node.added(pair.route)
        await until { try await node.status().templates == 1 }
        let traffic = try #require(try await node.faces().first?.traffic)
        #expect(traffic.packetsSent > 0 && traffic.packetsReceived > 0)
        #expect(traffic.bytesReceived > traffic.packetsReceived)
        _ = try await node.ask(pair.noRoute)
        #expect(try await node.faces().map(\.purposes) == [[.added]])
        #expect(try await !node.removed("\(pair.address)").comesBack)
        await until { try await node.faces().isEmpty }
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func closesTheFaceOfOneThatConnected() async throws {
        let pair = try await Pair()
        _ = try await pair.node.added(pair.route)
        await until { try await pair.repository.faces().count == 1 }
        let face = try #require(try await pair.repository.faces().first)
        #expect(face.purposes == [.listener])
        #expect(face.direction == .incoming)
        let removed = try await pair.repository.removed(face.address)
        #expect(removed.ids == [face.id].compactMap(\.self))
        #expect(!removed.comesBack)
        // It is the other side that comes back.
        await until {
            let faces = try await pair.repository.faces()
            return faces.count == 1 && faces.first?.id != face.id
        }
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func givesUpTheAddressThatWasPublishedTo() async throws {
        let repository = try TestNode(acceptsPublishing: true)
        try await repository.trustPublisher()
        let address = try #require(try await repository.start())
        let node = try TestNode()
        try await node.start(listening: nil)
        try await node.publish(image, at: address, withKeyOf: repository)
        #expect(try await node.status().sources.isEmpty)
        await until { try await node.faces().isEmpty }
        await until { try await repository.faces().isEmpty }
        // After a refusal too.
        _ = await failure { try await node.publish(image, at: .tcp(host: "127.0.0.1", port: 1)) }
        #expect(try await node.faces().isEmpty)
        // And it can be published to again.
        let next = SparseImage(size: 1 << 20, segments: [(3, 900)])
        #expect(try await node.publish(next, at: address, withKeyOf: repository).version == 2)
        await node.exchange.stop()
        await repository.exchange.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func saysWhatAFaceIsFor() async throws {
        let pair = try await Pair()
        let node = pair.node
        _ = try await node.added(pair.route)
        let expected: [(RouteTable.Purpose, FaceSummary.Purpose)] = [
            (.publish, .publish), (.mirror, .mirror), (.inventory, .inventory),
            (.request, .request),
        ]
        #expect(expected.map(\.0) == RouteTable.Purpose.allCases)
        for (purpose, shown) in expected {
            _ = try await node.exchange.source(at: pair.address, for: purpose)
            #expect(try await node.faces().map(\.purposes) == [[.route, shown]])
            await node.exchange.giveUp(pair.address, for: purpose)
        }
        #expect(try await node.faces().map(\.purposes) == [[.route]])
        await pair.stop()
    }

    @Test func aCommandAloneHasNoNeighbours() async throws {
        let folder = try TemporaryFolder()
        let operations = try NodeOperations(
            standalone: NodeConfiguration(
                stateDirectory: "\(folder.path)/state",
                cacheDirectory: "\(folder.path)/cache"
            ),
            purpose: "a test",
            logger: quiet
        )
        let refused = await failure {
            try await operations.perform(.neighbours(.faces), session: TestSession())
        }
        #expect(refused?.kind == .unavailable)
    }

    // MARK: Leaves

    /// One request to read settings anew.
    private func once() -> AsyncStream<Void> {
        AsyncStream { continuation in
            continuation.yield()
            continuation.finish()
        }
    }

    private func until(
        _ isSo: () async throws -> Bool,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        let deadline = ContinuousClock.now + .seconds(20)
        do {
            while try await !isSo() {
                guard ContinuousClock.now < deadline else {
                    Issue.record("it did not come to that", sourceLocation: sourceLocation)
                    return
                }
                try await Task.sleep(for: .milliseconds(20))
            }
        } catch {
            Issue.record(error, sourceLocation: sourceLocation)
        }
    }
}

extension TestNode {
    fileprivate func ask(_ request: NeighbourRequest) async throws -> NeighbourResponse {
        guard case .neighbours(let answer) = try await perform(.neighbours(request)) else {
            throw Failure(.invalid, "the answer is about something else")
        }
        return answer
    }

    fileprivate func added(_ request: NeighbourRequest) async throws -> Bool {
        guard case .added(let isNew) = try await ask(request) else {
            throw Failure(.invalid, "nothing was added")
        }
        return isNew
    }

    fileprivate func faces() async throws -> [FaceSummary] {
        guard case .faces(let faces) = try await ask(.faces) else { return [] }
        return faces
    }

    fileprivate func routes() async throws -> [RouteSummary] {
        guard case .routes(let routes) = try await ask(.routes) else { return [] }
        return routes
    }

    fileprivate func peers() async throws -> [PeerSummary] {
        guard case .peers(let peers) = try await ask(.peers) else { return [] }
        return peers
    }

    fileprivate func removed(_ face: String) async throws -> FacesRemoved {
        guard case .facesRemoved(let removed) = try await ask(.removeFace(face: face)) else {
            throw Failure(.invalid, "no face was removed")
        }
        return removed
    }
}
