import CCNx
import Control
import Faces
import Profiles
import Store
import Templates
import TestSupport
import Testing

@testable import Node

/// 12 MiB, of which each 4 MiB have a leaf of the manifest.
private func image(_ first: UInt64) -> SparseImage {
    var image = SparseImage(size: 12 << 20)
    for (number, segment) in [0, 5, 1_030, 2_055, 3_071].enumerated() {
        image.put(first + UInt64(number), at: segment * 4096)
    }
    return image
}

private let nodeCount = 4

/// What comes with a catalog, before anybody reads.
@Suite(.timeLimit(.minutes(1))) struct ManifestsAheadTests {
    private struct Pair {
        let repository: TestNode
        let node: TestNode

        /// - Parameter versions: published one after another.
        init(_ versions: [SparseImage] = [image(1)]) async throws {
            repository = try TestNode()
            try await repository.trustPublisher()
            for version in versions { try await repository.publish(version) }
            node = try TestNode(asking: try await repository.start())
            try await node.trustPublisher()
            try await node.start(listening: nil)
        }

        func manifests(_ limits: ManifestsAhead.Limits = .init()) -> ManifestsAhead {
            let homes = node.operations.homes
            return ManifestsAhead(
                of: TestNode.namespace,
                store: homes.store,
                templates: homes.templates,
                limits: limits
            )
        }

        func fetched() async throws -> Int { try await node.status().store.fetchedObjects }

        func stop() async {
            await node.exchange.stop()
            await repository.exchange.stop()
        }
    }

    @Test func theVeryFirstReadWaitsForItsSegmentAlone() async throws {
        let pair = try await Pair()
        await pair.node.operations.followCatalog(of: TestNode.namespace)
        await pair.manifests().fetchNew()
        let handle = try pair.node.openDisk()
        let before = try await pair.node.status().interestsSent
        let offset = 2_055 * 4096
        #expect(
            try await pair.node.read(handle, at: offset, byteCount: 4096)
                == Array(image(1).bytes[offset..<offset + 4096])
        )
        #expect(try await pair.node.status().interestsSent - before == 1)
        await pair.stop()
    }

    @Test func fetchesNoMoreThanItMay() async throws {
        let pair = try await Pair()
        await pair.node.operations.followCatalog(of: TestNode.namespace)
        let before = try await pair.fetched()
        await pair.manifests(.init(disks: 0)).fetchNew()
        #expect(try await pair.fetched() == before)
        // The root and the first leaf, where a guest begins to read.
        await pair.manifests(.init(nodes: 2)).fetchNew()
        #expect(try await pair.fetched() - before == 2)
        await pair.manifests(.init(nodes: 3)).fetchNew()
        #expect(try await pair.fetched() - before == 3)
        await pair.stop()
    }

    @Test func fetchesTheNewestVersionOnceAndNoOther() async throws {
        let pair = try await Pair([image(1), image(100)])
        await pair.node.operations.followCatalog(of: TestNode.namespace)
        let before = try await pair.fetched()
        let manifests = pair.manifests()
        await manifests.fetchNew()
        #expect(try await pair.fetched() - before == nodeCount)
        await manifests.fetchNew()
        #expect(try await pair.fetched() - before == nodeCount)
        // One more version.
        try await pair.repository.publish(image(200))
        await pair.node.operations.followCatalog(of: TestNode.namespace)
        let between = try await pair.fetched()
        await manifests.fetchNew()
        #expect(try await pair.fetched() - between == nodeCount)
        await pair.stop()
    }

    @Test func comesByItselfWhereACatalogIsFollowed() async throws {
        let pair = try await Pair()
        let operations = pair.node.operations
        let following = Task { await operations.followCatalogs(every: .milliseconds(50)) }
        let name = try Name(uri: TestNode.template)
        while (try? operations.homes.templates.served(name, version: nil)) == nil {
            await Task.yield()
        }
        let record = try operations.homes.templates.served(name, version: nil).record
        let disk = try #require(record.disks.first)
        let manifest = ManifestReader(disk.content, prefix: name, source: operations.homes.store)
        let last = try await manifest.leafId(2)
        while try operations.homes.store.localObject(last) == nil { await Task.yield() }
        following.cancel()
        await following.value
        await pair.stop()
    }
}
