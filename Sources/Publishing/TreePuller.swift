internal import CCNx
internal import Failures
internal import Profiles
internal import Store

/// Brings the content of a version from elsewhere into the published store: what is here already is not
/// asked for, and what came is durable in batches, so that the next try goes on from there.
///
/// A node that is here does not say that what it names is, so each leaf is looked through. The manifest is
/// made anew from the ids of the leaves and has to have the root that the record says.
struct TreePuller: Sendable {
    let store: ContentStore
    /// Asked for what is not here; gives bytes whose ids are right.
    let source: any ContentSource
    let gate: PublishingGate
    /// What is here of it, and is to stay until something names it.
    let claims: PullClaims

    struct Pulled: Sendable {
        /// Bytes of data looked at.
        var doneBytes = 0
        var pulledSegments = 0
        var pulledBytes = 0
    }

    /// Segments that are asked for at once; the source has a window of its own.
    private static let segmentsAtOnce = 64

    /// A disk.
    ///
    /// - Parameter note: told what has been done since the last time.
    func pull(
        _ content: ContentDescriptor,
        under prefix: Name,
        note: @Sendable (Pulled) -> Void
    ) async throws(Failure) {
        let sink = SegmentSink(
            store: store,
            segmentSize: content.segmentSize,
            isDryRun: false
        )
        let manifest = ManifestReader(
            content,
            prefix: prefix,
            source: StoredOrPulled(store: store, source: source)
        )
        do throws(Failure) {
            var piece = 0
            for index in 0..<manifest.leafCount {
                let ids = try await manifest.leaf(index)
                for start in stride(from: 0, to: max(ids.count, 1), by: Self.segmentsAtOnce) {
                    let part = ids[start..<min(start + Self.segmentsAtOnce, ids.count)]
                    let derived = try await segments(
                        part,
                        from: index * ManifestNode.fanout,
                        of: content,
                        under: prefix,
                        note: note
                    )
                    let number = piece
                    try await storing(sink) { () throws(Failure) in
                        try sink.take(derived, piece: number)
                    }
                    piece += 1
                }
            }
        } catch {
            // The next try finds it, or a reclaim frees it.
            try? await storing(sink) { () throws(Failure) in try sink.recordRest() }
            throw error
        }
        let made = try await storing(sink) { () throws(Failure) in
            try sink.finish(size: content.size)
        }
        guard made == content else {
            throw Failure(
                .corrupt,
                "the content of \(prefix) has root \(made.root), its record says \(content.root)"
            )
        }
        // In a turn: a reclaim would else see the segments claimed no more, and the content not yet.
        try await gate.turn { () throws(Failure) in claims.complete(content, under: prefix) }
    }

    /// Stores something of a content, between reclaims.
    private func storing<Value: Sendable>(
        _ sink: SegmentSink,
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        try await gate.turn { [claims] () async throws(Failure) in
            defer { claims.note(sink) }
            return try await Threads.run(body)
        }
    }

    private func segments(
        _ ids: ArraySlice<ObjectId>,
        from first: Int,
        of content: ContentDescriptor,
        under prefix: Name,
        note: @Sendable (Pulled) -> Void
    ) async throws(Failure) -> [SegmentSink.Derived] {
        let entries = ids.indices.filter { !ids[$0].isHole }
        let missing = try await gate.turn { () throws(Failure) in
            claims.claim(segments: entries.map { ids[$0] })
            return try self.missing(entries, of: ids, from: first, of: content)
        }
        let fetched = try await fetch(missing.map { (entry: $0, id: ids[$0]) }, under: prefix)
        var pulled = Pulled()
        var derived: [SegmentSink.Derived] = []
        for entry in entries {
            let position = first + entry
            let byteCount = content.byteCount(ofSegment: position)
            let bytes = fetched[entry]
            if let bytes, bytes.count != byteCount {
                throw Failure(
                    .corrupt,
                    "segment \(position) of \(prefix) has \(bytes.count) bytes, not \(byteCount)"
                )
            }
            pulled.doneBytes += byteCount
            if bytes != nil {
                pulled.pulledSegments += 1
                pulled.pulledBytes += byteCount
            }
            derived.append(
                .init(position: position, id: ids[entry], byteCount: byteCount, bytes: bytes)
            )
        }
        note(pulled)
        return derived
    }

    /// Entries of `ids` whose segments are not here.
    private func missing(
        _ entries: [Int],
        of ids: ArraySlice<ObjectId>,
        from first: Int,
        of content: ContentDescriptor
    ) throws(Failure) -> [Int] {
        let places = try store.places(of: entries.map { ids[$0] })
        var missing: [Int] = []
        for (entry, place) in zip(entries, places) {
            // One that lies in an image of shorter segments cannot be the one that is meant here.
            let room = try place.map { (place) throws(Failure) in
                try store.image(place.image).segmentSize
            }
            let byteCount = content.byteCount(ofSegment: first + entry)
            if room.map({ $0 < byteCount }) ?? true { missing.append(entry) }
        }
        return missing
    }

    private func fetch(
        _ wanted: [(entry: Int, id: ObjectId)],
        under prefix: Name
    ) async throws(Failure) -> [Int: [UInt8]] {
        let source = source
        let results = await withTaskGroup(
            of: (Int, Result<[UInt8], Failure>).self,
            returning: [(Int, Result<[UInt8], Failure>)].self
        ) { group in
            for (entry, id) in wanted {
                group.addTask {
                    do throws(Failure) {
                        return (
                            entry,
                            .success(try await source.object(ObjectRequest(id, under: prefix)))
                        )
                    } catch {
                        return (entry, .failure(error))
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        var fetched: [Int: [UInt8]] = [:]
        for (entry, result) in results { fetched[entry] = try result.get() }
        return fetched
    }

    /// A carried file: all of it small objects.
    func pullSmall(_ content: ContentDescriptor, under prefix: Name) async throws(Failure) {
        let source = StoredOrPulled(store: store, source: source)
        let manifest = ManifestReader(content, prefix: prefix, source: source)
        var all: Set<ObjectId> = []
        try await manifest.forEachObject { id, _ in all.insert(id) }
        for id in try await missing(Array(all)) {
            let bytes = try await source.object(ObjectRequest(id, under: prefix))
            guard bytes.count <= ContentStore.smallObjectLimit else {
                throw Failure(.tooLarge, "object \(id) of \(prefix) has \(bytes.count) bytes")
            }
            try await insert([(id: id, bytes: bytes)])
        }
    }

    /// Claims small objects.
    ///
    /// - Returns: those that are not here.
    func missing(_ objects: [ObjectId]) async throws(Failure) -> [ObjectId] {
        try await gate.turn { () throws(Failure) in
            claims.claim(objects: objects)
            var missing: [ObjectId] = []
            for id in objects where try !store.hasSmallObject(id) { missing.append(id) }
            return missing
        }
    }

    /// Stores small objects that were claimed.
    func insert(_ objects: [(id: ObjectId, bytes: [UInt8])]) async throws(Failure) {
        try await gate.turn { () throws(Failure) in
            _ = try store.insert(objects, durably: false)
        }
    }
}

/// What the published store has, or the source gives.
private struct StoredOrPulled: ContentSource {
    let store: ContentStore
    let source: any ContentSource

    func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        if let bytes = try store.anyObject(request.id) { return bytes }
        return try await source.object(request)
    }
}
