import Store
import TestSupport
import Testing

/// What is pinned stays in the cache.
@Suite struct PinTests {
    private static let size = StoreScene.segmentSize
    private static let otherRoot = ObjectId(of: Array("another disk".utf8))
    private var random = SplitMix(seed: 31)

    private mutating func segments(_ count: Int) -> [[UInt8]] {
        (0..<count).map { _ in random.bytes(Self.size) }
    }

    private func fetch(
        _ segments: [[UInt8]],
        of root: ObjectId,
        in scene: StoreScene
    ) async throws {
        for (position, bytes) in segments.enumerated() {
            let fetched = try await scene.store.segment(
                StoreScene.request(ObjectId(of: bytes)),
                position: position,
                root: root,
                segmentSize: Self.size,
                byteCount: bytes.count
            )
            #expect(fetched.bytes == bytes)
        }
    }

    @Test func takesNothingOfAnotherLengthThanItsPlaceIntoAPinnedContent() async throws {
        let folder = try TemporaryFolder()
        let store = LayeredStore(
            published: try ContentStore(directory: "\(folder.path)/published"),
            cache: try ContentStore(directory: "\(folder.path)/cache"),
            transit: try TransitStore(directory: "\(folder.path)/transit", limit: 1 << 20),
            source: FakeSource(),
            logger: quiet
        )
        var random = SplitMix(seed: 71)
        let long = random.bytes(32 << 10)
        let right = random.bytes(4096)
        let root = ObjectId(of: [1])
        for bytes in [long, right] { try store.transit?.keep(bytes, id: ObjectId(of: bytes)) }
        store.pin([root])
        let missing = try store.hold(
            [
                (position: 0, byteCount: 4096, id: ObjectId(of: long)),
                (position: 1, byteCount: 4096, id: ObjectId(of: right)),
            ],
            of: root,
            segmentSize: 4096
        )
        #expect(missing == 1)
        #expect(try store.cache.segment(ObjectId(of: right)) == right)
        #expect(try store.cache.segment(ObjectId(of: long)) == nil)
    }

    private func hold(_ segments: [[UInt8]], of root: ObjectId, in scene: StoreScene) throws -> Int
    {
        try scene.store.hold(
            segments.enumerated().map {
                (
                    position: $0.offset, byteCount: $0.element.count, id: ObjectId(of: $0.element)
                )
            },
            of: root,
            segmentSize: Self.size
        )
    }

    private func here(_ segments: [[UInt8]], in scene: StoreScene) throws -> Int {
        try segments.count { try scene.store.localObject(ObjectId(of: $0)) == $0 }
    }

    @Test mutating func evictsNothingThatIsPinned() async throws {
        let pinned = segments(8)
        let others = segments(8)
        let scene = try StoreScene(FakeSource(pinned + others))
        try await fetch(pinned, of: StoreScene.root, in: scene)
        try await fetch(others, of: Self.otherRoot, in: scene)
        scene.store.pin([StoreScene.root])
        #expect(try scene.store.evictAll() == 8 * Self.size)
        #expect(try here(pinned, in: scene) == 8)
        #expect(try here(others, in: scene) == 0)
        #expect(try scene.store.evictAll() == 0)
        scene.store.pin([])
        #expect(try scene.store.evictAll() == 8 * Self.size)
        #expect(try here(pinned, in: scene) == 0)
    }

    /// Equal segments of two disks lie in the image of the one that was fetched first.
    @Test mutating func keepsSegmentsThatLieInTheImageOfAnotherDisk() async throws {
        let common = segments(5)
        let own = segments(3)
        let scene = try StoreScene(FakeSource(common + own))
        try await fetch(common, of: Self.otherRoot, in: scene)
        try await fetch(common + own, of: StoreScene.root, in: scene)
        scene.store.pin([StoreScene.root])
        #expect(try hold(common + own, of: StoreScene.root, in: scene) == 0)
        #expect(try scene.store.evictAll() == 0)
        #expect(try here(common + own, in: scene) == 8)
        // What was noted for one is free when that one is, whatever else is pinned.
        scene.store.pin([Self.otherRoot])
        #expect(try scene.store.evictAll() == 3 * Self.size)
        #expect(try here(common, in: scene) == 5)
    }

    @Test mutating func tellsWhatIsMissing() async throws {
        let segments = segments(6)
        let scene = try StoreScene(FakeSource(segments))
        try StoreScene.publish([segments[5]], in: scene.store.published)
        try await fetch(Array(segments.prefix(2)), of: StoreScene.root, in: scene)
        scene.store.pin([StoreScene.root])
        #expect(try hold(segments, of: StoreScene.root, in: scene) == 3)
        try await fetch(segments, of: StoreScene.root, in: scene)
        #expect(try hold(segments, of: StoreScene.root, in: scene) == 0)
        #expect(scene.source.askedInAll == 5)
    }

    @Test mutating func takesWhatPassedThroughIntoTheCache() async throws {
        let folder = try TemporaryFolder()
        let transit = try TransitStore(directory: "\(folder.path)/transit", limit: 1 << 20)
        let segments = segments(4)
        for bytes in segments { try transit.keep(bytes, id: ObjectId(of: bytes)) }
        let scene = try StoreScene(transit: transit)
        scene.store.pin([StoreScene.root])
        #expect(try hold(segments, of: StoreScene.root, in: scene) == 0)
        #expect(try scene.store.evictAll() == 4 * Self.size)
        #expect(try here(segments, in: scene) == 4)
        #expect(try scene.store.cache.usage().segmentCount == 4)
        #expect(scene.source.askedInAll == 0)
    }

    // MARK: A full cache

    @Test mutating func makesRoomAmongTheOthersOnly() async throws {
        let pinned = segments(8)
        let others = segments(64)
        let limit = 16 * Self.size
        let scene = try StoreScene(FakeSource(pinned + others), cacheLimit: limit)
        scene.store.pin([StoreScene.root])
        try await fetch(pinned, of: StoreScene.root, in: scene)
        try await fetch(others, of: Self.otherRoot, in: scene)
        #expect(try scene.store.cache.usage().imageByteCount <= limit)
        #expect(try here(pinned, in: scene) == 8)
        #expect(try here([others[63]], in: scene) == 1)
        #expect(scene.store.counters.values.uncachedObjects == 0)
    }

    @Test mutating func servesUncachedWhenAllOfItIsPinned() async throws {
        let pinned = segments(16)
        let others = segments(20)
        let limit = 16 * Self.size
        let scene = try StoreScene(FakeSource(pinned + others), cacheLimit: limit)
        scene.store.pin([StoreScene.root])
        try await fetch(pinned, of: StoreScene.root, in: scene)
        for _ in 0..<2 { try await fetch(others, of: Self.otherRoot, in: scene) }
        #expect(scene.store.counters.values.uncachedObjects == 40)
        #expect(scene.store.counters.values.evictedBytes == 0)
        #expect(try scene.store.cache.usage().imageByteCount <= limit)
        #expect(try here(pinned, in: scene) == 16)
        // As soon as something may go, there is room again.
        scene.store.pin([])
        try await fetch(others, of: Self.otherRoot, in: scene)
        #expect(try here([others[19]], in: scene) == 1)
        #expect(scene.store.counters.values.uncachedObjects == 40)
    }
}
