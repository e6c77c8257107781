internal import Failures
internal import Profiles
internal import Store
internal import Synchronization

/// Takes the segments of one disk, piece by piece in any order, and stores those not known yet.
///
/// Order of writes, for what is indexed to be there after a power cut: segment bytes into the image
/// file, fdatasync, index rows. A batch is synchronized by the thread that filled it while others go
/// on hashing.
///
/// Concurrency: any thread. `state` guards the bookkeeping and is never held while reading, hashing,
/// writing or synchronizing.
final class SegmentSink: Sendable {
    let segmentSize: Int
    private let store: ContentStore
    private let isDryRun: Bool
    private let state = Mutex(State())
    /// Held while the image file is made; before `state`.
    private let making = Mutex<Void>(())

    /// Segments whose bytes are synchronized at once: 64 MiB at the default size.
    private static let batchCount = 2048

    struct Counts: Sendable {
        var segments = 0
        var newSegments = 0
        var newBytes = 0
        var knownBytes = 0
    }

    private struct Segment {
        let position: Int
        let id: ObjectId
        let byteCount: Int
    }

    /// What waits for its turn in the manifest.
    private enum Piece {
        case segments([Segment])
        /// All segments of a manifest node, with the node.
        case leaf(ObjectId, index: Int)
    }

    private struct State {
        var image: SegmentImage?
        var pieces: [Int: Piece] = [:]
        var nextPiece = 0
        var manifest = ManifestBuilder()
        var nodes: [(id: ObjectId, bytes: [UInt8])] = []
        var storedNodes: [ObjectId] = []
        /// Stored, or to be stored, by this run; maybe not in the index yet.
        var claimed: Set<ObjectId> = []
        var unrecorded: [(id: ObjectId, place: SegmentPlace)] = []
        var counts = Counts()
    }

    init(store: ContentStore, segmentSize: Int, isDryRun: Bool) {
        self.store = store
        self.segmentSize = segmentSize
        self.isDryRun = isDryRun
    }

    var counts: Counts { state.withLock(\.counts) }

    /// Nodes of the manifest that are in the store, and the image that is written to.
    var stored: (nodes: [ObjectId], image: Int?) {
        state.withLock { ($0.storedNodes, $0.image?.number) }
    }

    /// Takes the bytes of piece number `piece`, which begins at segment `first`; empty for zeros.
    ///
    /// Pieces are numbered from 0 without a gap.
    func take(_ bytes: [UInt8], piece: Int, firstSegment first: Int) throws(Failure) {
        var segments: [Segment] = []
        let span = bytes.span
        for start in stride(from: 0, to: bytes.count, by: segmentSize) {
            let segment = span.extracting(start..<min(start + segmentSize, bytes.count))
            if segment.isZero { continue }
            segments.append(
                Segment(
                    position: first + start / segmentSize,
                    id: ObjectId(of: segment),
                    byteCount: segment.count
                )
            )
        }
        let wanted = try claimUnknown(segments)
        if !isDryRun { try write(wanted, from: span, firstSegment: first) }
        let batch = try finish(piece, segments, new: wanted)
        if !isDryRun { try record(batch) }
    }

    /// - Returns: those that are neither in the store nor claimed by an earlier piece of this run.
    private func claimUnknown(_ segments: [Segment]) throws(Failure) -> [Segment] {
        if segments.isEmpty { return [] }
        let places = try store.places(of: segments.map(\.id))
        return state.withLock { state in
            zip(segments, places).filter { segment, place in
                place == nil && state.claimed.insert(segment.id).inserted
            }.map(\.0)
        }
    }

    private func write(
        _ segments: [Segment],
        from span: Span<UInt8>,
        firstSegment first: Int
    ) throws(Failure) {
        guard let low = segments.first?.position, let high = segments.last?.position else { return }
        let image = try image()
        for segment in segments {
            let start = (segment.position - first) * segmentSize
            try image.write(
                span.extracting(start..<start + segment.byteCount),
                at: segment.position
            )
        }
        image.startWriteback(at: low, count: high - low + 1)
    }

    private func image() throws(Failure) -> SegmentImage {
        if let image = state.withLock(\.image) { return image }
        return try making.withLock { (_) throws(Failure) in
            if let image = state.withLock(\.image) { return image }
            let made = try store.makeImage(segmentSize: segmentSize)
            state.withLock { $0.image = made }
            return made
        }
    }

    /// Puts a piece into the manifest as soon as all before it are in.
    ///
    /// - Returns: a full batch to be recorded.
    private func finish(
        _ piece: Int,
        _ segments: [Segment],
        new: [Segment]
    ) throws(Failure) -> [(id: ObjectId, place: SegmentPlace)] {
        try state.withLock { (state) throws(Failure) in
            if let image = state.image {
                state.unrecorded += new.map { segment in
                    (
                        id: segment.id,
                        place: SegmentPlace(image: image.number, position: segment.position)
                    )
                }
            }
            state.counts.segments += segments.count
            state.counts.newSegments += new.count
            let newBytes = new.reduce(0) { $0 + $1.byteCount }
            state.counts.newBytes += newBytes
            state.counts.knownBytes += segments.reduce(0) { $0 + $1.byteCount } - newBytes
            state.pieces[piece] = .segments(segments)
            try Self.append(&state)
            guard state.unrecorded.count >= Self.batchCount else { return [] }
            defer { state.unrecorded.removeAll(keepingCapacity: true) }
            return state.unrecorded
        }
    }

    /// Puts all pieces into the manifest that are next.
    private static func append(_ state: inout State) throws(Failure) {
        var nodes: [(id: ObjectId, bytes: [UInt8])] = []
        let emit = { (id: ObjectId, bytes: [UInt8]) throws(Failure) in
            nodes.append((id: id, bytes: bytes))
        }
        while let ready = state.pieces.removeValue(forKey: state.nextPiece) {
            switch ready {
            case .leaf(let id, let index):
                try state.manifest.append(leaf: id, at: index, emit: emit)
            case .segments(let segments):
                for segment in segments {
                    try state.manifest.append(segment.id, at: segment.position, emit: emit)
                }
            }
            state.nextPiece += 1
        }
        state.nodes += nodes
    }

    /// Takes a segment's id for granted: the store has it, or its bytes come with it.
    struct Derived {
        let position: Int
        let id: ObjectId
        let byteCount: Int
        /// Nil: the segment is in the store.
        let bytes: [UInt8]?
    }

    /// Takes segments of piece number `piece`, in order of position; holes are left out.
    func take(_ derived: [Derived], piece: Int) throws(Failure) {
        let segments = derived.map {
            Segment(position: $0.position, id: $0.id, byteCount: $0.byteCount)
        }
        let wanted = try claimUnknown(segments)
        let positions = Set(wanted.map(\.position))
        if !isDryRun {
            for segment in derived where positions.contains(segment.position) {
                guard let bytes = segment.bytes else {
                    throw Failure(
                        .corrupt,
                        "segment \(segment.id) of the disk's template is not in the store"
                    )
                }
                try image().write(bytes.span, at: segment.position)
            }
        }
        let batch = try finish(piece, segments, new: wanted)
        if !isDryRun { try record(batch) }
    }

    /// Takes a whole manifest node that the store has, as piece number `piece`.
    func take(leaf id: ObjectId, at index: Int, piece: Int) throws(Failure) {
        try state.withLock { (state) throws(Failure) in
            state.pieces[piece] = .leaf(id, index: index)
            try Self.append(&state)
        }
    }

    /// Counts data of manifest nodes that were taken over whole.
    func noteKept(byteCount: Int) {
        state.withLock { state in
            state.counts.knownBytes += byteCount
            state.counts.segments += (byteCount + segmentSize - 1) / segmentSize
        }
    }

    private func record(_ batch: [(id: ObjectId, place: SegmentPlace)]) throws(Failure) {
        if !batch.isEmpty {
            try state.withLock(\.image)?.synchronize()
            try store.record(batch)
        }
        let nodes = state.withLock { state in
            defer { state.nodes.removeAll() }
            state.storedNodes += state.nodes.map(\.id)
            return state.nodes
        }
        if !nodes.isEmpty { try store.insert(nodes, durably: false) }
    }

    /// Records what was written so far of a disk that ends here, before its end.
    func recordRest() throws(Failure) {
        let rest = state.withLock { state in
            defer { state.unrecorded.removeAll() }
            return state.unrecorded
        }
        if !isDryRun { try record(rest) }
    }

    /// Stores the rest and the manifest of a disk of `size` bytes.
    func finish(size: Int) throws(Failure) -> ContentDescriptor {
        let (descriptor, rest) = try state.withLock { (state) throws(Failure) in
            precondition(state.pieces.isEmpty, "pieces have no gap")
            let descriptor = try state.manifest.finish(size: size, segmentSize: segmentSize) {
                (id, bytes) throws(Failure) in state.nodes.append((id: id, bytes: bytes))
            }
            return (descriptor, state.unrecorded)
        }
        if !isDryRun { try record(rest) }
        return descriptor
    }
}

extension Span<UInt8> {
    /// Nothing but zeros. Most segments that are not show it in their first bytes.
    var isZero: Bool {
        var index = 0
        while index < count {
            let end = Swift.min(index + 512, count)
            var bits: UInt8 = 0
            for i in index..<end { bits |= self[i] }
            if bits != 0 { return false }
            index = end
        }
        return true
    }
}
