package import CCNx
package import Failures
package import Store
internal import Synchronization

/// Reads one content (a template's disk, a carried file) through its manifest.
///
/// Two speeds: ``readResident(at:byteCount:into:)`` never waits and looks nothing up in SQLite;
/// ``read(at:byteCount:)`` fetches what is missing.
///
/// Concurrency: any thread. `leaves` guards the table of leaves; each leaf guards its places. Neither
/// lock is held while reading a file or waiting.
package final class SegmentedContent: Sendable {
    package let descriptor: ContentDescriptor
    package let prefix: Name
    package let manifest: ManifestReader
    private let store: LayeredStore
    private let leaves = Mutex<[Int: Leaf]>([:])

    /// Leaves kept in memory: 32 GiB of disk at 32 KiB segments, about 50 KiB each.
    private static let leafLimit = 1024
    /// Segments fetched at once for one read.
    private static let fetchesAtOnce = 32

    /// 1,024 segments: their ids, and where those lie that are here.
    private final class Leaf: Sendable {
        let ids: [ObjectId]
        let residents: Mutex<[LayeredStore.ResidentSegment?]>

        init(ids: [ObjectId], residents: [LayeredStore.ResidentSegment?]) {
            self.ids = ids
            self.residents = Mutex(residents)
        }
    }

    package init(_ descriptor: ContentDescriptor, prefix: Name, store: LayeredStore) {
        self.descriptor = descriptor
        self.prefix = prefix
        self.store = store
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

// MARK: - Reading what may have to come

extension SegmentedContent {
    /// `byteCount` bytes from `offset`, fewer only at the end of the content.
    package func read(at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8] {
        let end = min(offset + byteCount, descriptor.size)
        guard offset < end else { return [] }
        if let bytes = try residentBytes(offset..<end) { return bytes }
        let size = descriptor.segmentSize
        let segments = Array(offset / size...(end - 1) / size)
        for leafIndex in Set(segments.map { $0 / ManifestNode.fanout }) {
            _ = try await leaf(leafIndex)
        }
        if let bytes = try residentBytes(offset..<end) { return bytes }
        var pieces: [Int: [UInt8]] = [:]
        for start in stride(from: 0, to: segments.count, by: Self.fetchesAtOnce) {
            let some = segments[start..<min(start + Self.fetchesAtOnce, segments.count)]
            for (segment, result) in await segmentResults(some) {
                pieces[segment] = try result.get()
            }
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(end - offset)
        for segment in segments {
            guard let piece = pieces[segment] else { continue }
            let from = max(offset - segment * size, 0)
            let to = min(end - segment * size, piece.count)
            if from < to { bytes.append(contentsOf: piece[from..<to]) }
        }
        return bytes
    }

    private func residentBytes(_ range: Range<Int>) throws(Failure) -> [UInt8]? {
        var failure: Failure?
        var complete = false
        let bytes = [UInt8](capacity: range.count) { output in
            do throws(Failure) {
                let residency = try readResident(
                    at: range.lowerBound,
                    byteCount: range.count,
                    into: &output
                )
                if case .complete = residency { complete = true }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return complete ? bytes : nil
    }

    private func segmentResults(
        _ segments: ArraySlice<Int>
    ) async -> [(Int, Result<[UInt8], Failure>)] {
        await withTaskGroup { group in
            for segment in segments {
                group.addTask { (segment, await self.segmentResult(segment)) }
            }
            var results: [(Int, Result<[UInt8], Failure>)] = []
            for await result in group { results.append(result) }
            return results
        }
    }

    private func segmentResult(_ segment: Int) async -> Result<[UInt8], Failure> {
        do throws(Failure) {
            return .success(try await self.segment(segment))
        } catch {
            return .failure(error)
        }
    }

    /// All bytes of one segment.
    private func segment(_ segment: Int) async throws(Failure) -> [UInt8] {
        let size = descriptor.segmentSize
        let byteCount = descriptor.byteCount(ofSegment: segment)
        let leaf = try await leaf(segment / ManifestNode.fanout)
        let entry = segment % ManifestNode.fanout
        guard entry < leaf.ids.count, !leaf.ids[entry].isHole else {
            return [UInt8](repeating: 0, count: byteCount)
        }
        let id = leaf.ids[entry]
        let fetched: LayeredStore.Fetched
        do throws(Failure) {
            fetched = try await store.segment(
                ObjectRequest(id, under: prefix),
                position: segment,
                root: descriptor.root,
                segmentSize: size
            )
        } catch {
            throw error.wrapped(
                "bytes \(segment * size) to \(segment * size + byteCount - 1) of \(prefix) cannot"
                    + " be had"
            )
        }
        let bytes = fetched.bytes
        guard bytes.count == byteCount else {
            throw Failure(
                .corrupt,
                "segment \(id) of \(prefix) has \(bytes.count) bytes, its manifest says \(byteCount)"
            )
        }
        var resident = fetched.resident
        if resident == nil { resident = try store.residents(of: [id])[0] }
        leaf.residents.withLock { [resident] in $0[entry] = resident }
        return bytes
    }

    private func leaf(_ index: Int) async throws(Failure) -> Leaf {
        if let leaf = leaves.withLock({ $0[index] }) { return leaf }
        let ids = try await manifest.leaf(index)
        let leaf = Leaf(ids: ids, residents: try store.residents(of: ids))
        return leaves.withLock { leaves in
            if let other = leaves[index] { return other }
            if leaves.count >= Self.leafLimit { leaves.removeAll() }
            leaves[index] = leaf
            return leaf
        }
    }
}

// MARK: - Fetching all of it

extension SegmentedContent {
    /// Fetches what is not here, in order and after what anybody waits for.
    ///
    /// - Parameter progress: told bytes of data that were looked at, and how many of them came, after each few
    ///   segments; it may take its time.
    package func fetchAll(
        progress: (_ done: Int, _ fetched: Int) async throws(Failure) -> Void
    ) async throws(Failure) {
        var done = 0
        var fetched = 0
        for index in 0..<manifest.leafCount {
            let leaf = try await leaf(index)
            let entries = leaf.ids.indices.filter { !leaf.ids[$0].isHole }
            for start in stride(from: 0, to: entries.count, by: Self.fetchesAtOnce) {
                let some = entries[start..<min(start + Self.fetchesAtOnce, entries.count)]
                if Task.isCancelled {
                    throw Failure(.cancelled, "fetching \(prefix) was ended")
                }
                // Asked anew: what a reader found once may have been evicted since.
                let places = try store.residents(of: some.map { leaf.ids[$0] })
                let missing = zip(some, places).filter { $0.1 == nil }.map(\.0)
                let segments = missing.map { index * ManifestNode.fanout + $0 }
                let results = await FetchUrgency.$isBackground.withValue(true) {
                    await segmentResults(segments[...])
                }
                for (_, result) in results { fetched += try result.get().count }
                done += some.reduce(0) { sum, entry in
                    let segment = index * ManifestNode.fanout + entry
                    return sum + descriptor.byteCount(ofSegment: segment)
                }
                try await progress(done, fetched)
            }
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
