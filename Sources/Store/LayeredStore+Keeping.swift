internal import Dispatch
internal import Failures
internal import Synchronization

/// Writing to the cache what was fetched: all that came while the last ones were written in one
/// transaction.
extension LayeredStore {
    struct Segment: Sendable {
        let id: ObjectId
        let bytes: [UInt8]
        let position: Int
    }

    struct ImageOfRoot: Hashable, Sendable {
        let root: ObjectId
        let segmentSize: Int
    }

    struct Keeping: Sendable {
        let segment: Segment
        let image: ImageOfRoot
        let completion: @Sendable (Result<ResidentSegment, Failure>) -> Void
    }

    /// - Returns: where it can be read from now on.
    func keep(
        _ segment: Segment,
        in image: ImageOfRoot
    ) async throws(Failure) -> ResidentSegment {
        let result = await withCheckedContinuation { continuation in
            let keeping = Keeping(segment: segment, image: image) {
                continuation.resume(returning: $0)
            }
            let isFirst = toKeep.withLock { toKeep in
                toKeep.append(keeping)
                return toKeep.count == 1
            }
            if isFirst { keeper.async { self.keepWhatWaits() } }
        }
        return try result.get()
    }

    private func keepWhatWaits() {
        let batch = toKeep.withLock { toKeep in
            defer { toKeep = [] }
            return toKeep
        }
        for (image, group) in Dictionary(grouping: batch, by: \.image) {
            do throws(Failure) {
                let image = try write(group.map(\.segment), to: image)
                for item in group {
                    let position = item.segment.position
                    item.completion(.success(ResidentSegment(image: image, position: position)))
                }
            } catch {
                for item in group { item.completion(.failure(error)) }
            }
        }
    }

    func write(
        _ segments: [Segment],
        to key: ImageOfRoot
    ) throws(Failure) -> SegmentImage {
        let byteCount = segments.reduce(0) { $0 + $1.bytes.count }
        let image: SegmentImage
        try makeRoom(for: byteCount)
        do throws(Failure) {
            image = try writeOnce(segments, to: key)
        } catch  where error.kind == .noSpace {
            guard try giveUp(byteCount: Self.evictionByteCount) > 0 else { throw error }
            image = try writeOnce(segments, to: key)
        }
        noteKept(byteCount)
        return image
    }

    private func writeOnce(
        _ segments: [Segment],
        to key: ImageOfRoot
    ) throws(Failure) -> SegmentImage {
        let image = try cache.image(forRoot: key.root, segmentSize: key.segmentSize)
        try cache.keep(segments.map { ($0.id, $0.bytes, at: $0.position) }, of: image)
        return image
    }
}
