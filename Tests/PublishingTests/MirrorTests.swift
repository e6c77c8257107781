import CCNx
import Failures
import Profiles
import Publishing
import Signing
import Store
import Templates
import TestSupport
import Testing

private let image = SparseImage(size: 1 << 20, segments: [(0, 1), (10, 2)])
private let other = SparseImage(size: 1 << 20, segments: [(0, 1), (10, 2), (20, 3)])

struct MirrorTests {
    private static let address = "tcp:repository.mycorp.com:9695"

    /// A repository with one version, and a node that is to be a mirror of it.
    private struct Pair {
        let repository: PublishingScene
        let source: RepositorySource
        let node: PublishingScene
        let mirror: Mirror

        init(_ first: SparseImage = image, trusts: Bool = true) async throws {
            repository = try PublishingScene()
            try await repository.publish(
                first,
                files: [.init(name: "domain.xml", bytes: Array("<domain/>".utf8))]
            )
            source = RepositorySource(repository.store.published)
            // What it reads it has, or it fails: nobody else can be asked.
            node = try PublishingScene(trusts: trusts)
            mirror = Mirror(
                of: PublishingScene.namespace,
                store: node.store,
                database: node.database,
                templates: node.templates,
                gate: node.gate
            )
        }

        var pointer: ObjectId {
            get throws { try #require(try repository.database.catalogs().first).object }
        }

        func follow(
            _ pointer: ObjectId? = nil,
            at address: String = MirrorTests.address,
            isThorough: Bool = false,
            now: Int = PublishingScene.now
        ) async throws -> Mirror.Outcome {
            try await mirror.follow(
                try pointer ?? self.pointer,
                from: source,
                at: address,
                isThorough: isThorough,
                now: now
            ) { done, total in #expect(done <= total) }
        }

        var catalog: CatalogRow? {
            get throws { try node.database.catalogs().first }
        }
    }

    // MARK: In step

    @Test func hasEverythingBeforeItAnswersForTheNamespace() async throws {
        let pair = try await Pair()
        let outcome = try await pair.follow()
        // Catalog, listing, record, a node of the manifest, two segments, a file.
        #expect(outcome.pulledObjects == 7)
        #expect(outcome.serial == 1 && outcome.versions == 1 && outcome.withdrawnVersions == 0)
        #expect(outcome.pulledBytes > 2 * 4096)
        let row = try #require(try pair.catalog)
        #expect(row.isKept && !row.publishedHere)
        #expect(row.mirroredFrom == Self.address)
        #expect(row.object == (try pair.pointer))
        #expect(try await pair.node.bytes() == image.bytes)
        #expect(try await pair.node.bytes(of: "domain.xml") == Array("<domain/>".utf8))
        #expect(try pair.node.store.published.usage().segmentCount == 2)
        #expect(try pair.node.store.cache.usage().segmentCount == 0)
        #expect(try pair.node.store.published.verify { _, _ in }.damaged.isEmpty)
    }

    @Test func bringsOfTheNextVersionOnlyWhatIsNew() async throws {
        let pair = try await Pair()
        _ = try await pair.follow()
        #expect(try await pair.follow().pulledObjects == 0)
        try await pair.repository.publish(other)
        try pair.repository.tag("stable", 1)
        let outcome = try await pair.follow()
        // Catalog, listing, record, node, and one of three segments.
        #expect(outcome.pulledObjects == 5)
        #expect(outcome.versions == 2)
        #expect(try await pair.node.bytes(version: 1) == image.bytes)
        #expect(try await pair.node.bytes(version: 2) == other.bytes)
        #expect(try pair.node.templates.existing(PublishingScene.template).tags == ["stable": 1])
        #expect(try pair.node.store.published.usage().segmentCount == 3)
    }

    @Test func takesFromTheCacheWhatIsThere() async throws {
        let pair = try await Pair()
        _ = try pair.node.store.cache.insert(
            [(id: ObjectId(of: SparseImage.bytes(1)), bytes: SparseImage.bytes(1))],
            durably: false
        )
        #expect(try await pair.follow().pulledObjects == 6)
        #expect(try await pair.node.bytes() == image.bytes)
    }

    @Test func bringsBackWhatWasLostIfItLooksThroughEverything() async throws {
        let pair = try await Pair()
        _ = try await pair.follow()
        let published = pair.node.store.published
        let id = ObjectId(of: SparseImage.bytes(2))
        let place = try #require(try published.places(of: [id])[0])
        try published.free([(id: id, place: place)])
        #expect(try await pair.follow().pulledObjects == 0)
        #expect(await failure { try await pair.node.bytes() }?.kind == .noSource)
        // The catalog again, and the segment.
        #expect(try await pair.follow(isThorough: true).pulledObjects == 2)
        #expect(try await pair.node.bytes() == image.bytes)
    }

    @Test func keepsVersionsOfPublishersThatOnlyOthersTrust() async throws {
        let pair = try await Pair()
        let stranger = try PublishingScene.strangerKey.get()
        try pair.repository.trust(stranger.publicKey, for: PublishingScene.otherTemplate)
        try await pair.repository.publish(
            PublishingScene.streamRequest(PublishingScene.otherTemplate),
            signer: KeySigner(stranger),
            stream: ByteStream(other.bytes).stream
        )
        #expect(try await pair.follow().versions == 2)
        let template = try pair.node.templates.existing(PublishingScene.otherTemplate)
        #expect(template.newest?.problem?.cause?.kind == .untrusted)
        #expect(try pair.node.store.published.usage().segmentCount == 3)
        #expect(try await pair.node.reclaim().freedSegments == 0)
    }

    @Test func aMirrorMayBeMirrored() async throws {
        let pair = try await Pair()
        _ = try await pair.follow()
        let next = try PublishingScene()
        _ = try await Mirror(
            of: PublishingScene.namespace,
            store: next.store,
            database: next.database,
            templates: next.templates,
            gate: next.gate
        ).follow(
            try pair.pointer,
            from: RepositorySource(pair.node.store.published),
            at: "tcp:mirror:9695",
            isThorough: false,
            now: PublishingScene.now
        ) { _, _ in }
        #expect(try await next.bytes() == image.bytes)
        #expect(try next.database.catalogs().map(\.mirroredFrom) == ["tcp:mirror:9695"])
    }

    // MARK: Cut off

    @Test(arguments: 0..<7)
    func showsNothingUntilAllOfItIsHere(_ count: Int) async throws {
        let pair = try await Pair()
        pair.source.end(after: count)
        #expect(await failure { try await pair.follow() }?.kind == .noSource)
        #expect(try pair.node.showsNothing())
        pair.source.end(after: nil)
        #expect(try await pair.follow().serial == 1)
        #expect(try await pair.node.bytes() == image.bytes)
    }

    @Test(arguments: 0..<5)
    func staysWithTheCatalogItHasUntilAllOfTheNextIsHere(_ count: Int) async throws {
        let pair = try await Pair()
        _ = try await pair.follow()
        let before = try pair.catalog
        try await pair.repository.publish(other)
        pair.source.end(after: count)
        #expect(await failure { try await pair.follow() }?.kind == .noSource)
        #expect(try pair.catalog == before)
        #expect(try pair.node.database.versions().map(\.version) == [1])
        #expect(try await pair.node.bytes() == image.bytes)
        // What came is not freed under it, and what a reclaim takes comes again.
        _ = try await pair.node.reclaim()
        #expect(try await pair.node.bytes() == image.bytes)
        pair.source.end(after: nil)
        #expect(try await pair.follow().serial == 2)
        #expect(try await pair.node.bytes() == other.bytes)
    }

    @Test func goesOnWhereItWas() async throws {
        var large = SparseImage(size: 1 << 20)
        for index in 0..<200 { large.put(UInt64(index + 1), at: index * 4096) }
        let pair = try await Pair(large)
        pair.source.end(after: 110)
        #expect(await failure { try await pair.follow() }?.kind == .noSource)
        let stored = try pair.node.store.published.usage().segmentCount
        #expect(stored >= 64)
        pair.source.end(after: nil)
        let outcome = try await pair.follow()
        // Catalog, node and file, beside the segments that were missing.
        #expect(outcome.pulledObjects <= 200 - stored + 3)
        #expect(try await pair.node.bytes() == large.bytes)
    }

    // MARK: What is not taken over

    @Test func neverGoesBack() async throws {
        let pair = try await Pair()
        let old = try pair.pointer
        try await pair.repository.publish(other)
        _ = try await pair.follow()
        let before = try pair.catalog
        #expect(await failure { try await pair.follow(old) }?.kind == .untrusted)
        #expect(await failure { try await pair.follow(old, isThorough: true) }?.kind == .untrusted)
        #expect(try pair.catalog == before)
    }

    @Test func takesOverNothingOfAKeyThatIsNotTrusted() async throws {
        let pair = try await Pair(trusts: false)
        #expect(await failure { try await pair.follow() }?.kind == .untrusted)
        #expect(try pair.node.showsNothing())
        #expect(try pair.node.store.published.usage().segmentCount == 0)

        try pair.node.trust(pair.node.key.publicKey)
        _ = try await pair.follow()
        // Trust is taken away: what it has stays for those who trust, and nothing newer comes.
        try pair.node.distrust(pair.node.key.publicKey)
        try await pair.repository.publish(other)
        #expect(await failure { try await pair.follow() }?.kind == .untrusted)
        #expect(try pair.catalog?.serial == 1)
        #expect(try pair.catalog?.isKept == true)
        #expect(await failure { try await pair.node.bytes() }?.kind == .untrusted)
        #expect(try await pair.node.reclaim().freedSegments == 0)
    }

    @Test func takesOverNothingThatHasExpired() async throws {
        let pair = try await Pair()
        let late = PublishingScene.now + Catalog.lifetimeSeconds + 1
        #expect(await failure { try await pair.follow(now: late) }?.kind == .untrusted)
        #expect(try pair.node.showsNothing())
    }

    @Test func takesOverNothingWhoseBytesAreOthers() async throws {
        let pair = try await Pair()
        let liar = FakeSource()
        liar.lie(about: try pair.pointer, with: [1, 2, 3])
        let refused = await failure {
            try await pair.mirror.follow(
                try pair.pointer,
                from: liar,
                at: Self.address,
                isThorough: false,
                now: PublishingScene.now
            ) { _, _ in }
        }
        #expect(refused?.kind == .corrupt)
        #expect(try pair.node.showsNothing())
    }

    // MARK: Withdrawal

    @Test(arguments: [false, true])
    func aWithdrawnVersionIsFreedUnlessAVMStandsOnIt(_ hasVM: Bool) async throws {
        let pair = try await Pair(other)
        try await pair.repository.publish(image)
        _ = try await pair.follow()
        if hasVM { try pair.node.deploy("web-01", version: 1) }
        try pair.repository.withdraw(1)
        #expect(try await pair.follow().withdrawnVersions == 1)
        let template = try pair.node.templates.existing(PublishingScene.template)
        #expect(template.versions.map(\.number) == [2])
        #expect(try await pair.node.reclaim().freedSegments == (hasVM ? 0 : 1))
        #expect(try await pair.node.bytes() == image.bytes)
        // It is no news any more.
        #expect(try await pair.follow(isThorough: true).withdrawnVersions == 0)
    }

    // MARK: Publishing is elsewhere

    @Test func refusesWhatIsPublishedAtAMirror() async throws {
        let pair = try await Pair()
        try pair.node.database.setMirror(
            MirrorRow(
                namespace: PublishingScene.namespace,
                source: Self.address,
                intervalMilliseconds: 1_000,
                isFromSettings: false
            )
        )
        // Also before anything of it is here.
        for _ in 0..<2 {
            let refused = await failure { try await pair.node.publish(other) }
            #expect(refused?.kind == .readOnly)
            #expect(refused?.message.contains(Self.address) == true)
            _ = try await pair.follow()
        }
        #expect(await failure { try pair.node.tag("t", 1) }?.kind == .readOnly)
        #expect(try pair.node.database.removeMirror(PublishingScene.namespace))
        // It is followed as any other now.
        let refused = await failure { try await pair.node.publish(other) }
        #expect(refused?.kind == .readOnly)
        #expect(refused?.message.contains(Self.address) == false)
        #expect(try await pair.node.reclaim().freedSegments == 2)
    }

    @Test func isNoMirrorOfWhatItPublishesItself() async throws {
        let pair = try await Pair()
        try await pair.node.publish(other)
        #expect(await failure { try await pair.follow() }?.kind == .readOnly)
        #expect(try await pair.node.bytes() == other.bytes)
        #expect(pair.source.asked.isEmpty)
    }
}
