package import Failures
internal import Synchronization

extension LayeredStore {
    /// Keeps segments of a pinned content from being evicted, wherever in the cache they lie. What only passed
    /// through for others is taken into the cache.
    ///
    /// - Parameter segments: with their positions in the content and the bytes that belong there; no holes.
    /// - Returns: how many of them are nowhere here.
    package func hold(
        _ segments: [(position: Int, byteCount: Int, id: ObjectId)],
        of root: ObjectId,
        segmentSize: Int
    ) throws(Failure) -> Int {
        let ids = segments.map(\.id)
        // An eviction under way chose what goes before these were noted.
        let cached = try evicting.withLock { (_) throws(Failure) in
            let places = try cache.places(of: ids)
            pins.note(places.compactMap(\.self), of: root)
            return places
        }
        let own = try published.places(of: ids)
        var missing = 0
        var passed: [ObjectId: Segment] = [:]
        for (index, segment) in segments.enumerated()
        where cached[index] == nil && own[index] == nil {
            if try hasSmallObject(segment.id) { continue }
            guard let bytes = transit?.segment(segment.id), bytes.count == segment.byteCount else {
                missing += 1
                continue
            }
            passed[segment.id] = Segment(
                id: segment.id,
                bytes: bytes,
                position: segment.position
            )
        }
        // Into the root's own image, which stays whole.
        if !passed.isEmpty {
            _ = try write(
                Array(passed.values),
                to: ImageOfRoot(root: root, segmentSize: segmentSize)
            )
        }
        return missing
    }

    /// Pins the contents with these roots and no others.
    package func pin(_ roots: Set<ObjectId>) {
        pins.replace(with: roots)
        isAllPinned.store(false, ordering: .relaxed)
    }

    /// The numbers of images that stay whole.
    func imagesOfPinnedRoots() throws(Failure) -> Set<Int> {
        var images: Set<Int> = []
        for root in pins.roots {
            if let number = try cache.index.image(forRoot: root) { images.insert(number) }
        }
        return images
    }
}
