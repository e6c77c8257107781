package import CCNx
package import Failures
internal import Files
package import Store
internal import Synchronization

/// Reads one content (a template's disk, a carried file) through its manifest.
///
/// Two speeds: ``readResident(at:byteCount:into:)`` never waits and looks nothing up in SQLite;
/// ``read(at:byteCount:)`` fetches what is missing, and what a sequential reader will miss next.
///
/// Concurrency: any thread. `leaves` guards the table of leaves; each leaf guards its places; `readAhead`
/// guards what is known of readers. No lock is held while reading a file or waiting.
package final class SegmentedContent: Sendable {
    package let descriptor: ContentDescriptor
    package let prefix: Name
    package let manifest: ManifestReader
    let store: LayeredStore
    let leaves = Guarded<[Int: Leaf]>([:])
    let readAhead: Guarded<ReadAhead>
    /// Whether ``readAhead`` wants to be told of reads that found everything here.
    let hasSequentialReaders = Atomic<Bool>(false)
    let hasPrefetchedManifest = Atomic<Bool>(false)

    /// 1,024 segments: their ids, and where those lie that are here.
    final class Leaf: Sendable {
        let ids: [ObjectId]
        let residents: Guarded<[LayeredStore.ResidentSegment?]>

        init(ids: [ObjectId]) {
            self.ids = ids
            residents = Guarded(Array(repeating: nil, count: ids.count))
        }
    }

    package init(_ descriptor: ContentDescriptor, prefix: Name, store: LayeredStore) {
        self.descriptor = descriptor
        self.prefix = prefix
        self.store = store
        readAhead = Guarded(ReadAhead(segmentSize: descriptor.segmentSize))
        manifest = ManifestReader(descriptor, prefix: prefix, source: store)
    }
}

/// Whether a range could be read without waiting.
package enum Residency: Sendable {
    case complete
    case missing
}

// MARK: - Reading what is here

extension SegmentedContent {
    /// Appends `byteCount` bytes from `offset`, inside the content, to `output`; or nothing.
    ///
    /// - Throws: only what the disk below says; damage is dropped and reported as `.missing`.
    package func readResident(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Residency {
        let residency = try appendResident(at: offset, byteCount: byteCount, into: &output)
        if case .complete = residency, hasSequentialReaders.load(ordering: .relaxed) {
            noteRead(offset..<offset + byteCount)
        }
        return residency
    }

    func appendResident(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Residency {
        let before = output.count
        var position = offset
        let end = offset + byteCount
        while position < end {
            let run = nextRun(at: position, end: end)
            switch run {
            case .unknown:
                output.removeLast(output.count - before)
                return .missing
            case .hole(let count):
                output.append(repeating: 0, count: count)
                position += count
            case .resident(let leaf, let entry, let resident, let count):
                let inSegment = position % descriptor.segmentSize
                let result = try resident.image.readResident(
                    at: resident.position * resident.image.segmentSize + inSegment,
                    byteCount: count,
                    into: &output,
                    id: { leaf.ids[entry + $0 - resident.position] }
                )
                switch result {
                case .complete:
                    position += count
                case .missing:
                    output.removeLast(output.count - before)
                    return .missing
                case .damaged(let failedPosition, let failure):
                    output.removeLast(output.count - before)
                    let id = leaf.ids[entry + failedPosition - resident.position]
                    try store.dropDamaged(id, because: failure)
                    return .missing
                }
            }
        }
        return .complete
    }

    private enum Run {
        case unknown
        case hole(byteCount: Int)
        case resident(Leaf, entry: Int, LayeredStore.ResidentSegment, byteCount: Int)
    }

    /// The longest run from `position` that is one hole or lies in one piece of one image file.
    private func nextRun(at position: Int, end: Int) -> Run {
        if descriptor.root.isHole { return .hole(byteCount: end - position) }
        let size = descriptor.segmentSize
        let segment = position / size
        guard let leaf = leaves.withLock({ $0[segment / ManifestNode.fanout] }) else {
            return .unknown
        }
        let entry = segment % ManifestNode.fanout
        let lastEntry = min((end - 1) / size - segment + entry, ManifestNode.fanout - 1)
        func byteCount(through last: Int) -> Int {
            min(end, (segment - entry + last + 1) * size) - position
        }
        guard entry < leaf.ids.count, !leaf.ids[entry].isHole else {
            var last = entry
            while last < lastEntry, last + 1 >= leaf.ids.count || leaf.ids[last + 1].isHole {
                last += 1
            }
            return .hole(byteCount: byteCount(through: last))
        }
        return leaf.residents.withLock { residents in
            guard let first = residents[entry] else { return .unknown }
            var last = entry
            // A short segment may lie in an image of longer ones: equal segments are one.
            let joins = first.image.segmentSize == size
            while joins, last < lastEntry, last + 1 < residents.count,
                let next = residents[last + 1], next.image === first.image,
                next.position == first.position + last + 1 - entry
            {
                last += 1
            }
            let count = byteCount(through: last)
            // A manifest that names a shorter segment than its place has: not beyond that one.
            guard joins || position % size + count <= first.image.segmentSize else {
                return .unknown
            }
            return .resident(leaf, entry: entry, first, byteCount: count)
        }
    }
}

// MARK: - What is data, what is here

extension SegmentedContent {
    /// The start of the next data (`true`) or hole (`false`) at or after `offset`.
    ///
    /// - Returns: nil when there is no more data; the size when no hole comes before the end.
    package func next(data: Bool, from offset: Int) async throws(Failure) -> Int? {
        let size = descriptor.segmentSize
        var segment = offset / size
        while segment * size < descriptor.size {
            let ids = try await leaf(segment / ManifestNode.fanout).ids
            let entry = segment % ManifestNode.fanout
            let isData = entry < ids.count && !ids[entry].isHole
            if isData == data { return max(offset, segment * size) }
            // Past the last id of a leaf only holes follow.
            let skipsLeaf = !isData && entry >= ids.count
            segment += skipsLeaf ? ManifestNode.fanout - entry : 1
        }
        return data ? nil : descriptor.size
    }

    /// The ids of all segments that begin inside `range`, with their positions; holes left out.
    package func segments(
        in range: Range<Int>
    ) async throws(Failure) -> [(position: Int, id: ObjectId)] {
        var found: [(position: Int, id: ObjectId)] = []
        let size = descriptor.segmentSize
        guard !range.isEmpty else { return [] }
        for leafIndex in range.lowerBound / size / ManifestNode.fanout...(range.upperBound - 1)
            / size / ManifestNode.fanout
        {
            let ids = try await manifest.leaf(leafIndex)
            for (entry, id) in ids.enumerated() where !id.isHole {
                let position = leafIndex * ManifestNode.fanout + entry
                if range.contains(position * size) { found.append((position: position, id: id)) }
            }
        }
        return found
    }

    /// Bytes of data that are here, and bytes of data in all.
    package func localByteCount() async throws(Failure) -> (local: Int, data: Int) {
        var local = 0
        var data = 0
        for index in 0..<manifest.leafCount {
            let ids = try await manifest.leaf(index)
            let residents = try store.residents(of: ids)
            for (entry, id) in ids.enumerated() where !id.isHole {
                let segment = index * ManifestNode.fanout + entry
                let byteCount = descriptor.byteCount(ofSegment: segment)
                data += byteCount
                var isLocal = residents[entry] != nil
                if !isLocal { isLocal = try store.hasSmallObject(id) }
                if isLocal { local += byteCount }
            }
        }
        return (local, data)
    }
}
