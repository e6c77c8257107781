import Failures
import Files
import Store
import TestSupport
import Testing

@Suite struct ContentStoreTests {
    private var random = SplitMix(seed: 7)

    private mutating func segments(_ count: Int, byteCount: Int = 4096) -> [[UInt8]] {
        (0..<count).map { _ in random.bytes(byteCount) }
    }

    @Test mutating func findsSegmentsThatWereWrittenAndRecorded() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: "\(folder.path)/content")
        let segments = segments(20)
        let image = try StoreScene.publish(segments, in: store)
        let ids = segments.map { ObjectId(of: $0) }
        let places = try store.places(of: ids + [ObjectId(of: [1]), .hole])
        #expect(places.count == 22)
        for position in 0..<20 {
            #expect(places[position] == SegmentPlace(image: image.number, position: position))
            #expect(try store.segment(ids[position]) == segments[position])
            #expect(try store.anyObject(ids[position]) == segments[position])
        }
        #expect(places[20] == nil)
        #expect(places[21] == nil)
        #expect(try store.segment(ObjectId(of: [1])) == nil)
        #expect(try store.usage().segmentCount == 20)
        let all = segments.flatMap(\.self)
        let run = try residentBytes(of: image, at: 1000, byteCount: 50_000, ids: ids)
        #expect(run.bytes == Array(all[1000..<51_000]))
    }

    @Test mutating func doesNotFindSegmentsThatWereOnlyWritten() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let segment = segments(1)[0]
        let image = try store.makeImage(segmentSize: 4096)
        try image.write(segment.span, at: 0)
        #expect(try store.segment(ObjectId(of: segment)) == nil)
        let read = try residentBytes(
            of: image,
            at: 0,
            byteCount: 10,
            ids: [ObjectId(of: segment)]
        )
        guard case .missing(position: 0) = read.residency else {
            Issue.record("\(read.residency)")
            return
        }
        #expect(read.bytes.isEmpty)
    }

    @Test mutating func findsSegmentsAgainAfterReopening() throws {
        let folder = try TemporaryFolder()
        let segments = segments(5) + [random.bytes(700)]
        var number = 0
        do {
            let store = try ContentStore(directory: folder.path)
            number = try StoreScene.publish(segments, in: store).number
        }
        let store = try ContentStore(directory: folder.path)
        for (position, bytes) in segments.enumerated() {
            let id = ObjectId(of: bytes)
            #expect(
                try store.places(of: [id])[0] == SegmentPlace(image: number, position: position)
            )
            #expect(try store.segment(id) == bytes)
        }
        let next = try store.makeImage(segmentSize: 4096)
        #expect(next.number > number)
    }

    @Test mutating func keepsTheFirstPlaceOfASegmentThatLiesTwice() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let segments = segments(3)
        let first = try StoreScene.publish(segments, in: store)
        try StoreScene.publish(segments.reversed(), in: store)
        for (position, bytes) in segments.enumerated() {
            let place = SegmentPlace(image: first.number, position: position)
            #expect(try store.places(of: [ObjectId(of: bytes)])[0] == place)
        }
        #expect(try store.usage().segmentCount == 3)
    }

    @Test func putsTheSegmentsOfOneRootIntoOneImage() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let roots = [ObjectId(of: [1]), ObjectId(of: [2])]
        let one = try store.image(forRoot: roots[0], segmentSize: 4096)
        let two = try store.image(forRoot: roots[1], segmentSize: 32768)
        #expect(one.number != two.number)
        #expect(try store.image(forRoot: roots[0], segmentSize: 4096) === one)
        #expect(two.segmentSize == 32768)
        let again = try ContentStore(directory: folder.path)
        #expect(try again.image(forRoot: roots[1], segmentSize: 32768).number == two.number)
    }

    @Test func keepsSmallObjectsAndChecksThem() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let objects = (0..<10).map { [UInt8](repeating: UInt8($0), count: $0 * 100) }
        let rows = objects.map { (id: ObjectId(of: $0), bytes: $0) }
        #expect(try store.insert(rows, durably: true) == 10)
        #expect(try store.insert(Array(rows.prefix(4)), durably: false) == 0)
        for (id, bytes) in rows { #expect(try store.smallObject(id) == bytes) }
        #expect(Set(try store.smallObjectIds()) == Set(rows.map(\.id)))
        #expect(try store.usage().smallObjectByteCount == 4500)

        // Bytes under an id that is not theirs stand for a damaged row.
        let damaged = ObjectId(of: [9, 9])
        try store.insert([(id: damaged, bytes: [9, 8])], durably: true)
        #expect(try store.smallObject(damaged) == nil)
        #expect(try store.smallObjectIds().contains(damaged) == false)

        try store.removeSmallObjects([rows[3].id])
        #expect(try store.smallObject(rows[3].id) == nil)
        #expect(try store.smallObject(ObjectId(of: [5])) == nil)
    }

    @Test mutating func forgetsADamagedSegmentWhenItIsAskedFor() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let segments = segments(3)
        let image = try StoreScene.publish(segments, in: store)
        try StoreScene.damage(SegmentPlace(image: image.number, position: 1), in: store)
        #expect(try store.segment(ObjectId(of: segments[1])) == nil)
        #expect(try store.places(of: [ObjectId(of: segments[1])])[0] == nil)
        #expect(try store.segment(ObjectId(of: segments[0])) == segments[0])
        #expect(try store.segment(ObjectId(of: segments[2])) == segments[2])
    }

    @Test mutating func findsAndDropsDamageWhenItVerifies() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let segments = segments(12) + [random.bytes(513)]
        let image = try StoreScene.publish(segments, in: store)
        let wrong = ObjectId(of: Array("wrong".utf8))
        let small = ObjectId(of: Array("small".utf8))
        try store.insert(
            [(id: small, bytes: Array("small".utf8)), (id: wrong, bytes: [0])],
            durably: true
        )
        for position in [2, 11] {
            try StoreScene.damage(SegmentPlace(image: image.number, position: position), in: store)
        }
        var last = (0, 0)
        let findings = try store.verify { last = ($0, $1) }
        #expect(last == (13, 13))
        #expect(findings.segmentsChecked == 13)
        #expect(findings.objectsChecked == 2)
        #expect(findings.databaseProblems.isEmpty)
        let damaged = [ObjectId(of: segments[2]), ObjectId(of: segments[11]), wrong]
        #expect(Set(findings.damaged) == Set(damaged.map(\.hex)))
        let again = try store.verify { _, _ in }
        #expect(again.damaged.isEmpty)
        #expect(again.segmentsChecked == 11)
        #expect(try store.smallObject(small) == Array("small".utf8))
    }

    @Test mutating func givesSpaceBackThatIsFreed() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let segments = segments(64)
        let ids = segments.map { ObjectId(of: $0) }
        let image = try StoreScene.publish(segments, in: store)
        try image.synchronize()
        let before = try store.usage().imageByteCount
        let freed = try store.free(
            (16..<48).map {
                (id: ids[$0], place: SegmentPlace(image: image.number, position: $0))
            }
        )
        #expect(freed == 32 * 4096)
        #expect(try store.usage().imageByteCount <= before - 32 * 4096)
        #expect(try store.places(of: ids).filter { $0 == nil }.count == 32)
        for position in [0, 15, 48, 63] {
            #expect(try store.segment(ids[position]) == segments[position])
        }
        let read = try residentBytes(of: image, at: 15 * 4096, byteCount: 2 * 4096, ids: ids)
        guard case .missing(position: 16) = read.residency else {
            Issue.record("\(read.residency)")
            return
        }
        #expect(read.bytes.isEmpty)
    }

    @Test mutating func makesTheSameIndexAnewFromTheImages() throws {
        let folder = try TemporaryFolder()
        var places: [ObjectId: SegmentPlace] = [:]
        do {
            let store = try ContentStore(directory: folder.path)
            for size in [4096, 8192, 32768, 4096] {
                let segments = segments(9, byteCount: size) + [random.bytes(size / 2 + 1)]
                try StoreScene.publish(segments, in: store, segmentSize: size)
            }
            // Freed ones must not come back.
            let all = try store.allSegments().sorted { $0.id < $1.id }
            try store.free(Array(all.prefix(7)))
            for (id, place) in try store.allSegments() { places[id] = place }
        }
        try FileTree.remove("\(folder.path)/index.sqlite")
        var told = 0
        let found = try ContentStore.rebuildIndex(directory: folder.path) { told = $0 }
        #expect(found == 33)
        #expect(told == 33)
        let store = try ContentStore(directory: folder.path)
        var rebuilt: [ObjectId: SegmentPlace] = [:]
        for (id, place) in try store.allSegments() { rebuilt[id] = place }
        #expect(rebuilt == places)
        #expect(try store.verify { _, _ in }.damaged.isEmpty)
        #expect(try store.makeImage(segmentSize: 4096).number == 5)
    }

    @Test mutating func rebuildsUnderTheIdOfWhatIsThereNotOfWhatWas() throws {
        let folder = try TemporaryFolder()
        let segments = segments(4)
        do {
            let store = try ContentStore(directory: folder.path)
            let image = try StoreScene.publish(segments, in: store)
            try StoreScene.damage(SegmentPlace(image: image.number, position: 2), in: store)
        }
        _ = try ContentStore.rebuildIndex(directory: folder.path) { _ in }
        let store = try ContentStore(directory: folder.path)
        let places = try store.places(of: segments.map { ObjectId(of: $0) })
        #expect(places.map { $0 == nil } == [false, false, true, false])
    }

    @Test mutating func saysWhenAnImageFileIsGone() throws {
        let folder = try TemporaryFolder()
        let segment = segments(1)[0]
        do {
            let store = try ContentStore(directory: folder.path)
            try StoreScene.publish([segment], in: store)
        }
        try FileTree.remove("\(folder.path)/images/000001-4096.img")
        let store = try ContentStore(directory: folder.path)
        #expect(kind { _ = try store.segment(ObjectId(of: segment)) } == .corrupt)
    }

    @Test mutating func freesWhatAPublishLeftThatWasCutOff() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let kept = segments(8)
        let image = try StoreScene.publish(kept, in: store)
        for (index, bytes) in segments(8).enumerated() {
            try image.write(bytes.span, at: 8 + index)
        }
        let abandoned = try store.makeImage(segmentSize: 8192)
        let bytes = random.bytes(8192)
        try abandoned.write(bytes.span, at: 3)
        #expect(try store.freeUnindexed() == 8 * 4096 + 8192)
        #expect(try FileTree.names(in: "\(folder.path)/images") == ["000001-4096.img"])
        for bytes in kept { #expect(try store.segment(ObjectId(of: bytes)) == bytes) }
        #expect(try store.usage().imageByteCount <= 8 * 4096)
        #expect(try store.freeUnindexed() == 0)
    }
}
