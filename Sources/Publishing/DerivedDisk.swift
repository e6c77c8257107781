package import Failures
package import Profiles
internal import Store

/// A VM's disk as it is published: mostly what its template has already.
package struct DerivedDisk: Sendable {
    /// Reads what a disk shows.
    package protocol Reader: Sendable {
        func read(at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8]
    }

    /// Bytes.
    let size: Int
    /// The content that shows through where nothing was changed, at the same offsets.
    let base: SegmentedContent?
    /// Bytes of the base's segments that are not holes, if that is known.
    let baseDataByteCount: Int?
    /// Where the disk may show something else than the base; zeros behind the base's end are the base.
    /// In order, apart from each other.
    let changed: [Range<Int>]
    let reader: any Reader

    package init(
        size: Int,
        base: SegmentedContent?,
        baseDataByteCount: Int?,
        changed: [Range<Int>],
        reader: any Reader
    ) {
        self.size = size
        self.base = base
        self.baseDataByteCount = baseDataByteCount
        self.changed = changed
        self.reader = reader
    }

    var segmentSize: Int? { base?.descriptor.segmentSize }
}

/// Feeds a derived disk to a sink: reads and hashes segments that have written blocks, and keeps the ids
/// of all others unread. Manifest nodes without a changed segment are taken over whole.
struct DerivedDiskReader {
    private let disk: DerivedDisk
    private let sink: SegmentSink
    private let store: ContentStore
    /// The whole base is in the store: publishing stored its root last.
    private let isBaseHere: Bool
    private let segmentSize: Int

    /// Segments that are handed on at once.
    private static let segmentsAtOnce = 32

    init(_ disk: DerivedDisk, sink: SegmentSink, store: ContentStore) throws(Failure) {
        self.disk = disk
        self.sink = sink
        self.store = store
        segmentSize = sink.segmentSize
        if let root = disk.base?.descriptor.root, !root.isHole {
            isBaseHere = try store.smallObject(root) != nil
        } else {
            isBaseHere = disk.base != nil
        }
    }

    /// - Parameter progress: told bytes done, of the disk's size, and bytes read.
    /// - Returns: bytes read.
    func read(progress: (_ done: Int, _ read: Int) -> Void) async throws(Failure) -> Int {
        let span = segmentSize * ManifestNode.fanout
        var piece = 0
        var read = 0
        var nextChange = 0
        // Data of the base in nodes that are not taken over.
        var replacedBytes = 0
        var keepsNodes = false
        for index in 0..<max(1, (disk.size + span - 1) / span) {
            let range = index * span..<min((index + 1) * span, disk.size)
            while nextChange < disk.changed.count,
                disk.changed[nextChange].upperBound <= range.lowerBound
            {
                nextChange += 1
            }
            let isChanged =
                nextChange < disk.changed.count
                && disk.changed[nextChange].lowerBound < range.upperBound
            if !isChanged, let id = try await keptNode(index, range) {
                try sink.take(leaf: id, at: index, piece: piece)
                keepsNodes = true
                piece += 1
            } else {
                let ids = try await baseIds(index)
                replacedBytes += baseBytes(ids, index)
                let (pieces, bytes) = try await readNode(
                    range,
                    ids,
                    changes: disk.changed[nextChange...],
                    firstPiece: piece
                )
                piece += pieces
                read += bytes
            }
            progress(range.upperBound, read)
        }
        if keepsNodes, let base = disk.base, let total = disk.baseDataByteCount {
            // Nodes behind the end of a disk that was cut off.
            for index in (disk.size + span - 1)
                / span..<max(
                    base.manifest.leafCount,
                    (disk.size + span - 1) / span
                )
            {
                replacedBytes += baseBytes(try await baseIds(index), index)
            }
            sink.noteKept(byteCount: max(0, total - replacedBytes))
        }
        return read
    }

    /// The base's node for a part of the disk that is the same in both; nil where it has to be made anew.
    private func keptNode(_ index: Int, _ range: Range<Int>) async throws(Failure) -> ObjectId? {
        guard let base = disk.base else { return .hole }
        let descriptor = base.descriptor
        if range.lowerBound >= descriptor.size { return .hole }
        let span = segmentSize * ManifestNode.fanout
        guard isBaseHere, disk.baseDataByteCount != nil, descriptor.levels > 0,
            range.upperBound == min((index + 1) * span, descriptor.size)
        else { return nil }
        return try await base.manifest.leafId(index)
    }

    private func baseIds(_ index: Int) async throws(Failure) -> [ObjectId] {
        guard let base = disk.base, index < base.manifest.leafCount else { return [] }
        return try await base.manifest.leaf(index)
    }

    private func baseBytes(_ ids: [ObjectId], _ index: Int) -> Int {
        guard let base = disk.base else { return 0 }
        return ids.indices.reduce(0) { count, entry in
            ids[entry].isHole
                ? count
                : count + baseByteCount(index * ManifestNode.fanout + entry, of: base)
        }
    }

    private func baseByteCount(_ segment: Int, of base: SegmentedContent) -> Int {
        max(0, base.descriptor.byteCount(ofSegment: segment))
    }

    private func readNode(
        _ range: Range<Int>,
        _ ids: [ObjectId],
        changes: ArraySlice<Range<Int>>,
        firstPiece: Int
    ) async throws(Failure) -> (pieces: Int, readBytes: Int) {
        var changes = changes
        var pieces = 0
        var readBytes = 0
        let here = isBaseHere ? nil : try store.places(of: ids)
        let first = range.lowerBound / segmentSize
        let last = (range.upperBound + segmentSize - 1) / segmentSize
        for start in stride(from: first, to: last, by: Self.segmentsAtOnce) {
            var derived: [SegmentSink.Derived] = []
            for segment in start..<min(start + Self.segmentsAtOnce, last) {
                let bytes = segment * segmentSize..<min((segment + 1) * segmentSize, disk.size)
                while let change = changes.first, change.upperBound <= bytes.lowerBound {
                    changes = changes.dropFirst()
                }
                let entry = segment - first
                let id = entry < ids.count ? ids[entry] : .hole
                let isChanged = changes.first.map { $0.lowerBound < bytes.upperBound } ?? false
                let isWhole =
                    id.isHole
                    || disk.base.map { baseByteCount(segment, of: $0) == bytes.count } ?? true
                let isHere = id.isHole || here.map { $0[entry] != nil } ?? true
                if !isChanged, isWhole, isHere {
                    if id.isHole { continue }
                    derived.append(
                        .init(position: segment, id: id, byteCount: bytes.count, bytes: nil)
                    )
                    continue
                }
                let content = try await disk.reader.read(
                    at: bytes.lowerBound,
                    byteCount: bytes.count
                )
                guard content.count == bytes.count else {
                    throw Failure(.io, "the disk ends before byte \(bytes.upperBound)")
                }
                readBytes += bytes.count
                if content.span.isZero { continue }
                derived.append(
                    .init(
                        position: segment,
                        id: ObjectId(of: content),
                        byteCount: bytes.count,
                        bytes: content
                    )
                )
            }
            let piece = firstPiece + pieces
            try await Threads.run { [sink, derived] () throws(Failure) in
                try sink.take(derived, piece: piece)
            }
            pieces += 1
        }
        return (pieces, readBytes)
    }
}
