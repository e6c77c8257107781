import Failures
import Files
import Store
import Synchronization
import TestSupport
import Testing

@Suite struct SegmentImageTests {
    @Test func readsZerosBehindAShortLastSegment() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        var random = SplitMix(seed: 3)
        let segments = [random.bytes(4096), random.bytes(600)]
        let ids = segments.map { ObjectId(of: $0) }
        let image = try StoreScene.publish(segments, in: store)
        let read = try residentBytes(of: image, at: 4000, byteCount: 1000, ids: ids)
        #expect(
            read.bytes == segments[0][4000...] + segments[1] + [UInt8](repeating: 0, count: 304)
        )
    }

    @Test func checksASegmentAtItsFirstUseAndOnlyThen() throws {
        let folder = try TemporaryFolder()
        var random = SplitMix(seed: 4)
        let segments = (0..<3).map { _ in random.bytes(4096) }
        let ids = segments.map { ObjectId(of: $0) }
        do {
            try StoreScene.publish(segments, in: try ContentStore(directory: folder.path))
        }
        let store = try ContentStore(directory: folder.path)
        try StoreScene.damage(SegmentPlace(image: 1, position: 1), in: store)
        let places = try store.places(of: ids).compactMap(\.self)
        let image = try store.image(places[0].image)
        let first = try residentBytes(of: image, at: 0, byteCount: 4096, ids: ids)
        #expect(first.bytes == segments[0])
        let all = try residentBytes(of: image, at: 0, byteCount: 3 * 4096, ids: ids)
        guard case .damaged(position: 1, let failure) = all.residency else {
            Issue.record("\(all.residency)")
            return
        }
        #expect(all.bytes.isEmpty)
        #expect(failure.kind == .corrupt)
        #expect(failure.message.contains(ids[1].hex))
        // What was checked once in this run is believed until the scrub looks again.
        let counted = Mutex(0)
        _ = [UInt8](capacity: 4096) { output in
            _ = try? image.readResident(at: 0, byteCount: 4096, into: &output) { position in
                counted.withLock { $0 += 1 }
                return ids[position]
            }
        }
        #expect(counted.withLock { $0 } == 0)
    }

    @Test func isMissingWhereNothingWasEverWritten() throws {
        let folder = try TemporaryFolder()
        let store = try ContentStore(directory: folder.path)
        let image = try store.makeImage(segmentSize: 8192)
        let read = try residentBytes(of: image, at: 5 * 8192, byteCount: 10, ids: [])
        guard case .missing(position: 5) = read.residency else {
            Issue.record("\(read.residency)")
            return
        }
    }
}
