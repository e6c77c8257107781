internal import Failures
internal import Profiles
internal import Store

/// Contents of a few segments (listings, carried files), kept as small objects.
enum SmallContent {
    static let segmentSize = ContentStore.smallObjectLimit

    /// Stores the bytes and their manifest; durable with the next durable insert.
    static func store(
        _ bytes: [UInt8],
        in store: ContentStore
    ) throws(Failure) -> ContentDescriptor {
        var objects: [(id: ObjectId, bytes: [UInt8])] = []
        let descriptor = try manifest(of: bytes) { id, bytes in
            objects.append((id: id, bytes: bytes))
        }
        try store.insert(objects, durably: false)
        return descriptor
    }

    /// The manifest of the bytes; `emit` gets every object of it once a mention.
    static func manifest(
        of bytes: [UInt8],
        emit: (ObjectId, [UInt8]) -> Void
    ) throws(Failure) -> ContentDescriptor {
        var builder = ManifestBuilder()
        for start in stride(from: 0, to: bytes.count, by: segmentSize) {
            let segment = Array(bytes[start..<min(start + segmentSize, bytes.count)])
            if segment.span.isZero { continue }
            let id = ObjectId(of: segment)
            emit(id, segment)
            try builder.append(id, at: start / segmentSize) { (id, bytes) throws(Failure) in
                emit(id, bytes)
            }
        }
        return try builder.finish(size: bytes.count, segmentSize: segmentSize) {
            (id, bytes) throws(Failure) in emit(id, bytes)
        }
    }
}
