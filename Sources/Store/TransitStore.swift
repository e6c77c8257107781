package import Failures
internal import Synchronization

/// Segments that passed through this node on their way to others, by id.
///
/// Their places on a disk are not known, so images are filled from their first position on, one image for
/// each size of segment at a time, and removed whole, the oldest first, when there are more bytes than the
/// limit. A node that starts goes on with the last image of each size. It lies beside the cache and not in it: however much passes, nothing that was fetched for readers
/// of this node is evicted for it.
///
/// Invariant: a position is filled once, by whichever run, and no number of an image is used again in a run, so that whoever
/// remembers a place finds its segment or nothing there.
///
/// Concurrency: any thread. `filling` is held by one who fills or removes; who reads does not take it.
package final class TransitStore: Sendable {
    private let content: ContentStore
    private let limit: Int
    private let filling = Mutex(Filling())
    private let hasContent: Atomic<Bool>
    private let keptSegments = Atomic<Int>(0)
    private let foundSegments = Atomic<Int>(0)

    /// The sizes that disks are cut into; what has another size is not kept.
    package static let segmentSizes: Set<Int> = [4 << 10, 8 << 10, 16 << 10, 32 << 10]
    /// Images that the limit is divided into: how much goes at once.
    private static let imageCount = 16
    /// Image files at most, each of which may be open. Full ones are about twice ``imageCount`` at most.
    private static let fileLimit = 64

    private struct Filling {
        /// Bytes of each image, by its number; nil until it was looked at what is there.
        var byteCounts: [Int: Int]?
        /// The image that is being filled and its first free position, by size of segment.
        var current: [Int: (image: SegmentImage, next: Int)] = [:]
        var lastNumber = 0

        var byteCount: Int { byteCounts?.values.reduce(0, +) ?? 0 }
    }

    /// - Parameters:
    ///   - directory: made when absent; the caller holds the lock of the home it is in.
    ///   - limit: bytes of segments, at least 1.
    package init(directory: String, limit: Int) throws(Failure) {
        content = try ContentStore(directory: directory)
        self.limit = limit
        hasContent = Atomic(try !content.imageFiles().isEmpty)
    }
}

// MARK: - What is here

extension TransitStore {
    /// The segment's bytes, checked; nil when it is not here.
    package func segment(_ id: ObjectId) -> [UInt8]? {
        guard hasContent.load(ordering: .relaxed) else { return nil }
        // Its image may be removed at the same moment; whatever it is, it can be fetched.
        guard let bytes = try? content.segment(id) else { return nil }
        foundSegments.add(1, ordering: .relaxed)
        return bytes
    }

    /// Where segments lie that can be read, nil where one is not here.
    func residents(of ids: [ObjectId]) -> [LayeredStore.ResidentSegment?] {
        let nothing = [LayeredStore.ResidentSegment?](repeating: nil, count: ids.count)
        guard hasContent.load(ordering: .relaxed), let places = try? content.places(of: ids) else {
            return nothing
        }
        return places.map { place in
            guard let place, let image = try? content.image(place.image) else { return nil }
            return LayeredStore.ResidentSegment(image: image, position: place.position)
        }
    }

    /// - Returns: false if it is well, or not here.
    func dropIfDamaged(_ id: ObjectId) -> Bool {
        (try? content.dropIfDamaged(id)) ?? false
    }

    package struct Usage: Sendable, Codable {
        /// Bytes that the image files take on disk.
        package var byteCount = 0
        /// In this run.
        package var keptSegments = 0
        /// Look-ups in this run that found one here.
        package var foundSegments = 0

        package init() {}
    }

    package var usage: Usage {
        var usage = Usage()
        // Whoever looks is not refused everything else because of a store that nobody needs.
        usage.byteCount = (try? content.usage().imageByteCount) ?? 0
        usage.keptSegments = keptSegments.load(ordering: .relaxed)
        usage.foundSegments = foundSegments.load(ordering: .relaxed)
        return usage
    }
}

// MARK: - What passes

extension TransitStore {
    /// Keeps a segment, whose bytes are those of its id, if it has one of the sizes that are kept.
    package func keep(_ bytes: [UInt8], id: ObjectId) throws(Failure) {
        guard Self.segmentSizes.contains(bytes.count), bytes.count <= limit else { return }
        try filling.withLock { (filling) throws(Failure) in
            guard try content.places(of: [id])[0] == nil else { return }
            do throws(Failure) {
                try makeRoom(for: bytes.count, &filling)
                try write(bytes, id, &filling)
            } catch {
                // Others need the room of a full disk more.
                if error.kind == .noSpace { _ = try removeOldest(&filling) }
                throw error
            }
        }
    }

    /// Removes the oldest images.
    ///
    /// - Returns: the bytes freed: at least `byteCount`, or all there were.
    @discardableResult
    package func free(byteCount: Int) throws(Failure) -> Int {
        try filling.withLock { (filling) throws(Failure) in
            try look(&filling)
            var freed = 0
            while freed < byteCount, let bytes = try removeOldest(&filling) { freed += bytes }
            return freed
        }
    }

    private func makeRoom(for byteCount: Int, _ filling: inout Filling) throws(Failure) {
        try look(&filling)
        while filling.byteCount + byteCount > limit
            || filling.byteCounts.map({ $0.count > Self.fileLimit }) ?? false
        {
            guard try removeOldest(&filling) != nil else { return }
        }
    }

    /// What earlier runs left; the last image of each size is filled further.
    private func look(_ filling: inout Filling) throws(Failure) {
        guard filling.byteCounts == nil else { return }
        var byteCounts: [Int: Int] = [:]
        var last: [Int: ContentStore.ImageFile] = [:]
        for file in try content.imageFiles() {
            byteCounts[file.number] = file.allocatedByteCount
            last[file.segmentSize] = file
        }
        for (size, file) in last where Self.segmentSizes.contains(size) {
            let next = try content.endPosition(of: file)
            guard hasRoom(at: next, size) else { continue }
            filling.current[size] = (image: try content.image(file.number), next: next)
        }
        filling.lastNumber = byteCounts.keys.max() ?? 0
        filling.byteCounts = byteCounts
    }

    /// Whether an image has a place for a segment at this position.
    private func hasRoom(at position: Int, _ size: Int) -> Bool {
        (position + 1) * size <= max(limit / Self.imageCount, size)
    }

    private func write(
        _ bytes: [UInt8],
        _ id: ObjectId,
        _ filling: inout Filling
    ) throws(Failure) {
        let size = bytes.count
        let image: SegmentImage
        if let current = filling.current[size]?.image {
            image = current
        } else {
            image = try content.makeImage(segmentSize: size, after: filling.lastNumber)
            filling.lastNumber = image.number
            filling.byteCounts?[image.number] = 0
            filling.current[size] = (image: image, next: 0)
            hasContent.store(true, ordering: .relaxed)
        }
        let position = filling.current[size]?.next ?? 0
        // Whatever becomes of this write, the position is used.
        filling.current[size]?.next = position + 1
        filling.byteCounts?[image.number, default: 0] += size
        if !hasRoom(at: position + 1, size) { filling.current[size] = nil }
        try content.keep([(id, bytes, at: position)], of: image)
        keptSegments.add(1, ordering: .relaxed)
    }

    /// - Returns: the bytes freed; nil if there is no image.
    private func removeOldest(_ filling: inout Filling) throws(Failure) -> Int? {
        guard let oldest = filling.byteCounts?.keys.min() else { return nil }
        try content.removeImage(oldest)
        filling.current = filling.current.filter { $0.value.image.number != oldest }
        return filling.byteCounts?.removeValue(forKey: oldest)
    }
}
