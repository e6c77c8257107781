internal import CCNx
package import Failures
internal import Files
internal import Store
internal import Synchronization

// MARK: - Reading what may have to come

extension SegmentedContent {
    /// Segments fetched at once for one read.
    private static let fetchesAtOnce = 32

    /// `byteCount` bytes from `offset`, fewer only at the end of the content.
    package func read(at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8] {
        let end = min(offset + byteCount, descriptor.size)
        guard offset < end else { return [] }
        if let bytes = try residentBytes(offset..<end) {
            noteRead(offset..<end)
            return bytes
        }
        prefetchManifest()
        let size = descriptor.segmentSize
        let segments = offset / size...(end - 1) / size
        readAhead(of: segments, missed: true)
        let missing = try await missing(of: segments)
        var pieces: [Int: [UInt8]] = [:]
        for start in stride(from: 0, to: missing.count, by: Self.fetchesAtOnce) {
            let some = missing[start..<min(start + Self.fetchesAtOnce, missing.count)]
            for (segment, result) in await fetch(some) { pieces[segment] = try result.get() }
        }
        if pieces.isEmpty, let bytes = try residentBytes(offset..<end) { return bytes }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(end - offset)
        for segment in segments {
            let from = max(offset, segment * size)
            let to = min(end, (segment + 1) * size)
            if pieces[segment] == nil, let here = try residentBytes(from..<to) {
                bytes += here
                continue
            }
            // Not here any more: evicted since it was looked for.
            var piece = pieces[segment]
            if piece == nil { piece = try await self.segment(segment, wasLookedFor: false) }
            if let piece { bytes += piece[from - segment * size..<to - segment * size] }
        }
        return bytes
    }

    private func residentBytes(_ range: Range<Int>) throws(Failure) -> [UInt8]? {
        var failure: Failure?
        var complete = false
        let bytes = [UInt8](capacity: range.count) { output in
            do throws(Failure) {
                let residency = try appendResident(
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

    /// Those of `segments`, in their order, that are not here; it is noted where the others are.
    private func missing(of segments: some Sequence<Int>) async throws(Failure) -> [Int] {
        var missing: [Int] = []
        for (index, some) in Dictionary(grouping: segments, by: { $0 / ManifestNode.fanout })
            .sorted(by: { $0.key < $1.key })
        {
            let leaf = try await leaf(index)
            let entries = some.map { $0 % ManifestNode.fanout }
                .filter { $0 < leaf.ids.count && !leaf.ids[$0].isHole }
            // Asked anew: what was found once may have been evicted since.
            let found = try store.residents(of: entries.map { leaf.ids[$0] })
            leaf.residents.withLock { residents in
                for (entry, resident) in zip(entries, found) { residents[entry] = resident }
            }
            missing += zip(entries, found).filter { $0.1 == nil }
                .map { index * ManifestNode.fanout + $0.0 }
        }
        return missing
    }

    /// Segments that were looked for, all at once.
    private func fetch(_ segments: ArraySlice<Int>) async -> [(Int, Result<[UInt8], Failure>)] {
        await withTaskGroup { group in
            for segment in segments {
                group.addTask { (segment, await self.result(of: segment)) }
            }
            var results: [(Int, Result<[UInt8], Failure>)] = []
            for await result in group { results.append(result) }
            return results
        }
    }

    private func result(of segment: Int) async -> Result<[UInt8], Failure> {
        do throws(Failure) {
            return .success(try await self.segment(segment, wasLookedFor: true))
        } catch {
            return .failure(error)
        }
    }

    /// All bytes of one segment.
    private func segment(
        _ segment: Int,
        wasLookedFor: Bool
    ) async throws(Failure) -> [UInt8] {
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
                segmentSize: size,
                byteCount: byteCount,
                wasLookedFor: wasLookedFor
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

    /// Leaves kept in memory: 32 GiB of disk at 32 KiB segments, about 50 KiB each.
    private static let leafLimit = 1024

    func leaf(_ index: Int) async throws(Failure) -> Leaf {
        if let leaf = leaves.withLock({ $0[index] }) { return leaf }
        let made = Leaf(ids: try await manifest.leaf(index))
        let leaf = leaves.withLock { leaves in
            if let other = leaves[index] { return other }
            if leaves.count >= Self.leafLimit { leaves.removeAll() }
            leaves[index] = made
            return made
        }
        // Whoever made it looks for a few of a thousand, and need not wait for the others.
        if leaf === made { Task { self.lookForAll(of: leaf) } }
        return leaf
    }

    private func lookForAll(of leaf: Leaf) {
        // What cannot be looked for is looked for again by those who read it.
        guard let found = try? store.residents(of: leaf.ids) else { return }
        leaf.residents.withLock { residents in
            for (entry, resident) in found.enumerated() where residents[entry] == nil {
                residents[entry] = resident
            }
        }
    }
}

// MARK: - Fetching what will be read

extension SegmentedContent {
    /// Somebody read bytes that were here.
    func noteRead(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        let size = descriptor.segmentSize
        readAhead(
            of: range.lowerBound / size...(range.upperBound - 1) / size,
            missed: false
        )
    }

    private func readAhead(of segments: ClosedRange<Int>, missed: Bool) {
        // A look at who reads is not worth waiting for.
        let ahead = readAhead.withLockIfAvailable { readAhead in
            let ahead = readAhead.noteRead(
                segments,
                missed: missed,
                end: descriptor.segmentCount
            )
            hasSequentialReaders.store(!readAhead.isEmpty, ordering: .relaxed)
            return ahead
        }
        guard let ahead, !ahead.isEmpty else { return }
        FetchUrgency.$current.withValue(.readAhead) {
            _ = Task { await self.fetchAhead(ahead) }
        }
    }

    private func fetchAhead(_ segments: Range<Int>) async {
        var isUseful = false
        do throws(Failure) {
            let missing = try await missing(of: segments)
            isUseful = !missing.isEmpty
            for (_, result) in await fetch(missing[...]) { _ = try result.get() }
        } catch {
            // Whoever reads it hears why.
            isUseful = false
        }
        guard !isUseful else { return }
        readAhead.withLock { readAhead in
            readAhead.forget(segments)
            hasSequentialReaders.store(!readAhead.isEmpty, ordering: .relaxed)
        }
    }

    /// Nodes of the manifest that are fetched before somebody reads there: a disk of 32 GiB has as many.
    private static let prefetchedLeaves = 1024

    /// Fetches the manifest once somebody reads what is not here, so that later reads wait for the segment
    /// alone.
    private func prefetchManifest() {
        guard manifest.leafCount > 1,
            !hasPrefetchedManifest.exchange(true, ordering: .acquiringAndReleasing)
        else { return }
        FetchUrgency.$current.withValue(.readAhead) {
            _ = Task {
                let leaves = 0..<min(manifest.leafCount, Self.prefetchedLeaves)
                let isComplete = await manifest.fetchLeaves(leaves, atOnce: Self.fetchesAtOnce)
                // Tried anew by the next one who misses something.
                if !isComplete { hasPrefetchedManifest.store(false, ordering: .releasing) }
            }
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
            let segments = leaf.ids.indices.filter { !leaf.ids[$0].isHole }
                .map { index * ManifestNode.fanout + $0 }
            for start in stride(from: 0, to: segments.count, by: Self.fetchesAtOnce) {
                let some = segments[start..<min(start + Self.fetchesAtOnce, segments.count)]
                if Task.isCancelled {
                    throw Failure(.cancelled, "fetching \(prefix) was ended")
                }
                let missing = try await missing(of: some)
                let results = await FetchUrgency.$current.withValue(.background) {
                    await fetch(missing[...])
                }
                for (_, result) in results { fetched += try result.get().count }
                done += some.reduce(0) { $0 + descriptor.byteCount(ofSegment: $1) }
                try await progress(done, fetched)
            }
        }
    }
}
