import CCNx
import Failures
import Profiles
import Store
import TestSupport

/// A content made of an array, cut and listed as a publisher would.
struct BuiltContent {
    static let prefix = Name(segments: [.name("mycorp.com"), .name("app1")])

    let bytes: [UInt8]
    let descriptor: ContentDescriptor
    let segments: [(position: Int, bytes: [UInt8])]
    let nodes: [[UInt8]]

    init(_ bytes: [UInt8], segmentSize: Int) throws(Failure) {
        self.bytes = bytes
        var segments: [(position: Int, bytes: [UInt8])] = []
        var nodes: [[UInt8]] = []
        var builder = ManifestBuilder()
        let zeros = ObjectId(of: [UInt8](repeating: 0, count: segmentSize))
        for start in stride(from: 0, to: bytes.count, by: segmentSize) {
            let segment = Array(bytes[start..<min(start + segmentSize, bytes.count)])
            let id = ObjectId(of: segment)
            let isHole =
                id == zeros || segment.count < segmentSize && segment.allSatisfy { $0 == 0 }
            if isHole { continue }
            segments.append((position: start / segmentSize, bytes: segment))
            try builder.append(id, at: start / segmentSize) { nodes.append($1) }
        }
        descriptor = try builder.finish(size: bytes.count, segmentSize: segmentSize) {
            nodes.append($1)
        }
        self.segments = segments
        self.nodes = nodes
    }

    /// Mostly holes, of which some end in the middle of a segment; the last byte is data half the time.
    static func random(
        size: Int,
        segmentSize: Int,
        using random: inout SplitMix
    ) throws(Failure) -> BuiltContent {
        var bytes = [UInt8](repeating: 0, count: size)
        for _ in 0..<12 where size > 0 {
            let start = Int.random(in: 0..<size, using: &random)
            let count = min(Int.random(in: 1...5 * segmentSize, using: &random), size - start)
            bytes.replaceSubrange(start..<start + count, with: random.bytes(count))
        }
        if random.chance(1, in: 2), size > 0 { bytes[size - 1] = 7 }
        return try BuiltContent(bytes, segmentSize: segmentSize)
    }

    /// All data, and no segment like another.
    static func distinct(
        segments count: Int,
        using random: inout SplitMix
    ) throws(Failure) -> BuiltContent {
        var bytes: [UInt8] = []
        for _ in 0..<count { bytes += random.bytes(4096) }
        return try BuiltContent(bytes, segmentSize: 4096)
    }

    var objects: [[UInt8]] { segments.map(\.bytes) + nodes }

    /// Puts it into a store as publishing does: one image, segment i at place i.
    func publish(in content: ContentStore) throws(Failure) {
        let image = try content.makeImage(segmentSize: descriptor.segmentSize)
        var places: [(id: ObjectId, place: SegmentPlace)] = []
        for (position, bytes) in segments {
            try image.write(bytes.span, at: position)
            let place = SegmentPlace(image: image.number, position: position)
            places.append((id: ObjectId(of: bytes), place: place))
        }
        try content.record(places)
        try content.insert(nodes.map { (id: ObjectId(of: $0), bytes: $0) }, durably: true)
    }
}

/// A store over a fake source, in a folder of its own.
struct StoreScene {
    let folder: TemporaryFolder
    let source: FakeSource
    let store: LayeredStore

    init(_ objects: [[UInt8]] = []) throws {
        folder = try TemporaryFolder()
        source = FakeSource(objects)
        store = LayeredStore(
            published: try ContentStore(directory: "\(folder.path)/published"),
            cache: try ContentStore(directory: "\(folder.path)/cache"),
            source: source,
            logger: quiet
        )
    }

    func content(_ built: BuiltContent) -> SegmentedContent {
        SegmentedContent(built.descriptor, prefix: BuiltContent.prefix, store: store)
    }
}

extension SegmentedContent {
    /// Nil where something is missing; then nothing was appended either.
    func residentBytes(at offset: Int, byteCount: Int) throws(Failure) -> [UInt8]? {
        var result = Result<Residency, Failure>.success(.missing)
        let bytes = [UInt8](capacity: byteCount) { output in
            do throws(Failure) {
                result = .success(
                    try readResident(at: offset, byteCount: byteCount, into: &output)
                )
            } catch {
                result = .failure(error)
            }
        }
        switch try result.get() {
        case .complete: return bytes
        case .missing:
            precondition(bytes.isEmpty, "what is missing is not read in part")
            return nil
        }
    }
}

/// Fast enough for millions of bytes without optimisation.
func same(_ left: [UInt8], _ right: some Collection<UInt8>) -> Bool {
    left.count == right.count && ObjectId(of: left) == ObjectId(of: Array(right))
}
