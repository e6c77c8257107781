import CCNx
import Failures
import Profiles
import Store
import Synchronization
import Templates
import TestSupport
import Testing

@testable import Publishing

/// A pull may take hours: it holds up no reclaim, and loses nothing to one.
struct ReclaimWhilePullingTests {
    /// Three leaves of a manifest, of which one is a hole, and a node above them.
    private static let image = {
        var image = SparseImage(size: 12 << 20)
        for index in 0..<150 { image.put(UInt64(index + 1), at: index * 4096) }
        for index in 0..<100 { image.put(UInt64(index + 1_001), at: (2048 + index) * 4096) }
        return image
    }()

    /// Has the node reclaim before it gives an object, one reclaim at a time.
    private final class ReclaimingSource: ContentSource {
        private let source: RepositorySource
        private let node: PublishingScene
        private let isReclaiming = Atomic(false)
        let reclaims = Counter()

        init(_ source: RepositorySource, _ node: PublishingScene) {
            self.source = source
            self.node = node
        }

        func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
            if !isReclaiming.exchange(true, ordering: .relaxed) {
                defer { isReclaiming.store(false, ordering: .relaxed) }
                _ = try await node.reclaim()
                reclaims.increment()
            }
            return try await source.object(request)
        }
    }

    private final class Events: Sendable {
        private let names = Mutex<[String]>([])

        var all: [String] { names.withLock(\.self) }

        func note(_ name: String) { names.withLock { $0.append(name) } }
    }

    @Test(arguments: [nil, 20, 180])
    func asksForNothingTwice(_ countBefore: Int?) async throws {
        let repository = try PublishingScene()
        try await repository.publish(
            Self.image,
            files: [.init(name: "domain.xml", bytes: Array("<domain/>".utf8))]
        )
        let pointer = try #require(try repository.database.catalogs().first).object
        let node = try PublishingScene()
        let mirror = Mirror(
            of: PublishingScene.namespace,
            store: node.store,
            database: node.database,
            templates: node.templates,
            gate: node.gate
        )
        func follow(_ source: any ContentSource) async throws(Failure) {
            _ = try await mirror.follow(
                pointer,
                from: source,
                at: "tcp:repository.mycorp.com:9695",
                isThorough: false,
                now: PublishingScene.now
            ) { _, _ in }
        }
        if let countBefore {
            // What a pull left that was cut off counts as here only from when it was looked for.
            let cutOff = RepositorySource(repository.store.published)
            cutOff.end(after: countBefore)
            #expect(await failure { try await follow(cutOff) } != nil)
        }
        let source = RepositorySource(repository.store.published)
        let reclaiming = ReclaimingSource(source, node)
        try await follow(reclaiming)
        #expect(reclaiming.reclaims.value > 5)
        #expect(Set(source.asked).count == source.asked.count)
        #expect(try await node.reclaim().freedSegments == 0)
        #expect(try node.store.published.verify { _, _ in }.damaged.isEmpty)
        #expect(try await node.bytes() == Self.image.bytes)
        #expect(try await node.bytes(of: "domain.xml") == Array("<domain/>".utf8))
    }

    @Test func whatAPullLeavesIsFreedOnceItHasEnded() async throws {
        let repository = try PublishingScene()
        try await repository.publish(Self.image)
        let node = try PublishingScene()
        let source = RepositorySource(repository.store.published)
        source.end(after: 100)
        let content = try #require(
            try repository.templates.served(PublishingScene.template, version: nil).record.disks
                .first
        ).content
        let failed = await failure {
            try await node.gate.pulling { (claims) async throws(Failure) in
                try await TreePuller(
                    store: node.store.published,
                    source: source,
                    gate: node.gate,
                    claims: claims
                ).pull(content, under: PublishingScene.template) { _ in }
            }
        }
        #expect(failed?.kind == .noSource)
        #expect(try await node.reclaim().freedSegments > 0)
        #expect(try node.store.published.usage().segmentCount == 0)
        #expect(try node.store.published.usage().imageByteCount == 0)
    }

    /// As on a disk that had no room for the index.
    @Test func givesBackWhatWasNeverRecorded() async throws {
        let node = try PublishingScene()
        let published = node.store.published
        let image = try published.makeImage(segmentSize: 4096)
        let bytes = SparseImage.bytes(1)
        try image.write(bytes.span, at: 3)
        let reclaimer = Reclaimer(
            local: node.store,
            database: node.database,
            gate: node.gate,
            reserve: node.reserve
        )
        #expect(try await reclaimer.freeUnrecorded() == 4096)
        #expect(try published.usage().imageByteCount == 0)
    }

    @Test(.timeLimit(.minutes(1)))
    func aReclaimLetsATurnEndFirst() async throws {
        let gate = PublishingGate()
        let events = Events()
        let (begins, begin) = AsyncStream.makeStream(of: Void.self)
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        let turn = Task {
            try await gate.turn { () async throws(Failure) in
                begin.yield()
                for await _ in ends { break }
                // As whoever changes a catalog.
                try gate.enterPublish()
                gate.leavePublish()
                events.note("turn")
            }
        }
        for await _ in begins { break }
        let reclaim = Task {
            try await gate.whileNothingChanges { () async throws(Failure) in
                events.note("reclaim")
            }
        }
        end.yield()
        try await turn.value
        try await reclaim.value
        #expect(events.all == ["turn", "reclaim"])
    }

    @Test(.timeLimit(.minutes(1)))
    func aPullWaitsForAReclaim() async throws {
        let gate = PublishingGate()
        let events = Events()
        var turn: Task<Void, any Error>?
        try await gate.whileNothingChanges { () async throws(Failure) in
            turn = Task {
                try await gate.turn { () async throws(Failure) in
                    events.note("turn")
                }
            }
            let published = await failure { try gate.enterPublish() }
            #expect(published?.kind == .busy)
            let second = await failure {
                try await gate.whileNothingChanges { () async throws(Failure) in }
            }
            #expect(second?.kind == .busy)
            events.note("reclaim")
        }
        try await turn?.value
        #expect(events.all == ["reclaim", "turn"])
    }
}
