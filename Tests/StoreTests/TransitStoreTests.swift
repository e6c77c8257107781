import Files
import Store
import TestSupport
import Testing

@Suite struct TransitStoreTests {
    private static let size = 4_096
    private var random = SplitMix(seed: 21)

    private mutating func segments(_ count: Int, size: Int = size) -> [[UInt8]] {
        (0..<count).map { _ in random.bytes(size) }
    }

    private func store(_ folder: TemporaryFolder, limit: Int) throws -> TransitStore {
        try TransitStore(directory: "\(folder.path)/transit", limit: limit)
    }

    private func keep(_ segments: [[UInt8]], in store: TransitStore) throws {
        for bytes in segments { try store.keep(bytes, id: ObjectId(of: bytes)) }
    }

    @Test mutating func keepsSegmentsOfTheSizesThatDisksAreCutInto() throws {
        let folder = try TemporaryFolder()
        let store = try store(folder, limit: 1 << 20)
        let sizes = [4_096, 8_192, 16_384, 32_768]
        let kept = sizes.flatMap { segments(3, size: $0) }
        let others = [1, 4_095, 5_000, 32_769].flatMap { segments(1, size: $0) }
        try keep(kept + others, in: store)
        for bytes in kept { #expect(store.segment(ObjectId(of: bytes)) == bytes) }
        for bytes in others { #expect(store.segment(ObjectId(of: bytes)) == nil) }
        #expect(store.usage.keptSegments == 12)
        #expect(store.usage.foundSegments == 12)
        // Once each, whatever passes how often.
        try keep(kept, in: store)
        #expect(store.usage.keptSegments == 12)
    }

    @Test mutating func givesUpTheOldestAtItsLimit() throws {
        let folder = try TemporaryFolder()
        let limit = 64 * Self.size
        let store = try store(folder, limit: limit)
        let segments = segments(1_000)
        for bytes in segments {
            try store.keep(bytes, id: ObjectId(of: bytes))
            #expect(store.usage.byteCount <= limit)
        }
        let here = segments.indices.filter { store.segment(ObjectId(of: segments[$0])) != nil }
        #expect(here.count >= 56)
        #expect(here == Array(segments.indices.suffix(here.count)))
        // No more files than the limit has parts.
        #expect(try FileTree.names(in: "\(folder.path)/transit/images").count <= 17)
    }

    @Test mutating func boundsWhatAnEarlierRunLeft() throws {
        let folder = try TemporaryFolder()
        let limit = 32 * Self.size
        let first = segments(32)
        let second = segments(20)
        do { try keep(first, in: try store(folder, limit: limit)) }
        let store = try store(folder, limit: limit)
        #expect(store.segment(ObjectId(of: first[31])) == first[31])
        try keep(second, in: store)
        #expect(store.usage.byteCount <= limit)
        #expect(store.segment(ObjectId(of: first[0])) == nil)
        for bytes in second { #expect(store.segment(ObjectId(of: bytes)) == bytes) }
    }

    /// However often the node is started: each file may be open.
    @Test mutating func fillsTheImagesOfEarlierRuns() throws {
        let folder = try TemporaryFolder()
        let limit = 640 * Self.size
        var all: [[UInt8]] = []
        for _ in 0..<20 {
            let some = segments(1) + segments(1, size: 8_192)
            try keep(some, in: try store(folder, limit: limit))
            all += some
        }
        let last = try store(folder, limit: limit)
        for bytes in all { #expect(last.segment(ObjectId(of: bytes)) == bytes) }
        #expect(try FileTree.names(in: "\(folder.path)/transit/images").count == 2)
        // One that is full is left as it is.
        try keep(segments(41), in: last)
        #expect(try FileTree.names(in: "\(folder.path)/transit/images").count == 3)
        for bytes in all { #expect(last.segment(ObjectId(of: bytes)) == bytes) }
    }

    /// After a power cut the index may know more than the file has.
    @Test mutating func usesNoPositionAgain() throws {
        let folder = try TemporaryFolder()
        let lost = segments(3)
        do { try keep(lost, in: try store(folder, limit: 1 << 20)) }
        try File("\(folder.path)/transit/images/000001-4096.img", .readWrite).truncate(to: 0)
        let store = try store(folder, limit: 1 << 20)
        let next = segments(3)
        try keep(next, in: store)
        for bytes in lost { #expect(store.segment(ObjectId(of: bytes)) == nil) }
        for bytes in next { #expect(store.segment(ObjectId(of: bytes)) == bytes) }
    }

    /// As versions left them that began new ones at each start.
    @Test mutating func givesUpWhatIsInTooManyFiles() throws {
        let folder = try TemporaryFolder()
        let limit = 100 * 32_768
        do {
            let many = try ContentStore(directory: "\(folder.path)/transit")
            for bytes in segments(100) {
                let image = try many.makeImage(segmentSize: Self.size)
                try many.keep([(ObjectId(of: bytes), bytes, at: 60)], of: image)
            }
        }
        let store = try store(folder, limit: limit)
        let bytes = segments(1)[0]
        try store.keep(bytes, id: ObjectId(of: bytes))
        #expect(store.segment(ObjectId(of: bytes)) == bytes)
        #expect(try FileTree.names(in: "\(folder.path)/transit/images").count <= 65)
    }

    /// Who remembers a place finds its segment there, or nothing.
    @Test mutating func neverShowsAnotherSegmentAtAPlace() async throws {
        let folder = try TemporaryFolder()
        let transit = try store(folder, limit: 4 * Self.size)
        let scene = try StoreScene(transit: transit)
        let first = segments(1)[0]
        let id = ObjectId(of: first)
        try transit.keep(first, id: id)
        let resident = try #require(try scene.store.residents(of: [id])[0])
        func read() throws -> [UInt8] {
            try residentBytes(
                of: resident.image,
                at: resident.position * Self.size,
                byteCount: Self.size,
                ids: [ObjectId](repeating: id, count: resident.position + 1)
            ).bytes
        }
        #expect(try read() == first)
        for bytes in segments(40) {
            try transit.keep(bytes, id: ObjectId(of: bytes))
            let found = try read()
            #expect(found == first || found == [])
        }
        #expect(try read() == [])
        #expect(try scene.store.residents(of: [id])[0] == nil)
        #expect(scene.store.counters.values.damagedSegments == 0)
    }

    // MARK: Beside the cache

    @Test mutating func isReadLikeTheCache() async throws {
        let folder = try TemporaryFolder()
        let transit = try store(folder, limit: 1 << 20)
        let scene = try StoreScene(transit: transit)
        let bytes = segments(1)[0]
        let id = ObjectId(of: bytes)
        try transit.keep(bytes, id: id)
        #expect(try scene.store.localObject(id) == bytes)
        #expect(try await scene.segment(id, at: 0) == bytes)
        #expect(scene.source.askedInAll == 0)
        #expect(try scene.store.evictAll() == Self.size)
        #expect(try scene.store.localObject(id) == nil)
        #expect(try scene.store.residents(of: [id])[0] == nil)
    }

    @Test mutating func evictsNothingThatReadersFetched() async throws {
        let folder = try TemporaryFolder()
        let transit = try store(folder, limit: 16 * Self.size)
        let fetched = segments(16)
        let scene = try StoreScene(
            FakeSource(fetched),
            cacheLimit: 16 * Self.size,
            transit: transit
        )
        for (position, bytes) in fetched.enumerated() {
            _ = try await scene.segment(ObjectId(of: bytes), at: position)
        }
        try keep(segments(500), in: transit)
        #expect(scene.store.counters.values.evictedBytes == 0)
        for bytes in fetched { #expect(try scene.store.localObject(ObjectId(of: bytes)) == bytes) }
    }

    @Test mutating func dropsADamagedSegment() async throws {
        let folder = try TemporaryFolder()
        let bytes = segments(1)[0]
        let id = ObjectId(of: bytes)
        do { try keep([bytes], in: try store(folder, limit: 1 << 20)) }
        let image = "\(folder.path)/transit/images/000001-4096.img"
        try File(image, .readWrite).write([bytes[100] ^ 0x10].span, at: 100)
        let store = try store(folder, limit: 1 << 20)
        #expect(store.segment(id) == nil)
        try store.keep(bytes, id: id)
        #expect(store.segment(id) == bytes)
    }
}
