import Failures
import Files
import Profiles
import Store
import TestSupport
import Testing

@Suite struct SegmentedContentTests {
    static let sizes = [4096, 8192, 16384, 32768]

    @Test(arguments: sizes)
    func readsAsAnArrayDoes(_ segmentSize: Int) async throws {
        let seed = SplitMix.seed()
        let note: Comment = "CCNFS_SEED=\(seed)"
        var random = SplitMix(seed: seed)
        for size in [1, segmentSize - 1, segmentSize, 20 * segmentSize + 77, 5 << 20] {
            let built = try BuiltContent.random(
                size: size,
                segmentSize: segmentSize,
                using: &random
            )
            let scene = try StoreScene(built.objects)
            let content = scene.content(built)
            for step in 0..<40 {
                let offset = Int.random(in: 0..<size, using: &random)
                let count = min(
                    Int.random(in: 1...3 * segmentSize, using: &random),
                    size - offset
                )
                let expected = built.bytes[offset..<offset + count]
                if let bytes = try content.residentBytes(at: offset, byteCount: count) {
                    #expect(same(bytes, expected), note)
                }
                let bytes = try await content.read(at: offset, byteCount: count)
                #expect(same(bytes, expected), note)
                let again = try content.residentBytes(at: offset, byteCount: count)
                #expect(again.map { same($0, expected) } == true, note)
                if step % 15 == 14 { _ = try scene.store.evictAll() }
            }
            #expect(same(try await content.read(at: 0, byteCount: size + 10), built.bytes), note)
            let all = try content.residentBytes(at: 0, byteCount: size)
            #expect(all.map { same($0, built.bytes) } == true, note)
            #expect(try await content.read(at: size, byteCount: 10).isEmpty)
        }
    }

    @Test func readsWhatWasPublishedHereWithoutAsking() async throws {
        var random = SplitMix(seed: 3)
        let built = try BuiltContent.random(size: 300_000, segmentSize: 4096, using: &random)
        let scene = try StoreScene()
        try built.publish(in: scene.store.published)
        let content = scene.content(built)
        #expect(same(try await content.read(at: 0, byteCount: 300_000), built.bytes))
        #expect(scene.source.askedInAll == 0)
        let data = built.segments.reduce(0) { $0 + $1.bytes.count }
        #expect(try await content.localByteCount() == (data, data))
    }

    @Test func isMissingUntilItsManifestWasSeen() async throws {
        var random = SplitMix(seed: 4)
        let built = try BuiltContent(random.bytes(50_000), segmentSize: 4096)
        let scene = try StoreScene(built.objects)
        let content = scene.content(built)
        #expect(try content.residentBytes(at: 0, byteCount: 1) == nil)
        #expect(scene.source.askedInAll == 0)
        _ = try await content.read(at: 4096, byteCount: 4096)
        #expect(try content.residentBytes(at: 4096, byteCount: 4096) != nil)
        // Nothing of a range of which one segment is missing.
        #expect(try content.residentBytes(at: 4096, byteCount: 4097) == nil)
        #expect(try content.residentBytes(at: 4095, byteCount: 2) == nil)
        #expect(scene.source.askedInAll == 2)
    }

    @Test func isZerosThroughoutWithoutAskingWhenItsRootIsAHole() async throws {
        let built = try BuiltContent([UInt8](repeating: 0, count: 100_000), segmentSize: 4096)
        let scene = try StoreScene()
        let content = scene.content(built)
        #expect(
            try content.residentBytes(at: 5, byteCount: 99_000)
                == [UInt8](repeating: 0, count: 99_000)
        )
        #expect(try await content.next(data: true, from: 0) == nil)
        #expect(try await content.next(data: false, from: 7) == 7)
        #expect(try await content.localByteCount() == (0, 0))
    }

    @Test func findsDataAndHolesWhereTheArrayHasThem() async throws {
        let seed = SplitMix.seed()
        let note: Comment = "CCNFS_SEED=\(seed)"
        var random = SplitMix(seed: seed)
        for size in [1, 5000, 123_456, (5 << 20) + 3] {
            let built = try BuiltContent.random(size: size, segmentSize: 4096, using: &random)
            let scene = try StoreScene(built.objects)
            let content = scene.content(built)
            let data = Set(built.segments.map(\.position))
            let count = built.descriptor.segmentCount
            for _ in 0..<60 {
                let offset = Int.random(in: 0..<size, using: &random)
                let first = offset / 4096
                let nextData = (first..<count).first { data.contains($0) }
                let nextHole = (first..<count).first { !data.contains($0) }
                #expect(
                    try await content.next(data: true, from: offset)
                        == nextData.map { max(offset, $0 * 4096) },
                    note
                )
                #expect(
                    try await content.next(data: false, from: offset)
                        == nextHole.map { max(offset, $0 * 4096) } ?? size,
                    note
                )
                let end = Int.random(in: offset...size, using: &random)
                let found = try await content.segments(in: offset..<end)
                let expected = data.filter { (offset..<end).contains($0 * 4096) }.sorted()
                #expect(found.map(\.position) == expected, note)
            }
            _ = try await content.read(at: 0, byteCount: min(size, 50_000))
            let local = try await content.localByteCount()
            #expect(local.data == built.segments.reduce(0) { $0 + $1.bytes.count }, note)
            #expect(local.local <= local.data)
        }
    }

    @Test func sharesSegmentsOfOtherSegmentSizes() async throws {
        var random = SplitMix(seed: 6)
        let shared = random.bytes(4096)
        // In the one the last, short segment, at place 3 of 8,192 bytes each; in the other a whole one.
        let large = try BuiltContent(random.bytes(3 * 8192) + shared, segmentSize: 8192)
        let small = try BuiltContent(
            random.bytes(2 * 4096) + shared + random.bytes(3 * 4096),
            segmentSize: 4096
        )
        for first in [large, small] {
            let scene = try StoreScene(large.objects + small.objects)
            _ = try await scene.content(first).read(at: 0, byteCount: first.bytes.count)
            for _ in 0..<2 {
                for built in [small, large] {
                    let content = scene.content(built)
                    let count = built.bytes.count
                    #expect(same(try await content.read(at: 0, byteCount: count), built.bytes))
                    let resident = try content.residentBytes(at: 0, byteCount: count)
                    #expect(resident.map { same($0, built.bytes) } == true)
                    for offset in stride(from: 0, to: count - 5000, by: 1111) {
                        let part = try content.residentBytes(at: offset, byteCount: 5000)
                        #expect(part.map { same($0, built.bytes[offset..<offset + 5000]) } == true)
                    }
                }
            }
        }
    }

    // MARK: Fetching ahead

    @Test func fetchesWhatASequentialReaderWillReadAndEachSegmentOnce() async throws {
        var random = SplitMix(seed: 21)
        let built = try BuiltContent.distinct(segments: 2048, using: &random)
        let scene = try StoreScene(built.objects)
        let content = scene.content(built)
        for offset in stride(from: 0, to: 1 << 20, by: 128 << 10) {
            let bytes = try await content.read(at: offset, byteCount: 128 << 10)
            #expect(same(bytes, built.bytes[offset..<offset + (128 << 10)]))
        }
        // Nobody reads here, and it comes.
        #expect(await soon { try content.residentBytes(at: 3 << 19, byteCount: 4096) != nil })
        #expect(same(try await content.read(at: 0, byteCount: 8 << 20), built.bytes))
        for (_, bytes) in built.segments {
            #expect(scene.source.asked(for: ObjectId(of: bytes)) == 1)
        }
    }

    @Test func fetchesNothingAheadForScatteredReads() async throws {
        var random = SplitMix(seed: 22)
        let built = try BuiltContent.distinct(segments: 1024, using: &random)
        let scene = try StoreScene(built.objects)
        let content = scene.content(built)
        for segment in [900, 3, 500, 250, 700] {
            let bytes = try await content.read(at: segment * 4096, byteCount: 4096)
            #expect(same(bytes, built.bytes[segment * 4096..<(segment + 1) * 4096]))
        }
        try await Task.sleep(for: .milliseconds(50))
        #expect(scene.source.askedInAll == 5 + built.nodes.count)
    }

    @Test func fetchesItsManifestOnceSomethingIsMissing() async throws {
        var random = SplitMix(seed: 23)
        // Three leaves and the node above them.
        let built = try BuiltContent.distinct(segments: 2304, using: &random)
        #expect(built.nodes.count == 4)
        let scene = try StoreScene(built.objects)
        let content = scene.content(built)
        _ = try await content.read(at: 0, byteCount: 1)
        let nodes = built.nodes.map { ObjectId(of: $0) }
        #expect(await soon { try nodes.allSatisfy { try scene.store.hasSmallObject($0) } })
        let asked = scene.source.askedInAll
        _ = try await content.read(at: 8 << 20, byteCount: 1)
        #expect(scene.source.askedInAll == asked + 1)
    }

    @Test func waitsNoLongerThanAReaderForWhatWasAskedForAhead() async throws {
        var random = SplitMix(seed: 24)
        let segment = random.bytes(4096)
        let built = try BuiltContent(segment, segmentSize: 4096)
        let scene = try StoreScene(built.objects)
        scene.source.hold()
        let request = ObjectRequest(ObjectId(of: segment), under: BuiltContent.prefix)
        let ahead = FetchUrgency.$current.withValue(.readAhead) {
            Task { try await scene.store.object(request) }
        }
        #expect(await soon { scene.source.askedInAll == 1 })
        let content = scene.content(built)
        let read = Task { try await content.read(at: 0, byteCount: 4096) }
        #expect(await soon { scene.source.hastened == [request] })
        scene.source.release()
        #expect(try await read.value == segment)
        #expect(try await ahead.value == segment)
        #expect(scene.source.askedInAll == 1)
    }

    @Test func triesItselfWhatFailedForSomebodyLessUrgent() async throws {
        let segment = [UInt8](repeating: 3, count: 4096)
        let built = try BuiltContent(segment, segmentSize: 4096)
        let scene = try StoreScene(built.objects)
        scene.source.hold()
        scene.source.fail(with: Failure(.timedOut, "nobody answered"))
        let request = ObjectRequest(ObjectId(of: segment), under: BuiltContent.prefix)
        let background = FetchUrgency.$current.withValue(.background) {
            Task { await failure { try await scene.store.object(request) } }
        }
        #expect(await soon { scene.source.askedInAll == 1 })
        let read = Task { try await scene.content(built).read(at: 0, byteCount: 4096) }
        #expect(await soon { !scene.source.hastened.isEmpty })
        scene.source.failOnce()
        scene.source.release()
        #expect(await background.value?.kind == .timedOut)
        #expect(try await read.value == segment)
    }

    // MARK: Damage

    /// Flips a bit of every image file of `content`, in the segment at `position`.
    private func damage(_ position: Int, in content: ContentStore) throws {
        for name in try FileTree.names(in: "\(content.directory)/images") {
            let file = try File("\(content.directory)/images/\(name)", .readWrite)
            let byte = try file.bytes(at: position * 4096 + 9, byteCount: 1)[0]
            try file.write([byte ^ 1].span, at: position * 4096 + 9)
        }
    }

    @Test func fetchesDamageAgainAtItsFirstUse() async throws {
        var random = SplitMix(seed: 8)
        let built = try BuiltContent(random.bytes(40_000), segmentSize: 4096)
        let scene = try StoreScene(built.objects)
        _ = try await scene.content(built).read(at: 0, byteCount: 40_000)
        try damage(3, in: scene.store.cache)
        // As after a start of the node: nothing was used yet in this run.
        let reopened = LayeredStore(
            published: scene.store.published,
            cache: try ContentStore(directory: scene.store.cache.directory),
            source: scene.source,
            logger: quiet
        )
        let content = SegmentedContent(
            built.descriptor,
            prefix: BuiltContent.prefix,
            store: reopened
        )
        let asked = scene.source.askedInAll
        #expect(same(try await content.read(at: 0, byteCount: 40_000), built.bytes))
        #expect(scene.source.askedInAll == asked + 1)
        #expect(reopened.counters.values.damagedSegments == 1)
        let resident = try content.residentBytes(at: 0, byteCount: 40_000)
        #expect(resident.map { same($0, built.bytes) } == true)
    }

    @Test func saysWhatCannotBeReadWhenDamageHasNoSource() async throws {
        var random = SplitMix(seed: 9)
        let built = try BuiltContent(random.bytes(40_000), segmentSize: 4096)
        let scene = try StoreScene()
        try built.publish(in: scene.store.published)
        try damage(3, in: scene.store.published)
        let content = scene.content(built)
        let failure = await failure { try await content.read(at: 0, byteCount: 40_000) }
        #expect(failure?.kind == .noSource)
        #expect(failure?.message.contains("bytes 12288 to 16383") == true)
        #expect(failure?.description.contains(ObjectId(of: built.segments[3].bytes).hex) == true)
        #expect(same(try await content.read(at: 0, byteCount: 12288), built.bytes[..<12288]))
        #expect(
            same(try await content.read(at: 16384, byteCount: 9000), built.bytes[16384..<25384])
        )
    }

    @Test func refusesASegmentOfAnotherLengthThanItsPlaceHas() async throws {
        var random = SplitMix(seed: 10)
        for count in [1000, 4095, 4097] {
            let odd = random.bytes(count)
            let whole = random.bytes(4096)
            let ids = [odd, whole].map { ObjectId(of: $0) }
            let node = ManifestNode.encode(ids)
            let scene = try StoreScene([odd, whole, node])
            let content = SegmentedContent(
                ContentDescriptor(
                    root: ObjectId(of: node),
                    size: 8192,
                    segmentSize: 4096,
                    levels: 1
                ),
                prefix: BuiltContent.prefix,
                store: scene.store
            )
            for _ in 0..<2 {
                #expect(
                    await failure { try await content.read(at: 0, byteCount: 10) }?.kind == .corrupt
                )
            }
            #expect(try await content.read(at: 4096, byteCount: 4096) == whole)
        }
    }
}
