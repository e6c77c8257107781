import CCNx
import Failures
import Profiles
import Publishing
import Repositories
import Signing
import Store
import Templates
import TestSupport
import Testing

private let image = SparseImage(size: 1 << 20, segments: [(0, 1), (10, 2)])
private let other = SparseImage(size: 1 << 20, segments: [(0, 3)])

struct CatalogFollowerTests {
    /// A repository with one version, and a node that knows its namespace's key.
    private struct Pair {
        let repository: PublishingScene
        let source: RepositorySource
        let node: PublishingScene
        let follower: CatalogFollower

        init(trusts: Bool = true) async throws {
            repository = try PublishingScene()
            try await repository.publish(image)
            source = RepositorySource(repository.store.published)
            node = try PublishingScene(source: source, trusts: trusts)
            follower = CatalogFollower(
                namespace: PublishingScene.namespace,
                store: node.store,
                database: node.database,
                templates: node.templates
            )
        }

        var pointer: ObjectId {
            get throws { try #require(try repository.database.catalogs().first).object }
        }

        var versions: [Int] {
            node.templates.template(named: PublishingScene.template)?.versions.map(\.number) ?? []
        }

        /// A catalog of these lines, signed by `key`; the source has it.
        func catalog(
            serial: Int,
            namespace: Name = PublishingScene.namespace,
            versions: [VersionRow],
            key: PrivateKey,
            delegation: [UInt8]? = nil,
            size: Int? = nil
        ) throws -> ObjectId {
            let json = try Listing(versions: versions, tags: []).json()
            let root = source.add(json)
            let listing = ContentDescriptor(
                root: root,
                size: size ?? json.count,
                segmentSize: 32 << 10,
                levels: ManifestNode.levels(size: size ?? json.count, segmentSize: 32 << 10)
            )
            return source.add(
                try Catalog(
                    namespace: namespace,
                    serial: serial,
                    expires: PublishingScene.now + 1000,
                    listing: listing,
                    delegation: delegation
                ).signed(with: key, now: PublishingScene.now)
            )
        }
    }

    @Test func takesOverANewerCatalog() async throws {
        let pair = try await Pair()
        #expect(try await pair.follower.follow([try pair.pointer], now: PublishingScene.now))
        #expect(pair.versions == [1])
        #expect(try await pair.node.bytes() == image.bytes)
        #expect(
            try await pair.follower.follow([try pair.pointer], now: PublishingScene.now) == false
        )

        try await pair.repository.publish(other)
        try pair.repository.tag("stable", 1)
        #expect(try await pair.follower.follow([try pair.pointer], now: PublishingScene.now))
        #expect(pair.versions == [1, 2])
        #expect(try await pair.node.bytes() == other.bytes)
        let template = try pair.node.templates.existing(PublishingScene.template)
        #expect(template.tags == ["stable": 1])
        #expect(template.versions.allSatisfy { !$0.publishedHere && $0.problem == nil })
    }

    @Test func forgetsWhatWasWithdrawn() async throws {
        let pair = try await Pair()
        try await pair.repository.publish(other)
        _ = try await pair.follower.follow([try pair.pointer], now: PublishingScene.now)
        try pair.repository.withdraw(1)
        #expect(try await pair.follower.follow([try pair.pointer], now: PublishingScene.now))
        #expect(pair.versions == [2])
    }

    @Test func neverGoesBack() async throws {
        let pair = try await Pair()
        let old = try pair.pointer
        try await pair.repository.publish(other)
        _ = try await pair.follower.follow([try pair.pointer], now: PublishingScene.now)
        let refused = await failure {
            try await pair.follower.follow([old], now: PublishingScene.now)
        }
        #expect(refused?.kind == .untrusted)
        #expect(pair.versions == [1, 2])

        let key = pair.node.key
        let same = try pair.catalog(serial: 2, versions: [], key: key)
        #expect(
            await failure { try await pair.follower.follow([same], now: PublishingScene.now) }?.kind
                == .untrusted
        )
        #expect(pair.versions == [1, 2])
        #expect(try pair.node.database.catalogs().map(\.serial) == [2])
    }

    // MARK: Several repositories

    @Test func takesTheNewestThatSeveralOffer() async throws {
        let pair = try await Pair()
        let old = try pair.pointer
        try await pair.repository.publish(other)
        let new = try pair.pointer
        #expect(try await pair.follower.follow([old, new], now: PublishingScene.now))
        #expect(pair.versions == [1, 2])
        #expect(try pair.node.database.catalogs().map(\.serial) == [2])
    }

    @Test func oneThatLagsIsNoFaultBesideOneThatDoesNot() async throws {
        let pair = try await Pair()
        let old = try pair.pointer
        try await pair.repository.publish(other)
        let new = try pair.pointer
        _ = try await pair.follower.follow([new], now: PublishingScene.now)
        #expect(try await pair.follower.follow([old, new], now: PublishingScene.now) == false)
        #expect(pair.versions == [1, 2])
        // Alone it is: nobody says what is newest.
        let refused = await failure {
            try await pair.follower.follow([old], now: PublishingScene.now)
        }
        #expect(refused?.kind == .untrusted)
        #expect(pair.versions == [1, 2])
    }

    @Test func takesWhatOneOffersThoughAnotherLies() async throws {
        let pair = try await Pair()
        let pointer = try pair.pointer
        let forged = try pair.catalog(
            serial: 99,
            versions: [],
            key: try PublishingScene.strangerKey.get()
        )
        let unknown = ObjectId(of: [7])
        #expect(
            try await pair.follower.follow([forged, unknown, pointer], now: PublishingScene.now)
        )
        #expect(pair.versions == [1])
        // In step with one, and told of the other.
        let refused = await failure {
            try await pair.follower.follow([pointer, forged], now: PublishingScene.now)
        }
        #expect(refused?.kind == .untrusted)
        #expect(pair.versions == [1])
    }

    @Test func goesOnToTheNextIfTheNewestCannotBeHad() async throws {
        let pair = try await Pair()
        try await pair.repository.publish(other)
        let second = try pair.pointer
        let known = try pair.repository.database.versions().map(\.record)
        try await pair.repository.publish(image)
        let third = try pair.pointer
        let records = try pair.repository.database.versions().map(\.record)
        pair.source.withhold(Set(records).subtracting(known))
        #expect(try await pair.follower.follow([third, second], now: PublishingScene.now))
        #expect(pair.versions == [1, 2])
        // Told once the one it has is all that can be had.
        let refused = await failure {
            try await pair.follower.follow([third, second], now: PublishingScene.now)
        }
        #expect(refused?.kind == .noSource)
        pair.source.withhold([])
        #expect(try await pair.follower.follow([third, second], now: PublishingScene.now))
        #expect(pair.versions == [1, 2, 3])
    }

    @Test func leavesWhatIsMirroredAlone() async throws {
        let pair = try await Pair()
        let old = try pair.pointer
        _ = try await Mirror(
            of: PublishingScene.namespace,
            store: pair.node.store,
            database: pair.node.database,
            templates: pair.node.templates,
            gate: pair.node.gate
        ).follow(
            old,
            from: pair.source,
            at: "tcp:source:9695",
            isThorough: false,
            now: PublishingScene.now
        ) { _, _ in }
        try await pair.repository.publish(other)
        #expect(
            try await pair.follower.follow([try pair.pointer], now: PublishingScene.now) == false
        )
        #expect(pair.versions == [1])
    }

    @Test func whatWasFollowedMayBeMirrored() async throws {
        let pair = try await Pair()
        let pointer = try pair.pointer
        _ = try await pair.follower.follow([pointer], now: PublishingScene.now)
        #expect(try pair.node.database.catalogs().map(\.isKept) == [false])
        let outcome = try await Mirror(
            of: PublishingScene.namespace,
            store: pair.node.store,
            database: pair.node.database,
            templates: pair.node.templates,
            gate: pair.node.gate
        ).follow(
            pointer,
            from: pair.source,
            at: "tcp:source:9695",
            isThorough: false,
            now: PublishingScene.now
        ) { _, _ in }
        // Catalog, listing and record are in the cache: a node of the manifest, and two segments.
        #expect(outcome.pulledObjects == 3)
        #expect(try pair.node.database.catalogs().map(\.isKept) == [true])
        _ = try pair.node.store.evictAll()
        #expect(try await pair.node.bytes() == image.bytes)
    }

    // MARK: What is not believed

    @Test func refusesACatalogOfAKeyThatIsNotTrusted() async throws {
        let pair = try await Pair(trusts: false)
        let pointer = try pair.pointer
        let refused = await failure {
            try await pair.follower.follow([pointer], now: PublishingScene.now)
        }
        #expect(refused?.kind == .untrusted)
        #expect(try pair.node.showsNothing())

        try pair.node.trust(pair.node.key.publicKey)
        let stranger = try PublishingScene.strangerKey.get()
        let forged = try pair.catalog(serial: 9, versions: [], key: stranger)
        #expect(
            await failure { try await pair.follower.follow([forged], now: PublishingScene.now) }?
                .kind
                == .untrusted
        )
        #expect(try pair.node.showsNothing())
        #expect(try await pair.follower.follow([pointer], now: PublishingScene.now))
    }

    @Test func refusesADelegationToAnotherKey() async throws {
        let pair = try await Pair()
        let stranger = try PublishingScene.strangerKey.get()
        let nodeKey = try PublishingScene.nodeKey.get()
        let delegation = try SignedContentObject.sign(
            try Delegation.draft(to: nodeKey.publicKey, namespace: PublishingScene.namespace),
            with: pair.node.key,
            signatureTimeMilliseconds: 1
        )
        let forged = try pair.catalog(
            serial: 9,
            versions: [],
            key: stranger,
            delegation: delegation
        )
        #expect(
            await failure { try await pair.follower.follow([forged], now: PublishingScene.now) }?
                .kind
                == .untrusted
        )
        let delegated = try pair.catalog(
            serial: 9,
            versions: [],
            key: nodeKey,
            delegation: delegation
        )
        #expect(try await pair.follower.follow([delegated], now: PublishingScene.now))
    }

    @Test func refusesACatalogOfAnotherNamespace() async throws {
        let pair = try await Pair()
        let elsewhere = Name(segments: [.name("other.org")])
        try pair.node.trust(pair.node.key.publicKey, for: elsewhere)
        let catalog = try pair.catalog(
            serial: 9,
            namespace: elsewhere,
            versions: [],
            key: pair.node.key
        )
        #expect(
            await failure { try await pair.follower.follow([catalog], now: PublishingScene.now) }?
                .kind == .corrupt
        )
        #expect(try pair.node.showsNothing())
    }

    @Test func refusesAListingThatNamesOtherNamespaces() async throws {
        let pair = try await Pair()
        let record = try #require(try pair.repository.database.versions().first).record
        let foreign = VersionRow(
            template: Name(segments: [.name("other.org"), .name("vm")]),
            version: 1,
            record: record,
            publishedHere: true
        )
        let catalog = try pair.catalog(serial: 9, versions: [foreign], key: pair.node.key)
        #expect(
            await failure { try await pair.follower.follow([catalog], now: PublishingScene.now) }?
                .kind == .untrusted
        )
        #expect(try pair.node.showsNothing())
    }

    @Test func refusesAListingThatNoMemoryHolds() async throws {
        let pair = try await Pair()
        let catalog = try pair.catalog(
            serial: 9,
            versions: [],
            key: pair.node.key,
            size: 1 << 40
        )
        #expect(
            await failure { try await pair.follower.follow([catalog], now: PublishingScene.now) }?
                .kind == .tooLarge
        )
    }

    @Test func showsNoVersionBeforeItsRecordIsHere() async throws {
        let pair = try await Pair()
        let first = try pair.pointer
        let record = try #require(try pair.repository.database.versions().first).record
        pair.source.withhold([record])
        #expect(
            await failure { try await pair.follower.follow([first], now: PublishingScene.now) }?
                .kind
                == .noSource
        )
        #expect(try pair.node.showsNothing())

        pair.source.withhold([])
        #expect(try await pair.follower.follow([first], now: PublishingScene.now))
        #expect(try pair.node.store.localObject(record) != nil)
        // Nothing of the disk was needed for that.
        let segment = ObjectId(of: SparseImage.bytes(1))
        #expect(pair.source.asked.contains(record))
        #expect(!pair.source.asked.contains(segment))
    }

    @Test func refusesACatalogThatHasExpired() async throws {
        let pair = try await Pair()
        let pointer = try pair.pointer
        let late = PublishingScene.now + Catalog.lifetimeSeconds + 1
        let refused = await failure { try await pair.follower.follow([pointer], now: late) }
        #expect(refused?.kind == .untrusted)
        #expect(pair.node.templates.all().isEmpty)
        #expect(try await pair.follower.follow([pointer], now: PublishingScene.now))
    }

    @Test func saysWhenTheCatalogInUseHasExpired() async throws {
        let pair = try await Pair()
        let pointer = try pair.pointer
        _ = try await pair.follower.follow([pointer], now: PublishingScene.now)
        let late = PublishingScene.now + Catalog.lifetimeSeconds + 1
        let expired = await failure { try await pair.follower.follow([pointer], now: late) }
        #expect(expired?.kind == .unavailable)
        #expect(expired?.message.contains("has expired") == true)
        // What it lists stays in use.
        #expect(pair.node.templates.all().count == 1)
        #expect(try await !pair.follower.follow([pointer], now: PublishingScene.now))
    }

    @Test func fetchesRecordsAgainAfterTheCacheWasDeleted() async throws {
        let pair = try await Pair()
        let pointer = try pair.pointer
        _ = try await pair.follower.follow([pointer], now: PublishingScene.now)
        let cache = pair.node.store.cache
        _ = try pair.node.store.evictAll()
        try cache.removeSmallObjects(try cache.smallObjectIds())
        // As a node that starts anew: it knows the versions, and has no record of them.
        let templates = try Templates(
            database: pair.node.database,
            store: pair.node.store,
            logger: quiet
        )
        let before = try templates.existing(PublishingScene.template)
        #expect(before.newest?.problem?.cause?.kind == .noSource)

        let follower = CatalogFollower(
            namespace: PublishingScene.namespace,
            store: pair.node.store,
            database: pair.node.database,
            templates: templates
        )
        #expect(try await follower.follow([pointer], now: PublishingScene.now))
        let after = try templates.existing(PublishingScene.template)
        #expect(after.newest != nil && after.newest?.problem == nil)
        #expect(try await follower.follow([pointer], now: PublishingScene.now) == false)
        #expect(try await pair.node.bytes() == image.bytes)
    }

    @Test func leavesANamespaceOfItsOwnAlone() async throws {
        let pair = try await Pair()
        try await pair.node.publish(other)
        #expect(
            try await pair.follower.follow([try pair.pointer], now: PublishingScene.now) == false
        )
        #expect(try await pair.node.bytes() == other.bytes)
    }

    @Test func reclaimLeavesWhatWasFetchedAlone() async throws {
        let pair = try await Pair()
        _ = try await pair.follower.follow([try pair.pointer], now: PublishingScene.now)
        _ = try await pair.node.bytes()
        #expect(try await pair.node.reclaim().freedSegments == 0)
        #expect(try await pair.node.bytes() == image.bytes)
    }
}
