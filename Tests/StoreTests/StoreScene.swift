import CCNx
import Failures
import Files
import Store
import TestSupport
import Testing

/// A home with a published and a cached content, over a fake source.
struct StoreScene {
    static let prefix = Name(segments: [.name("mycorp.com"), .name("app1")])
    static let segmentSize = 4096
    /// The root under which the segments of these tests are cached.
    static let root = ObjectId(of: Array("root".utf8))

    let folder: TemporaryFolder
    let directory: String
    let source: FakeSource
    let store: LayeredStore

    /// - Parameter cacheDirectory: elsewhere than in the test's own folder.
    init(
        _ source: FakeSource = FakeSource(),
        cacheLimit: Int = .max,
        cacheDirectory: String? = nil,
        transit: TransitStore? = nil
    ) throws {
        folder = try TemporaryFolder()
        directory = folder.path
        self.source = source
        store = LayeredStore(
            published: try ContentStore(directory: "\(directory)/published"),
            cache: try ContentStore(directory: cacheDirectory ?? "\(directory)/cache"),
            transit: transit,
            source: source,
            cacheLimit: cacheLimit,
            logger: quiet
        )
    }

    /// The same homes in another run: nothing was looked at yet.
    init(reopening scene: StoreScene) throws {
        folder = scene.folder
        directory = scene.directory
        source = scene.source
        store = LayeredStore(
            published: try ContentStore(directory: scene.store.published.directory),
            cache: try ContentStore(directory: scene.store.cache.directory),
            source: source,
            logger: quiet
        )
    }

    static func request(_ id: ObjectId) -> ObjectRequest { ObjectRequest(id, under: prefix) }

    func segment(_ id: ObjectId, at position: Int) async throws -> [UInt8] {
        try await store.segment(
            Self.request(id),
            position: position,
            root: Self.root,
            segmentSize: Self.segmentSize,
            byteCount: Self.segmentSize
        ).bytes
    }

    /// Writes and records segments from position 0 on of a new image of `content`.
    @discardableResult
    static func publish(
        _ segments: [[UInt8]],
        in content: ContentStore,
        segmentSize: Int = segmentSize
    ) throws -> SegmentImage {
        let image = try content.makeImage(segmentSize: segmentSize)
        var places: [(id: ObjectId, place: SegmentPlace)] = []
        for (position, bytes) in segments.enumerated() {
            try image.write(bytes.span, at: position)
            let place = SegmentPlace(image: image.number, position: position)
            places.append((id: ObjectId(of: bytes), place: place))
        }
        try content.record(places)
        return image
    }

    /// Flips a bit of the segment's bytes on disk.
    static func damage(_ place: SegmentPlace, in content: ContentStore) throws {
        let name = try #require(
            try FileTree.names(in: "\(content.directory)/images")
                .first { $0.hasPrefix(String(repeating: "0", count: 5) + "\(place.image)-") }
        )
        let file = try File("\(content.directory)/images/\(name)", .readWrite)
        let offset = place.position * segmentSize + 100
        let byte = try file.bytes(at: offset, byteCount: 1)[0]
        try file.write([byte ^ 0x10].span, at: offset)
    }
}

/// Reads through `image` as a disk would; nil unless the run is all there.
func residentBytes(
    of image: SegmentImage,
    at offset: Int,
    byteCount: Int,
    ids: [ObjectId]
) throws(Failure) -> (residency: SegmentImage.Residency, bytes: [UInt8]) {
    var result: Result<SegmentImage.Residency, Failure>?
    let bytes = [UInt8](capacity: byteCount) { output in
        do throws(Failure) {
            result = .success(
                try image.readResident(
                    at: offset,
                    byteCount: byteCount,
                    into: &output,
                    id: { ids[$0] }
                )
            )
        } catch {
            result = .failure(error)
        }
    }
    guard let result else { return (.missing(position: -1), []) }
    return (try result.get(), bytes)
}
