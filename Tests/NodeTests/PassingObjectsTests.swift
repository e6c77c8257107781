import CCNx
import Control
import Faces
import Failures
import Fetching
import Repositories
import Store
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 32 segments of 32 KiB, none of which a datagram to a neighbour carries.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in 0..<256 { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

/// Nodes that ask over TCP a node in between, which asks over UDP.
@Suite(.timeLimit(.minutes(2))) struct PassingObjectsTests {
    private static let seed = SplitMix.seed()

    private struct Line {
        let repository: TestNode
        let relay: LossyRelay
        let middle: TestNode
        let address: FaceAddress

        /// - Parameter loss: of the datagrams, in percent.
        init(loss: Int = 0) async throws {
            repository = try TestNode()
            try await repository.trustPublisher()
            try await repository.publish(image, segmentSize: 32_768)
            let listening = try await repository.start(listening: .udp(host: "127.0.0.1", port: 0))
            relay = try await LossyRelay(to: try #require(listening), loss: loss, seed: seed)
            middle = try TestNode(asking: relay.address)
            address = try #require(try await middle.start())
            while await middle.exchange.report()?.faces.isEmpty != false { await Task.yield() }
        }

        func reader() async throws -> TestNode {
            let node = try TestNode(asking: address)
            try await node.trustPublisher()
            try await node.start(listening: nil)
            return node
        }

        /// Reads the whole disk on a node that has nothing.
        func read() async throws {
            let node = try await reader()
            await node.operations.followCatalog(of: TestNode.namespace)
            let handle = try node.openDisk()
            #expect(try await node.read(handle, at: 0, byteCount: 1 << 20) == image.bytes)
            let status = try await node.status()
            #expect(status.store.failedFetches == 0, "seed \(seed)")
            // Each segment came as one object.
            #expect(status.sources.first?.objects ?? 0 >= 33)
            await node.exchange.stop()
        }

        func stop() async {
            await middle.exchange.stop()
            await relay.stop()
            await repository.exchange.stop()
        }
    }

    @Test func readsOverTCPWhatLiesBehindDatagrams() async throws {
        let line = try await Line()
        try await line.read()
        let source = try #require(try await line.middle.status().sources.first)
        #expect(source.objects >= 33)
        #expect(source.interests >= 32 * 32)
        #expect(source.wrongObjects == 0)
        // It is kept like all that passes.
        while try #require(try await line.middle.status().transit).keptSegments < 32 {
            await Task.yield()
        }
        let before = try await line.repository.status().interestsReceived
        try await line.read()
        #expect(try await line.repository.status().interestsReceived - before < 32)
        while try await line.middle.status().pendingInterests > 0 { await Task.yield() }
        let exchange = line.middle.exchange
        #expect(await exchange.gate.submit { exchange.passing.fetches.isEmpty } == true)
        await line.stop()
    }

    @Test func readsOverTCPThoughDatagramsAreLost() async throws {
        let line = try await Line(loss: 5)
        try await line.read()
        #expect(line.relay.lostCount > 0, "seed \(Self.seed)")
        await line.stop()
    }

    @Test func saysAtOnceThatItIsNotThere() async throws {
        let line = try await Line()
        let node = try await line.reader()
        let unknown = ObjectRequest(ObjectId(of: [1, 2, 3]), under: TestNode.namespace)
        let result = await node.exchange.fetch(
            ObjectName(unknown).name,
            lane: .reader,
            patience: 60_000,
            mayPeersAnswer: true
        )
        guard case .failure(let failure) = result else {
            Issue.record("it is nowhere, and came")
            return
        }
        #expect(failure.kind == .noSource)
        await node.exchange.stop()
        await line.stop()
    }
}
