internal import Dispatch
package import Failures
package import Logging
internal import Synchronization

/// The node's content: what was published here, over what is cached here, over a source elsewhere.
///
/// `object(_:)` asks the layers in turn. What a source gives is checked against its id, kept in the
/// cache when there is room, and handed on either way: a full or broken cache slows reads down and
/// never fails them. Concurrent requests for one id share one fetch; see LayeredStore+Fetching.
///
/// Concurrency: any thread. `flights` guards the fetches under way, `toKeep` what waits to be written by
/// `keeper`.
package final class LayeredStore: ContentSource {
    /// What exists nowhere else: content that was published on this node.
    package let published: ContentStore
    /// What can be fetched again.
    package let cache: ContentStore
    /// What passed through for others; nil if nothing is kept of it.
    package let transit: TransitStore?
    package let counters = StoreCounters()
    let source: any ContentSource
    private let cacheLimit: Int
    let logger: Logger
    let flights = Mutex(Flights())
    let toKeep = Mutex<[Keeping]>([])
    let keeper = DispatchQueue(label: "ccnfs.keeper")

    private let cacheByteCount = Mutex<Int?>(nil)
    /// What is never evicted.
    let pins = CachePins()
    /// Held while what is evicted is chosen and freed.
    let evicting = Mutex<Void>(())
    /// The last eviction found nothing that may go; no other is tried until something changes.
    let isAllPinned = Atomic<Bool>(false)
    /// The cache did not take the last object; told once.
    let isRefusing = Atomic<Bool>(false)
    private let isCacheBroken = Atomic<Bool>(false)

    /// - Parameter cacheLimit: bytes of segments the cache may hold before it evicts.
    package init(
        published: ContentStore,
        cache: ContentStore,
        transit: TransitStore? = nil,
        source: any ContentSource,
        cacheLimit: Int = .max,
        logger: Logger
    ) {
        self.published = published
        self.cache = cache
        self.transit = transit
        self.source = source
        self.cacheLimit = cacheLimit
        self.logger = logger
        for (home, store) in [("published", published), ("cache", cache)] {
            store.onDamage { [counters] id in
                counters.damagedSegments.add(1, ordering: .relaxed)
                logger.error(
                    "damaged segment dropped",
                    metadata: ["id": "\(id)", "home": "\(home)"]
                )
            }
        }
    }
}

// MARK: - What is here

extension LayeredStore {
    /// A segment that can be read now, without the index.
    package struct ResidentSegment: Sendable {
        package let image: SegmentImage
        package let position: Int
    }

    /// Where the segments are, nil where one is not here. One index look-up each: not for the hit path.
    package func residents(of ids: [ObjectId]) throws(Failure) -> [ResidentSegment?] {
        var residents = [ResidentSegment?](repeating: nil, count: ids.count)
        try fill(&residents, of: ids, from: published)
        do throws(Failure) {
            try fill(&residents, of: ids, from: cache)
        } catch {
            noteBrokenCache(error)
        }
        fillFromTransit(&residents, of: ids)
        return residents
    }

    private func fillFromTransit(_ residents: inout [ResidentSegment?], of ids: [ObjectId]) {
        guard let transit else { return }
        let missing = ids.indices.filter { residents[$0] == nil && !ids[$0].isHole }
        if missing.isEmpty { return }
        for (i, resident) in zip(missing, transit.residents(of: missing.map { ids[$0] })) {
            residents[i] = resident
        }
    }

    private func fill(
        _ residents: inout [ResidentSegment?],
        of ids: [ObjectId],
        from store: ContentStore
    ) throws(Failure) {
        let missing = ids.indices.filter { residents[$0] == nil && !ids[$0].isHole }
        if missing.isEmpty { return }
        let places = try store.places(of: missing.map { ids[$0] })
        for (i, place) in zip(missing, places) {
            guard let place else { continue }
            residents[i] = ResidentSegment(
                image: try store.image(place.image),
                position: place.position
            )
        }
    }

    /// What the cache cannot give comes from the source: a broken cache only slows reads down.
    private func noteBrokenCache(_ failure: Failure) {
        let isFirst = !isCacheBroken.exchange(true, ordering: .relaxed)
        guard isFirst else { return }
        logger.error(
            "the cache cannot be read; content is fetched instead",
            metadata: [
                "cause": "\(failure)", "remedy": "stop the node, delete the cache directory",
            ]
        )
    }

    /// An object that is here, checked; nil otherwise. For answering the Interests of others.
    package func localObject(_ id: ObjectId) throws(Failure) -> [UInt8]? {
        if let bytes = try published.anyObject(id) { return bytes }
        do throws(Failure) {
            if let bytes = try cache.anyObject(id) { return bytes }
        } catch {
            noteBrokenCache(error)
        }
        return transit?.segment(id)
    }

    /// True if it is here as a small object, such as a part of a carried file.
    package func hasSmallObject(_ id: ObjectId) throws(Failure) -> Bool {
        if try published.hasSmallObject(id) { return true }
        return try cache.hasSmallObject(id)
    }

    /// Drops a damaged segment from whichever layer has it.
    package func dropDamaged(_ id: ObjectId, because failure: Failure) throws(Failure) {
        var isDropped = false
        for store in [published, cache] where try store.dropIfDamaged(id) { isDropped = true }
        if transit?.dropIfDamaged(id) == true { isDropped = true }
        if isDropped { isAllPinned.store(false, ordering: .relaxed) }
        // Evicted, or dropped and fetched again, since it was read: then there is no damage any more.
        guard isDropped else { return }
        counters.damagedSegments.add(1, ordering: .relaxed)
        logger.error(
            "damaged segment dropped",
            metadata: ["id": "\(id)", "cause": "\(failure)"]
        )
    }
}

// MARK: - Room in the cache

extension LayeredStore {
    /// Bytes freed at once when the cache is full.
    package static let evictionByteCount = 64 << 20

    /// The cache holds so many bytes more.
    func noteKept(_ byteCount: Int) {
        cacheByteCount.withLock { $0 = $0.map { $0 + byteCount } }
        isAllPinned.store(false, ordering: .relaxed)
    }

    func makeRoom(for byteCount: Int) throws(Failure) {
        guard cacheLimit < .max else { return }
        let used = try cachedByteCount()
        guard used + byteCount > cacheLimit else { return }
        let wanted = max(byteCount, min(Self.evictionByteCount, cacheLimit / 4))
        let freed =
            isAllPinned.load(ordering: .relaxed) ? 0 : try evict(byteCount: wanted)
        guard freed > 0 || pins.isEmpty else {
            throw Failure(
                .noSpace,
                "the cache is full of what is kept",
                hint: "let it be larger, or keep less: ccnfs unkeep"
            )
        }
    }

    private func cachedByteCount() throws(Failure) -> Int {
        try cacheByteCount.withLock { (known) throws(Failure) in
            if let known { return known }
            let counted = try cache.usage().imageByteCount
            known = counted
            return counted
        }
    }

    /// Frees at least `byteCount` bytes of segments, those of the longest unused images first; none that is
    /// pinned.
    ///
    /// - Returns: the bytes freed; less than asked for when the cache has no more.
    @discardableResult
    package func evict(byteCount: Int) throws(Failure) -> Int {
        try evicting.withLock { (_) throws(Failure) in try evictUnlocked(byteCount: byteCount) }
    }

    private func evictUnlocked(byteCount: Int) throws(Failure) -> Int {
        var freed = 0
        let wholeImages = try imagesOfPinnedRoots()
        let places = pins.places
        let loose = try cache.allSegments().filter { segment in
            !wholeImages.contains(segment.place.image) && !places.contains(segment.place)
        }
        let groups = Dictionary(grouping: loose, by: \.place.image)
        var images: [(image: SegmentImage, segments: [(id: ObjectId, place: SegmentPlace)])] = []
        for (number, segments) in groups {
            images.append((image: try cache.image(number), segments: segments))
        }
        images.sort { $0.image.lastUse < $1.image.lastUse }
        for (image, segments) in images where freed < byteCount {
            let wanted = (byteCount - freed) / image.segmentSize + 1
            freed += try cache.free(Array(segments.prefix(wanted)))
        }
        isAllPinned.store(freed == 0 && !pins.isEmpty, ordering: .relaxed)
        counters.evictedBytes.add(freed, ordering: .relaxed)
        cacheByteCount.withLock { $0 = nil }
        return freed
    }

    /// Frees what can be fetched again, for somebody who needs the disk's room more. What passed through for
    /// others goes first.
    ///
    /// - Returns: the bytes freed; 0 when there is no more.
    package func giveUp(byteCount: Int) throws(Failure) -> Int {
        let freed = try transit?.free(byteCount: byteCount) ?? 0
        return freed > 0 ? freed : try evict(byteCount: byteCount)
    }

    /// Frees all segments that can be fetched again. Records and manifests stay: without them a template
    /// could not even be listed while its repository is away.
    package func evictAll() throws(Failure) -> Int {
        try evict(byteCount: .max) + (transit?.free(byteCount: .max) ?? 0)
    }
}
