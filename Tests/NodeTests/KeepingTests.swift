import CCNx
import Control
import Failures
import Publishing
import Store
import Synchronization
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 60 segments.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in 0..<60 { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

/// `ccnfs fetch --keep` and `ccnfs unkeep`.
struct KeepingTests {
    private struct Pair {
        let repository: TestNode
        let node: TestNode

        init(cacheLimit: Int = .max) async throws {
            repository = try TestNode()
            try await repository.trustPublisher()
            try await repository.publish(image)
            node = try TestNode(asking: try await repository.start(), cacheLimit: cacheLimit)
            try await node.trustPublisher()
            try await node.start(listening: nil)
            await node.operations.followCatalog(of: TestNode.namespace)
        }

        func keep(_ disk: String? = nil) async throws -> FetchReport? {
            let request = ControlRequest.fetch(
                template: TestNode.template,
                version: nil,
                disk: disk,
                rate: nil,
                isKept: true
            )
            guard case .fetched(let report) = try await node.perform(request) else { return nil }
            return report
        }

        func unkeep(_ version: Int? = nil) async throws -> [KeptContent]? {
            let request = ControlRequest.unkeep(template: TestNode.template, version: version)
            guard case .unkept(let contents) = try await node.perform(request) else { return nil }
            return contents
        }

        /// What a listing of templates says is kept of each version.
        func listed() async throws -> [Int: [String]] {
            guard case .templates(let templates) = try await node.perform(.listTemplates) else {
                return [:]
            }
            let versions = templates.flatMap(\.versions)
            return Dictionary(uniqueKeysWithValues: versions.map { ($0.version, $0.kept) })
        }

        /// Segments of the disk that are here.
        func segmentsHere() throws -> Int {
            try (0..<60).count { index in
                let id = ObjectId(of: SparseImage.bytes(UInt64(index + 1)))
                return try node.operations.homes.store.cache.segment(id) != nil
            }
        }

        func stop() async {
            await node.exchange.stop()
            await repository.exchange.stop()
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func keepsADiskUntilItIsToldOtherwise() async throws {
        let pair = try await Pair()
        let report = try #require(try await pair.keep())
        #expect(report.items.map(\.fetchedBytes) == [60 * 4096])
        let kept = try await pair.node.status().kept
        #expect(kept.map(\.template) == [TestNode.template])
        #expect(kept.map(\.version) == [1])
        #expect(kept.map(\.item) == ["disk0"])
        #expect(kept.map(\.dataBytes) == [60 * 4096])
        #expect(kept.map(\.state) == [.here])
        #expect(kept.first?.problem == nil)
        #expect(try await pair.listed() == [1: ["disk0"]])

        _ = try await pair.node.perform(.evict)
        #expect(try pair.segmentsHere() == 60)
        // Again is the same.
        #expect(try await pair.keep()?.items.map(\.fetchedBytes) == [0])
        #expect(try await pair.node.status().kept.count == 1)

        #expect(try await pair.unkeep()?.map(\.item) == ["disk0"])
        #expect(try await pair.node.status().kept.isEmpty)
        #expect(try await pair.listed() == [1: []])
        #expect(try pair.segmentsHere() == 60)
        _ = try await pair.node.perform(.evict)
        #expect(try pair.segmentsHere() == 0)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func fetchesAgainWhatIsKeptAfterTheCacheWasLost() async throws {
        let pair = try await Pair()
        _ = try await pair.keep()
        let cache = pair.node.operations.homes.store.cache
        try cache.free(try cache.allSegments())
        #expect(try pair.segmentsHere() == 0)
        // As at a start: nobody has looked.
        pair.node.operations.keptStates.withLock { $0 = [:] }
        #expect(try await pair.node.status().kept.map(\.state) == [.waiting])
        let keeping = Task { await pair.node.operations.fetchWhatIsKept() }
        while try await pair.node.status().kept.map(\.state) != [.here] { await Task.yield() }
        keeping.cancel()
        await keeping.value
        #expect(try pair.segmentsHere() == 60)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func keepsAVersionThatWasWithdrawn() async throws {
        let pair = try await Pair()
        _ = try await pair.keep()
        _ = try await pair.repository.perform(.delete(template: TestNode.template, version: nil))
        await pair.node.operations.followCatalog(of: TestNode.namespace)
        _ = try await pair.node.perform(.evict)
        #expect(try pair.segmentsHere() == 60)
        #expect(try await pair.node.status().kept.map(\.state) == [.here])
        #expect(try await pair.unkeep(1)?.count == 1)
        await pair.stop()
    }

    /// Nobody lists it any more, so a reclaim would free it.
    @Test(.timeLimit(.minutes(1)))
    func keepsWhatWasPublishedHereAndIsWithdrawn() async throws {
        let node = try TestNode()
        try await node.trustPublisher()
        try await node.publish(image)
        let keep = ControlRequest.fetch(
            template: TestNode.template,
            version: nil,
            disk: nil,
            rate: nil,
            isKept: true
        )
        _ = try await node.perform(keep)
        _ = try await node.perform(.delete(template: TestNode.template, version: nil))
        #expect(try await node.operations.reclaim().freedSegments == 0)
        #expect(try await node.status().published.segmentCount == 60)
        _ = try await node.perform(.unkeep(template: TestNode.template, version: nil))
        #expect(try await node.operations.reclaim().freedSegments == 60)
    }

    @Test(.timeLimit(.minutes(1)))
    func refusesToKeepMoreThanTheCacheMayHold() async throws {
        let pair = try await Pair(cacheLimit: 40 * 4096)
        let refused = await failure { try await pair.keep() }
        #expect(refused?.kind == .noSpace)
        #expect(refused?.message.contains("\(60 * 4096)") == true)
        #expect(refused?.firstHint?.contains("unkeep") == true)
        #expect(try await pair.node.status().kept.isEmpty)
        #expect(try pair.segmentsHere() == 0)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func tellsWhatIsNotKept() async throws {
        let pair = try await Pair()
        let refused = await failure { try await pair.unkeep() }
        #expect(refused?.kind == .notFound)
        _ = try await pair.keep("disk0")
        let version = await failure { try await pair.unkeep(2) }
        #expect(version?.kind == .notFound)
        let disk = await failure { try await pair.keep("disk7") }
        #expect(disk?.kind == .notFound)
        #expect(try await pair.node.status().kept.count == 1)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func staysPinnedWhenItCouldNotBeFetched() async throws {
        let pair = try await Pair()
        // The manifest is here, its segments are not.
        let handle = try pair.node.openDisk()
        _ = try await pair.node.read(handle, at: 0, byteCount: 4096)
        await pair.repository.exchange.stop()
        let failed = await failure { try await pair.keep() }
        #expect(failed != nil)
        let kept = try await pair.node.status().kept
        #expect(kept.map(\.state) == [.waiting])
        #expect(kept.first?.problem != nil)
        await pair.node.exchange.stop()
    }
}
