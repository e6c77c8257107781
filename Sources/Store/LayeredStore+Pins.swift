package import Failures
internal import Synchronization

extension LayeredStore {
    /// Keeps segments of a pinned content from being evicted, wherever in the cache they lie. What only passed
    /// through for others is taken into the cache.
    ///
    /// - Parameter segments: with their positions in the content; no holes.
    /// - Returns: how many of them are nowhere here.
    package func hold(
        _ segments: [(position: Int, id: ObjectId)],
        of root: ObjectId,
        segmentSize: Int
    ) throws(Failure) -> Int {
        let ids = segments.map(\.id)
        pins.note(try cache.places(of: ids).compactMap(\.self), of: root)
        // Looked at again: what was evicted just before it was noted is not here any more.
        let cached = try cache.places(of: ids)
        let own = try published.places(of: ids)
        var missing = 0
        var passed: [Segment] = []
        for (index, segment) in segments.enumerated()
        where cached[index] == nil && own[index] == nil {
            if try hasSmallObject(segment.id) { continue }
            guard let bytes = transit?.segment(segment.id) else {
                missing += 1
                continue
            }
            passed.append(Segment(id: segment.id, bytes: bytes, position: segment.position))
        }
        // Into the root's own image, which stays whole.
        if !passed.isEmpty {
            _ = try write(passed, to: ImageOfRoot(root: root, segmentSize: segmentSize))
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
