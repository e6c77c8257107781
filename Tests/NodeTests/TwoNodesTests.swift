import CCNx
import Control
import Faces
import Failures
import Fetching
import Publishing
import Store
import TestSupport
import Testing

@testable import Node

/// 2 MiB: 40 segments at the start, 20 in the middle, one at the end.
private let image = {
    var image = SparseImage(size: 2 << 20)
    for index in Array(0..<40) + Array(250..<270) + [511] {
        image.put(UInt64(index + 1), at: index * 4096)
    }
    return image
}()

struct TwoNodesTests {
    /// A repository that has the template, and a node that knows where it is but has nothing.
    private struct Pair {
        let repository: TestNode
        let address: FaceAddress
        let node: TestNode

        init() async throws {
            repository = try TestNode()
            try await repository.trustPublisher()
            try await repository.publish(image)
            address = try #require(try await repository.start())
            node = try TestNode(asking: address)
            try await node.trustPublisher()
            try await node.start(listening: nil)
            await node.operations.followCatalog(of: TestNode.namespace)
        }

        func stop() async {
            await node.exchange.stop()
            await repository.exchange.stop()
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func readsADiskThatItDoesNotHave() async throws {
        let pair = try await Pair()
        let before = try await pair.node.status()
        let handle = try pair.node.openDisk()
        #expect(try await pair.node.read(handle, at: 0, byteCount: 4 << 20) == image.bytes)

        let after = try await pair.node.status()
        // Each segment once, and the manifest's root.
        #expect(after.store.fetchedObjects - before.store.fetchedObjects == 62)
        #expect(after.interestsSent - before.interestsSent == 62)
        #expect(after.store.fetchedBytes - before.store.fetchedBytes == 61 * 4096 + 512 * 32)
        #expect(after.store.failedFetches == 0)
        // The catalog's listing is one, too.
        #expect(after.cache.segmentCount - before.cache.segmentCount == 61)
        #expect(after.published.segmentCount == 0)
        #expect(after.pendingInterests == 0)
        #expect(after.catalogs.map(\.isPublishedHere) == [false])
        let repository = try await pair.repository.status()
        #expect(repository.interestsReceived >= 62)
        #expect(repository.interestsSent == 0)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func fetchesOnlyWhatIsReadAndThatOnce() async throws {
        let pair = try await Pair()
        let handle = try pair.node.openDisk()
        let before = try await pair.node.status()
        let bytes = try await pair.node.read(handle, at: 250 * 4096 + 100, byteCount: 8192)
        #expect(bytes == Array(image.bytes[250 * 4096 + 100..<252 * 4096 + 100]))
        let once = try await pair.node.status()
        #expect(once.store.fetchedObjects - before.store.fetchedObjects == 1 + 3)

        _ = try await pair.node.read(handle, at: 250 * 4096, byteCount: 3 * 4096)
        // A hole comes with the manifest.
        _ = try await pair.node.read(handle, at: 100 * 4096, byteCount: 4096)
        let twice = try await pair.node.status()
        #expect(twice.store.fetchedObjects == once.store.fetchedObjects)
        #expect(twice.interestsSent == once.interestsSent)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func fetchesAgainWhatWasEvicted() async throws {
        let pair = try await Pair()
        let handle = try pair.node.openDisk()
        _ = try await pair.node.read(handle, at: 0, byteCount: 4 << 20)
        guard case .freed(let report) = try await pair.node.perform(.evict) else {
            Issue.record("evict answered something else")
            return
        }
        // The catalog's listing is a segment, too.
        #expect(report.freedBytes == 61 * 4096 + (32 << 10))
        let evicted = try await pair.node.status()
        #expect(evicted.cache.segmentCount == 0)
        #expect(try await pair.node.read(handle, at: 0, byteCount: 4 << 20) == image.bytes)
        let after = try await pair.node.status()
        #expect(after.store.fetchedObjects - evicted.store.fetchedObjects >= 61)
        #expect(after.cache.segmentCount == 61)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func goesOnWithWhatItHasWhenTheRepositoryIsGone() async throws {
        let pair = try await Pair()
        let handle = try pair.node.openDisk()
        let head = try await pair.node.read(handle, at: 0, byteCount: 20 * 4096)
        await pair.repository.exchange.stop()

        #expect(try await pair.node.read(handle, at: 0, byteCount: 20 * 4096) == head)
        let start = ContinuousClock.now
        let refused = await failure {
            try await pair.node.read(handle, at: 250 * 4096, byteCount: 4096)
        }
        #expect(ContinuousClock.now - start < .seconds(15))
        #expect([.unavailable, .noSource, .timedOut].contains(refused?.kind))
        #expect(refused?.message.contains("1024000") == true)
        #expect(refused?.message.contains(TestNode.template) == true)
        #expect(refused?.cause != nil)
        #expect(try await pair.node.read(handle, at: 0, byteCount: 20 * 4096) == head)
        let status = try await pair.node.status()
        #expect(status.store.failedFetches == 1)
        #expect(status.pendingInterests == 0)
        await pair.node.exchange.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func readersOfOneSegmentShareOneInterest() async throws {
        let pair = try await Pair()
        let handle = try pair.node.openDisk()
        // The manifest first, so that only the segment is missing.
        _ = try await pair.node.read(handle, at: 0, byteCount: 4096)
        let before = try await pair.node.status()
        let expected = Array(image.bytes[250 * 4096..<251 * 4096])
        try await withThrowingTaskGroup { group in
            for _ in 0..<50 {
                group.addTask {
                    try await pair.node.read(handle, at: 250 * 4096, byteCount: 4096)
                }
            }
            for try await bytes in group { #expect(bytes == expected) }
        }
        let after = try await pair.node.status()
        #expect(after.interestsSent - before.interestsSent == 1)
        #expect(after.store.fetchedObjects - before.store.fetchedObjects == 1)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func hearsOfANewVersion() async throws {
        let pair = try await Pair()
        let old = try pair.node.openDisk()
        let newer = SparseImage(size: 1 << 20, segments: [(3, 900)])
        #expect(try await pair.repository.publish(newer).version == 2)
        await pair.node.operations.followCatalog(of: TestNode.namespace)
        let new = try pair.node.openDisk()
        #expect(try await pair.node.read(new, at: 0, byteCount: 4 << 20) == newer.bytes)
        #expect(try await pair.node.read(old, at: 0, byteCount: 4 << 20) == image.bytes)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func passesOnWhatItHasToAThirdNode() async throws {
        let pair = try await Pair()
        let handle = try pair.node.openDisk()
        _ = try await pair.node.read(handle, at: 0, byteCount: 4 << 20)
        let listening = try TestNode(asking: pair.address)
        try await listening.trustPublisher()
        let address = try #require(try await listening.start())
        let third = try TestNode(asking: address)
        try await third.trustPublisher()
        try await third.start(listening: nil)
        // The pointer comes from the repository through the node between.
        await third.operations.followCatalog(of: TestNode.namespace)
        let opened = try third.openDisk()
        #expect(try await third.read(opened, at: 0, byteCount: 4 << 20) == image.bytes)
        await third.exchange.stop()
        await listening.exchange.stop()
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func staysWithoutTemplatesUntilItTrustsTheirPublisher() async throws {
        let pair = try await Pair()
        let stranger = try TestNode(asking: pair.address)
        try await stranger.start(listening: nil)
        await stranger.operations.followCatalog(of: TestNode.namespace)
        let status = try await stranger.status()
        #expect(status.templates == 0)
        #expect(status.catalogs.first?.problem?.contains("trust") == true)
        try await stranger.trustPublisher()
        await stranger.operations.followCatalog(of: TestNode.namespace)
        #expect(try await stranger.status().templates == 1)
        #expect(try await stranger.status().catalogs.first?.problem == nil)
        await stranger.exchange.stop()
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func ownInterestsEndInTimeWhileAnotherWaitsLonger() async throws {
        let name = TestNode.namespace.appending([.name("@catalog"), .chunk(0)])
        let deaf = try await SilentListener()
        let node = try TestNode(asking: deaf.address)
        try await node.start(listening: nil)
        try await deaf.waitForConnection()
        while await node.exchange.report()?.faces.isEmpty != false { await Task.yield() }
        let long = Task {
            await node.exchange.fetch(
                TestNode.namespace,
                lane: .reader,
                patience: 20_000,
                mayPeersAnswer: true
            )
        }
        while try await node.status().pendingInterests == 0 { await Task.yield() }
        let start = ContinuousClock.now
        let result = await node.exchange.fetch(
            name,
            lane: .reader,
            patience: 500,
            mayPeersAnswer: false
        )
        #expect(ContinuousClock.now - start < .seconds(8))
        guard case .failure(let failure) = result else {
            Issue.record("somebody answered")
            return
        }
        #expect(failure.kind == .timedOut)
        await deaf.stop()
        _ = await long.value
        await node.exchange.stop()
    }

    @Test func tellsARouteThatLeadsNowhere() async throws {
        let node = try TestNode()
        try await node.trustPublisher()
        try await node.start(listening: nil)
        await node.operations.followCatalog(of: TestNode.namespace)
        let status = try await node.status()
        #expect(status.catalogs.first?.problem != nil)
        await node.exchange.stop()
    }

    // MARK: Fetching ahead

    @Test(.timeLimit(.minutes(1)))
    func fetchesAllOfATemplateAheadOfItsReaders() async throws {
        let pair = try await Pair()
        func fetch() async throws -> FetchReport {
            let request = ControlRequest.fetch(
                template: TestNode.template,
                version: nil,
                disk: nil,
                rate: nil
            )
            guard case .fetched(let report) = try await pair.node.perform(request) else {
                throw Failure(.invalid, "fetch answered something else")
            }
            return report
        }
        let first = try await fetch()
        #expect(first.items.map(\.fetchedBytes) == [61 * 4096])
        #expect(first.items.map(\.dataBytes) == [61 * 4096])
        #expect(try await fetch().items.map(\.fetchedBytes) == [0])
        // Now nobody is needed any more.
        await pair.repository.exchange.stop()
        let handle = try pair.node.openDisk()
        #expect(try await pair.node.read(handle, at: 0, byteCount: 4 << 20) == image.bytes)
        await pair.node.exchange.stop()
    }

    // MARK: Several sources

    @Test(.timeLimit(.minutes(1)))
    func asksAPeerFirstAndTheRepositoryForWhatThatDoesNotHave() async throws {
        let pair = try await Pair()
        let near = pair.node
        let server = PacketExchange(routes: [], logger: quiet)
        let peer = try await server.start(
            responder: near.responder,
            listening: [.tcp(host: "127.0.0.1", port: 0)]
        )
        let first = try near.openDisk()
        let start = 0..<40 * 4096
        _ = try await near.read(first, at: 0, byteCount: start.count)

        let node = try TestNode(asking: pair.address, peers: peer)
        try await node.trustPublisher()
        try await node.start(listening: nil)
        await node.operations.followCatalog(of: TestNode.namespace)
        while try await node.status().sources.contains(where: { !$0.isUp }) { await Task.yield() }
        let before = try await pair.repository.status().interestsReceived
        let handle = try node.openDisk()
        #expect(
            try await node.read(handle, at: 0, byteCount: start.count) == Array(image.bytes[start])
        )
        #expect(try await pair.repository.status().interestsReceived == before)
        #expect(try await node.status().sources.first { $0.isPeer }?.objects ?? 0 >= 40)
        #expect(try await node.read(handle, at: 0, byteCount: 4 << 20) == image.bytes)
        let report = try #require(try await node.status().sources.first { $0.isPeer })
        #expect(report.misses > 0)
        #expect(try await pair.repository.status().interestsReceived - before == 21)
        await node.exchange.stop()
        await server.stop()
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func readsOnWhenItsRepositoryIsStartedAnew() async throws {
        let pair = try await Pair()
        let handle = try pair.node.openDisk()
        await pair.repository.exchange.stop()
        let reading = Task { try await pair.node.read(handle, at: 0, byteCount: 4 << 20) }
        try await Task.sleep(for: .milliseconds(500))
        let again = PacketExchange(routes: [], logger: quiet)
        _ = try await again.start(
            responder: pair.repository.responder,
            listening: [pair.address]
        )
        #expect(try await reading.value == image.bytes)
        await again.stop()
        await pair.node.exchange.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func readsFromTheOtherRepositoryWhenOneIsSilent() async throws {
        let pair = try await Pair()
        let deaf = try await SilentListener()
        let node = try TestNode(asking: pair.address, silent: deaf.address)
        try await node.trustPublisher()
        try await node.start(listening: nil)
        try await deaf.waitForConnection()
        await node.operations.followCatalog(of: TestNode.namespace)
        let handle = try node.openDisk()
        #expect(try await node.read(handle, at: 0, byteCount: 4 << 20) == image.bytes)
        let silent = try await node.status().sources.first { $0.address == "\(deaf.address)" }
        #expect(silent?.timeouts ?? 0 > 0)
        #expect(silent?.objects == 0)
        await deaf.stop()
        await node.exchange.stop()
        await pair.stop()
    }
}
