import Dispatch
import Failures
import Files
import Store
import TestSupport
import Testing

@Suite struct LayeredStoreTests {
    private var random = SplitMix(seed: 11)

    private mutating func segments(_ count: Int) -> [[UInt8]] {
        (0..<count).map { _ in random.bytes(StoreScene.segmentSize) }
    }

    // MARK: Fetching

    @Test mutating func keepsWhatItFetched() async throws {
        let segments = segments(8)
        let scene = try StoreScene(FakeSource(segments))
        for _ in 0..<3 {
            for (position, bytes) in segments.enumerated() {
                #expect(try await scene.segment(ObjectId(of: bytes), at: position) == bytes)
            }
        }
        #expect(scene.source.askedInAll == 8)
        #expect(scene.store.counters.values.fetchedObjects == 8)
        #expect(scene.store.counters.values.fetchedBytes == 8 * 4096)
        let ids = segments.map { ObjectId(of: $0) }
        let residents = try scene.store.residents(of: ids + [.hole, ObjectId(of: [1])])
        #expect(residents.prefix(8).map { $0?.position } == Array(0..<8))
        #expect(residents[8] == nil)
        #expect(residents[9] == nil)
    }

    @Test mutating func asksNobodyForWhatWasPublishedHere() async throws {
        let segments = segments(2)
        let scene = try StoreScene()
        try StoreScene.publish(segments, in: scene.store.published)
        #expect(try await scene.segment(ObjectId(of: segments[1]), at: 1) == segments[1])
        #expect(scene.source.askedInAll == 0)
        #expect(try scene.store.cache.usage().segmentCount == 0)
    }

    @Test mutating func sharesOneFetchAmongAllWhoMissTheSame() async throws {
        let segment = segments(1)[0]
        let id = ObjectId(of: segment)
        let scene = try StoreScene(FakeSource([segment]))
        scene.source.hold()
        let started = Counter()
        try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for index in 0..<200 {
                group.addTask {
                    if started.increment() == 200 { scene.source.release() }
                    // Half of them as a small object: the bytes are the same.
                    return index % 2 == 0
                        ? try await scene.segment(id, at: 0)
                        : try await scene.store.object(StoreScene.request(id))
                }
            }
            for try await bytes in group { #expect(bytes == segment) }
        }
        #expect(scene.source.asked(for: id) == 1)
        #expect(scene.store.counters.values.fetchedObjects == 1)
    }

    @Test mutating func asksAgainAfterAFetchThatFailed() async throws {
        let segment = segments(1)[0]
        let id = ObjectId(of: segment)
        let scene = try StoreScene(FakeSource([segment]))
        scene.source.fail(with: Failure(.timedOut, "nobody answered"))
        #expect(await failure { try await scene.segment(id, at: 0) }?.kind == .timedOut)
        #expect(scene.store.counters.values.failedFetches == 1)
        scene.source.fail(with: nil)
        #expect(try await scene.segment(id, at: 0) == segment)
    }

    @Test mutating func refusesBytesThatDoNotMatchTheirId() async throws {
        let segment = segments(1)[0]
        let id = ObjectId(of: segment)
        let lies: [[UInt8]] = [
            [], Array(segment.dropLast()), segment + [0], [UInt8](repeating: 0, count: 4096),
        ]
        for lie in lies {
            let scene = try StoreScene()
            scene.source.lie(about: id, with: lie)
            #expect(await failure { try await scene.segment(id, at: 0) }?.kind == .corrupt)
            #expect(
                await failure { try await scene.store.object(StoreScene.request(id)) }?.kind
                    == .corrupt
            )
            #expect(try scene.store.localObject(id) == nil)
            #expect(try scene.store.cache.usage().segmentCount == 0)
            #expect(try scene.store.cache.usage().smallObjectCount == 0)
            scene.source.add(segment)
            #expect(try await scene.segment(id, at: 0) == segment)
        }
    }

    // MARK: Damage

    @Test mutating func fetchesADamagedSegmentAgain() async throws {
        let segments = segments(4)
        let ids = segments.map { ObjectId(of: $0) }
        let filled = try StoreScene(FakeSource(segments))
        for position in 0..<4 { _ = try await filled.segment(ids[position], at: position) }
        let scene = try StoreScene(reopening: filled)
        _ = try scene.store.residents(of: ids)
        let place = try #require(try scene.store.cache.places(of: [ids[2]])[0])
        try StoreScene.damage(place, in: scene.store.cache)
        let resident = try #require(try scene.store.residents(of: [ids[2]])[0])
        let read = try residentBytes(
            of: resident.image,
            at: 2 * 4096,
            byteCount: 4096,
            ids: ids
        )
        guard case .damaged(position: 2, let why) = read.residency else {
            Issue.record("\(read.residency)")
            return
        }
        try scene.store.dropDamaged(ids[2], because: why)
        #expect(try scene.store.residents(of: [ids[2]])[0] == nil)
        #expect(scene.store.counters.values.damagedSegments == 1)
        #expect(try await scene.segment(ids[2], at: 2) == segments[2])
        #expect(scene.source.asked(for: ids[2]) == 2)
        #expect(try scene.store.residents(of: [ids[2]])[0]?.position == 2)
        let again = try residentBytes(of: resident.image, at: 0, byteCount: 4 * 4096, ids: ids)
        #expect(again.bytes == segments.flatMap(\.self))
    }

    @Test mutating func saysWhyADamagedSegmentCannotBeHadWithoutASource() async throws {
        let segments = segments(2)
        let id = ObjectId(of: segments[0])
        let scene = try StoreScene()
        let image = try StoreScene.publish(segments, in: scene.store.published)
        try StoreScene.damage(
            SegmentPlace(image: image.number, position: 0),
            in: scene.store.published
        )
        let failure = await failure { try await scene.segment(id, at: 0) }
        #expect(failure?.kind == .noSource)
        #expect(failure?.description.contains(id.hex) == true)
        #expect(try await scene.segment(ObjectId(of: segments[1]), at: 1) == segments[1])
    }

    @Test mutating func keepsASegmentThatIsNotDamagedAfterAll() async throws {
        let segment = segments(1)[0]
        let id = ObjectId(of: segment)
        let scene = try StoreScene()
        try StoreScene.publish([segment], in: scene.store.published)
        // Someone else was faster: it was dropped and fetched again meanwhile.
        try scene.store.dropDamaged(id, because: Failure(.corrupt, "it was"))
        #expect(try scene.store.localObject(id) == segment)
        #expect(scene.store.counters.values.damagedSegments == 0)
    }

    // MARK: A cache that does not take it

    @Test mutating func servesUncachedWhenTheCacheIsBroken() async throws {
        let segments = segments(4)
        let scene = try StoreScene(FakeSource(segments))
        let images = "\(scene.directory)/cache/images"
        try FileTree.removeDirectory(images)
        _ = try File(images, .createNew)
        for _ in 0..<2 {
            for (position, bytes) in segments.enumerated() {
                #expect(try await scene.segment(ObjectId(of: bytes), at: position) == bytes)
            }
        }
        #expect(scene.store.counters.values.uncachedObjects == 8)
    }

    @Test(.enabled(if: SmallFilesystem.isPossible))
    mutating func servesEverythingWhenTheDiskOfTheCacheIsFull() async throws {
        let small = try SmallFilesystem(byteCount: 1 << 20)
        let segments = segments(600)
        let scene = try StoreScene(
            FakeSource(segments),
            cacheDirectory: "\(small.path)/cache"
        )
        for (position, bytes) in segments.enumerated() {
            #expect(try await scene.segment(ObjectId(of: bytes), at: position) == bytes)
        }
        let counters = scene.store.counters.values
        #expect(counters.fetchedObjects == 600)
        #expect(counters.evictedBytes + counters.uncachedObjects > 0)
        for (position, bytes) in segments.enumerated() {
            #expect(try await scene.segment(ObjectId(of: bytes), at: position) == bytes)
        }
        #expect(scene.store.counters.values.damagedSegments == 0)
    }

    // MARK: Eviction

    @Test mutating func staysBelowItsLimit() async throws {
        let segments = segments(64)
        let limit = 16 * 4096
        let scene = try StoreScene(FakeSource(segments), cacheLimit: limit)
        for (position, bytes) in segments.enumerated() {
            #expect(try await scene.segment(ObjectId(of: bytes), at: position) == bytes)
            #expect(try scene.store.cache.usage().imageByteCount <= limit)
        }
        #expect(scene.store.counters.values.evictedBytes >= 48 * 4096)
        #expect(try scene.store.localObject(ObjectId(of: segments[63])) == segments[63])
    }

    @Test mutating func evictsTheImageThatWasUnusedLongestFirst() async throws {
        let segments = segments(3)
        let ids = segments.map { ObjectId(of: $0) }
        let scene = try StoreScene(FakeSource(segments))
        let roots = (0..<3).map { ObjectId(of: [UInt8($0)]) }
        for index in [0, 1, 2] {
            _ = try await scene.store.segment(
                StoreScene.request(ids[index]),
                position: 0,
                root: roots[index],
                segmentSize: 4096,
                byteCount: 4096
            )
        }
        _ = try scene.store.residents(of: [ids[0]])
        #expect(try scene.store.evict(byteCount: 1) == 4096)
        #expect(try scene.store.localObject(ids[1]) == nil)
        #expect(try scene.store.localObject(ids[0]) == segments[0])
        #expect(try scene.store.localObject(ids[2]) == segments[2])
    }

    @Test mutating func forgetsAllSegmentsThatCanBeFetchedAgainAndKeepsSmallObjects() async throws {
        let segments = segments(5)
        let scene = try StoreScene(FakeSource(segments))
        try StoreScene.publish([segments[0]], in: scene.store.published)
        for (position, bytes) in segments.enumerated() {
            _ = try await scene.segment(ObjectId(of: bytes), at: position)
        }
        let small = scene.source.add([1, 2, 3])
        _ = try await scene.store.object(StoreScene.request(small))
        #expect(try scene.store.evictAll() == 4 * 4096)
        let usage = try scene.store.cache.usage()
        #expect(usage.segmentCount == 0)
        #expect(usage.imageByteCount == 0)
        // Such as records and manifests, without which no template is listed.
        #expect(usage.smallObjectCount == 1)
        #expect(try scene.store.localObject(ObjectId(of: segments[0])) == segments[0])
        #expect(try scene.store.evictAll() == 0)
    }

    @Test mutating func looksAtWhatItFetchedOnceInARun() async throws {
        let segments = segments(1)
        let id = ObjectId(of: segments[0])
        let scene = try StoreScene(FakeSource(segments))
        _ = try await scene.segment(id, at: 0)
        func looks(_ scene: StoreScene) throws -> Int {
            let resident = try #require(try scene.store.residents(of: [id])[0])
            var looks = 0
            _ = try [UInt8](capacity: 4096) { output in
                _ = try resident.image.readResident(at: 0, byteCount: 4096, into: &output) { _ in
                    looks += 1
                    return id
                }
            }
            return looks
        }
        #expect(try looks(scene) == 0)
        let reopened = try StoreScene(reopening: scene)
        #expect(try looks(reopened) == 1)
        #expect(try looks(reopened) == 0)
    }

    @Test mutating func neverShowsAReaderWhatIsBeingFreed() async throws {
        let segments = segments(64)
        let ids = segments.map { ObjectId(of: $0) }
        let scene = try StoreScene(FakeSource(segments))
        let store = scene.store
        let rounds = Counter()
        let complete = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for reader in 0..<3 {
                group.addTask {
                    var random = SplitMix(seed: UInt64(reader))
                    while rounds.value < 150 {
                        let position = Int.random(in: 0..<64, using: &random)
                        guard let resident = try store.residents(of: [ids[position]])[0] else {
                            let bytes = try await scene.segment(ids[position], at: position)
                            #expect(ObjectId(of: bytes) == ids[position])
                            continue
                        }
                        // More than once: what was verified before it was evicted counts as well.
                        for _ in 0..<20 {
                            let read = try residentBytes(
                                of: resident.image,
                                at: position * 4096,
                                byteCount: 4096,
                                ids: ids
                            )
                            switch read.residency {
                            case .complete:
                                complete.increment()
                                guard ObjectId(of: read.bytes) == ids[position] else {
                                    Issue.record("segment \(position) read as other bytes")
                                    return
                                }
                            case .missing: break
                            case .damaged(_, let why):
                                try store.dropDamaged(ids[position], because: why)
                            }
                        }
                    }
                }
            }
            group.addTask {
                for _ in 0..<150 {
                    try store.evict(byteCount: 48 * 4096)
                    rounds.increment()
                    await Task.yield()
                }
            }
            try await group.waitForAll()
        }
        #expect(complete.value > 0)
        #expect(store.counters.values.damagedSegments == 0)
        for (position, bytes) in segments.enumerated() {
            #expect(try await scene.segment(ids[position], at: position) == bytes)
        }
    }

    @Test mutating func neverPunchesAPlaceThatWasFilledAnewMeanwhile() async throws {
        let segments = segments(2)
        let ids = segments.map { ObjectId(of: $0) }
        let filled = try StoreScene(FakeSource(segments))
        for position in 0..<2 { _ = try await filled.segment(ids[position], at: position) }
        let scene = try StoreScene(reopening: filled)
        let store = scene.store
        _ = try store.residents(of: ids)
        let place = try #require(try store.cache.places(of: [ids[1]])[0])
        let image = try store.cache.image(place.image)
        func read(_ position: Int) throws -> [UInt8] {
            try residentBytes(of: image, at: position * 4096, byteCount: 4096, ids: ids).bytes
        }
        #expect(try read(1) == segments[1])

        // A reader that stays inside keeps the place from being punched.
        let isInside = DispatchSemaphore(value: 0)
        let mayLeave = DispatchSemaphore(value: 0)
        let reader = DispatchQueue(label: "reader")
        reader.async {
            _ = [UInt8](capacity: 4096) { output in
                _ = try? image.readResident(at: 0, byteCount: 4096, into: &output) { position in
                    isInside.signal()
                    mayLeave.wait()
                    return ids[position]
                }
            }
        }
        await isInside.signalled()
        let eviction = DispatchQueue(label: "eviction")
        eviction.async { _ = try? store.cache.free([(id: ids[1], place: place)]) }
        while try !read(1).isEmpty { await Task.yield() }
        let refilled = DispatchSemaphore(value: 0)
        let refill = Task.detached {
            let bytes = try await scene.segment(ids[1], at: 1)
            // Verified now, if it can be read already.
            _ = try residentBytes(of: image, at: 4096, byteCount: 4096, ids: ids)
            refilled.signal()
            return bytes
        }
        // It is right to wait for the punch, and wrong to be overtaken by it.
        _ = await refilled.signalled(within: .milliseconds(200))
        mayLeave.signal()
        #expect(try await refill.value == segments[1])
        eviction.sync {}
        reader.sync {}
        #expect(try read(1) == segments[1])
        #expect(try store.localObject(ids[1]) == segments[1])
    }
}
