import CCNx
import Failures
import Files
import Profiles
import Repositories
import Signing
import Store
import Templates
import TestSupport
import Testing

private let image = SparseImage(size: 1 << 20, segments: [(0, 1), (10, 2)])

struct ResponderTests {
    private static let time: UInt64 = 1_700_000_000_000

    private func scene() async throws -> (PublishingScene, Responder) {
        let scene = try PublishingScene()
        try await scene.publish(image)
        return (
            scene,
            Responder(
                store: scene.store,
                database: scene.database,
                nodeKey: try PublishingScene.nodeKey.get(),
                trust: { scene.templates.trust.entries }
            )
        )
    }

    private static func interest(
        _ id: ObjectId,
        chunkSize: Int = 32 << 10,
        chunk: Int = 0
    ) -> Interest {
        Interest(
            name: ObjectName(
                ObjectRequest(id, under: PublishingScene.template),
                chunkSize: chunkSize,
                chunk: chunk
            ).name
        )
    }

    private func object(
        _ responder: Responder,
        _ interest: Interest
    ) throws -> ContentObject? {
        guard let packet = try responder.answer(interest, now: Self.time) else { return nil }
        guard case .contentObject(let object) = packet.packet else {
            Issue.record("the answer is no Content Object")
            return nil
        }
        return object
    }

    @Test func answersWithSegmentsNodesAndRecords() async throws {
        let (scene, responder) = try await scene()
        let segment = SparseImage.bytes(1)
        let answer = try object(responder, Self.interest(ObjectId(of: segment)))
        #expect(answer?.payload == segment)
        #expect(answer?.name == Self.interest(ObjectId(of: segment)).name)
        #expect(answer?.endChunkNumber == 0)

        let (version, record) = try scene.templates.served(
            PublishingScene.template,
            version: 1
        )
        for id in [version.recordId, record.disks[0].content.root] {
            let payload = try #require(try object(responder, Self.interest(id))?.payload)
            #expect(ObjectId(of: payload) == id)
        }
    }

    @Test func answersNothingThatIsNotHere() async throws {
        let (scene, responder) = try await scene()
        let unknown = ObjectId(of: [7])
        #expect(try object(responder, Self.interest(unknown)) == nil)
        #expect(try object(responder, Self.interest(.hole)) == nil)
        let names = [
            PublishingScene.template, Name(),
            Catalog.name(in: Name(segments: [.name("other.org")])),
            Catalog.name(in: PublishingScene.template),
            PublishingScene.namespace.appending(.name("@catalog")),
            PublishingScene.namespace.appending([.name("@catalog"), .chunk(1)]),
        ]
        for name in names {
            #expect(try object(responder, Interest(name: name)) == nil, "\(name)")
        }
        #expect(try scene.store.published.usage().segmentCount == 2)
    }

    @Test(arguments: [1, 1000, 1024, 4095, 4096, 4097, 32 << 10, 64 << 10])
    func cutsAnObjectAsItIsAsked(chunkSize: Int) async throws {
        let (_, responder) = try await scene()
        let segment = SparseImage.bytes(1)
        let id = ObjectId(of: segment)
        let last = (segment.count - 1) / chunkSize
        var bytes: [UInt8] = []
        for chunk in stride(from: 0, through: last, by: chunkSize == 1 ? last : 1) {
            let interest = Self.interest(id, chunkSize: chunkSize, chunk: chunk)
            let answer = try #require(try object(responder, interest))
            #expect(answer.endChunkNumber == UInt64(last))
            #expect(answer.name == interest.name)
            bytes += answer.payload
        }
        #expect(bytes == (chunkSize == 1 ? [segment[0], segment[last]] : segment))
        let behind = Self.interest(id, chunkSize: chunkSize, chunk: last + 1)
        #expect(try object(responder, behind) == nil)
        let far = Self.interest(id, chunkSize: chunkSize, chunk: Int(Int32.max))
        #expect(try object(responder, far) == nil)
    }

    @Test func survivesAnyChunkSize() async throws {
        let (_, responder) = try await scene()
        let id = ObjectId(of: SparseImage.bytes(1))
        for size in ["9223372036854775807", "4611686018427387904", "65537"] {
            let name = PublishingScene.template.appending([
                .name("@object"), .name(bytes: id.bytes), .name(size), .chunk(3),
            ])
            #expect(try object(responder, Interest(name: name)) == nil)
        }
    }

    @Test func answersNothingThatIsRestrictedToSomethingElse() async throws {
        let (_, responder) = try await scene()
        let id = ObjectId(of: SparseImage.bytes(1))
        var interest = Self.interest(id)
        let packet = try #require(try responder.answer(interest, now: Self.time))
        let hash = ContentObjectHash(packet.withMessage { SHA256.digest(of: $0) })

        interest.contentObjectHashRestriction = hash
        #expect(try responder.answer(interest, now: Self.time) != nil)
        interest.contentObjectHashRestriction = ContentObjectHash(SHA256.digest(of: [1]))
        #expect(try responder.answer(interest, now: Self.time) == nil)
        // Segments are not signed.
        interest = Self.interest(id)
        interest.keyIdRestriction = try PublishingScene.nodeKey.get().publicKey.keyId
        #expect(try responder.answer(interest, now: Self.time) == nil)
    }

    @Test func neverAnswersWithADamagedObject() async throws {
        let (scene, responder) = try await scene()
        let id = ObjectId(of: SparseImage.bytes(2))
        let place = try #require(try scene.store.published.places(of: [id])[0])
        let directory = "\(scene.store.published.directory)/images"
        let name = try #require(try FileTree.names(in: directory).first { $0.hasSuffix(".img") })
        let file = try File("\(directory)/\(name)", .readWrite)
        try file.write([0xff, 0xff].span, at: place.position * 4096 + 77)

        #expect(try object(responder, Self.interest(id)) == nil)
        #expect(try object(responder, Self.interest(id, chunkSize: 16)) == nil)
        let whole = ObjectId(of: SparseImage.bytes(1))
        #expect(try object(responder, Self.interest(whole)) != nil)
    }

    @Test func readsAnObjectOnceForAllItsChunks() async throws {
        let (scene, responder) = try await scene()
        let segment = SparseImage.bytes(2)
        let id = ObjectId(of: segment)
        func chunk(_ number: Int) throws -> [UInt8]? {
            try object(responder, Self.interest(id, chunkSize: 1_024, chunk: number))?.payload
        }
        #expect(try chunk(0) == Array(segment[..<1_024]))
        // Whoever reads it now finds other bytes.
        let place = try #require(try scene.store.published.places(of: [id])[0])
        let directory = "\(scene.store.published.directory)/images"
        let name = try #require(try FileTree.names(in: directory).first { $0.hasSuffix(".img") })
        let file = try File("\(directory)/\(name)", .readWrite)
        try file.write([0xff, 0xff].span, at: place.position * 4096 + 77)
        for number in 1..<4 {
            #expect(try chunk(number) == Array(segment[number * 1_024..<(number + 1) * 1_024]))
        }
        #expect(try object(responder, Self.interest(id)) == nil)
    }

    @Test func pointsAtTheCatalogAndSignsThePointer() async throws {
        let (scene, responder) = try await scene()
        var interest = Interest(name: Catalog.name(in: PublishingScene.namespace))
        let nodeKey = try PublishingScene.nodeKey.get().publicKey
        let packet = try #require(try responder.answer(interest, now: Self.time))
        try ValidationCheck.verify(packet, expecting: nodeKey)
        guard case .contentObject(let pointer) = packet.packet else {
            Issue.record("the pointer is no Content Object")
            return
        }
        let row = try #require(try scene.database.catalogs().first)
        #expect(ObjectId(bytes: pointer.payload) == row.object)
        let expiry = try #require(pointer.expiryTimeMilliseconds)
        #expect(expiry > Self.time && expiry <= Self.time + 60_000)

        interest.keyIdRestriction = nodeKey.keyId
        #expect(try responder.answer(interest, now: Self.time) != nil)
        interest.keyIdRestriction = scene.key.publicKey.keyId
        #expect(try responder.answer(interest, now: Self.time) == nil)
    }

    @Test func signsAPointerForAllWhoAskAtTheSameTime() async throws {
        let (scene, responder) = try await scene()
        let interest = Interest(name: Catalog.name(in: PublishingScene.namespace))
        let first = try #require(try responder.answer(interest, now: Self.time))
        // Each signature of this kind is another.
        #expect(try responder.answer(interest, now: Self.time + 499) == first)
        let second = try #require(try responder.answer(interest, now: Self.time + 500))
        #expect(second != first)
        // The clock was set back.
        #expect(try responder.answer(interest, now: Self.time - 1) != second)
        // A new version is told at once.
        let before = try #require(try scene.database.catalogs().first).object
        try await scene.publish(image)
        let row = try #require(try scene.database.catalogs().first)
        #expect(row.object != before)
        let pointer = try #require(try object(responder, interest))
        #expect(ObjectId(bytes: pointer.payload) == row.object)
    }

    // MARK: Mirrors and keys

    @Test func pointsAtACatalogThatIsMirroredAndAtNoneThatIsFollowed() async throws {
        let (scene, responder) = try await scene()
        let namespace = Name(segments: [.name("other.org")])
        let interest = Interest(name: Catalog.name(in: namespace))
        var row = CatalogRow(
            namespace: namespace,
            serial: 4,
            object: ObjectId(of: [1]),
            publishedHere: false,
            expires: PublishingScene.now + 1000
        )
        try scene.database.commit(catalog: row, versions: [], tags: [])
        #expect(try responder.answer(interest, now: Self.time) == nil)
        row.mirroredFrom = "tcp:other.org:9695"
        try scene.database.commit(catalog: row, versions: [], tags: [])
        let pointer = try #require(try object(responder, interest))
        #expect(ObjectId(bytes: pointer.payload) == row.object)
        #expect(try scene.database.removeMirror(namespace))
        #expect(try responder.answer(interest, now: Self.time) == nil)
    }

    @Test func answersWithKeysUnderAnyPrefix() async throws {
        let (scene, responder) = try await scene()
        let prefixes = [
            PublishingScene.namespace, PublishingScene.template,
            Name(segments: [.name("other.org")]),
        ]
        // The publisher's, which is trusted, and the node's own.
        for key in [scene.key.publicKey, try PublishingScene.nodeKey.get().publicKey] {
            for prefix in prefixes {
                let name = KeyName(key.keyId, under: prefix)
                let answer = try #require(try object(responder, Interest(name: name.name)))
                #expect(answer.payloadType == .key)
                #expect(try name.key(in: answer) == key)
            }
        }
        let stranger = try PublishingScene.strangerKey.get().publicKey
        let unknown = KeyName(stranger.keyId, under: PublishingScene.namespace)
        #expect(try object(responder, Interest(name: unknown.name)) == nil)
        // Until the settings file says that it is.
        let entry = TrustEntry(
            prefix: PublishingScene.namespace,
            publicKeyDER: stranger.derBytes,
            keyId: stranger.keyId
        )
        let configured = Responder(
            store: scene.store,
            database: scene.database,
            nodeKey: try PublishingScene.nodeKey.get(),
            trust: { [entry] }
        )
        #expect(try object(configured, Interest(name: unknown.name))?.payload == stranger.derBytes)
    }

    @Test func answersWithTheKeyThatACatalogWasDelegatedTo() async throws {
        let (repository, _) = try await scene()
        let source = RepositorySource(repository.store.published)
        let node = try PublishingScene(source: source)
        // Another key than that of the repository.
        let responder = Responder(
            store: node.store,
            database: node.database,
            nodeKey: try PublishingScene.strangerKey.get(),
            trust: { node.templates.trust.entries }
        )
        let key = try PublishingScene.nodeKey.get().publicKey
        let interest = Interest(name: KeyName(key.keyId, under: PublishingScene.namespace).name)
        #expect(try object(responder, interest) == nil)
        _ = try await CatalogFollower(
            namespace: PublishingScene.namespace,
            store: node.store,
            database: node.database,
            templates: node.templates
        ).follow(
            [try #require(try repository.database.catalogs().first).object],
            now: PublishingScene.now
        )
        #expect(try object(responder, interest)?.payload == key.derBytes)
    }
}
