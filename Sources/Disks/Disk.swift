package import Failures
internal import Files
package import Profiles
package import Store
internal import Synchronization

/// A VM's disk: an overlay of written blocks over the content its profile maps to.
///
/// ```
///   read at an offset -> block state in the overlay's map
///        data   -> the overlay's file
///        zero   -> zeros
///        absent -> the profile: an extent's content, or zeros
/// ```
/// Invariants: the size in the state database is never less than what an answered write needs; the
/// profile ends at the size; blocks behind the size are absent.
///
/// Concurrency: any thread. `state` is copied out under its lock, which is held for a few lines;
/// reading and writing go on outside of it. `shape` serialises changes of size and profile.
/// Lock order: shape, stripes of the overlay, state.
package final class Disk: Sendable {
    package let id: Int64
    package let overlayId: Int64
    let overlay: Overlay
    private let database: StateDatabase
    private let state: Mutex<State>
    private let shape = Mutex<Void>(())

    private struct State {
        var row: DiskRow
        var profile: Profile
        /// Counts changes of the profile: what was read from below before one is not used after it.
        var generation = 0
        /// Something in `row` is newer than the database: only the time of change can be.
        var isRowAhead = false
        var openHandles = 0
    }

    init(
        row: DiskRow,
        profile: Profile,
        overlay: Overlay,
        database: StateDatabase
    ) {
        id = row.id
        overlayId = row.overlay
        self.overlay = overlay
        self.database = database
        state = Mutex(State(row: row, profile: profile))
    }

    /// What a caller needs at one moment.
    struct View {
        let size: Int
        let profile: Profile
        let generation: Int
        let failure: String?
    }

    var view: View {
        state.withLock { state in
            View(
                size: state.row.size,
                profile: state.profile,
                generation: state.generation,
                failure: state.row.failure
            )
        }
    }

    package var row: DiskRow { state.withLock(\.row) }
    package var profile: Profile { state.withLock(\.profile) }
    package var size: Int { state.withLock(\.row.size) }

    /// Bytes in blocks that were written here.
    package var writtenByteCount: Int { overlay.map.dataBlockCount * BlockMap.blockSize }

    /// The state of the block at `offset` and how far it goes, at most `limit` bytes.
    package func overlayRun(at offset: Int, limit: Int) -> (state: BlockState, byteCount: Int) {
        let first = offset / BlockMap.blockSize
        let last = (offset + limit - 1) / BlockMap.blockSize
        let run = overlay.map.run(at: first, limit: last - first + 1)
        let end = min((first + run.count) * BlockMap.blockSize, offset + limit)
        return (run.state, end - offset)
    }

    func checkIsWell(_ view: View) throws(Failure) {
        guard let failure = view.failure else { return }
        throw Failure(
            .io,
            "disk \(row.name) is out of service: \(failure)",
            hint: "check it: ccnfs verify --disk FILE"
        )
    }

    // MARK: Handles

    package func noteOpened() {
        state.withLock { $0.openHandles += 1 }
    }

    /// - Returns: true if it was the last handle.
    package func noteClosed() -> Bool {
        state.withLock { state in
            state.openHandles -= 1
            return state.openHandles == 0
        }
    }

    package var isOpen: Bool { state.withLock { $0.openHandles > 0 } }

    // MARK: Attributes

    /// Changes owner, mode or time; durable with the next flush.
    package func setAttributes(_ change: (inout OwnedAttributes) -> Void) throws(Failure) {
        try changeRow { (row) throws(Failure) in change(&row.attributes) }
    }

    package func rename(to name: String, vm: Int64) throws(Failure) {
        try changeRow { (row) throws(Failure) in
            row.name = name
            row.vm = vm
        }
    }

    func noteWritten() {
        let now = WallClock.nanoseconds
        state.withLock { state in
            state.row.attributes.modified = now
            state.isRowAhead = true
        }
    }

    // MARK: Size and profile

    /// Changes the row: in the database, then in memory.
    private func changeRow(_ change: (inout DiskRow) throws(Failure) -> Void) throws(Failure) {
        try shape.withLock { (_) throws(Failure) in
            let before = self.row
            var row = before
            try change(&row)
            try database.update(row)
            adopt(row, profile: nil, since: before.attributes.modified)
        }
    }

    /// - Parameter before: the time of change that `row` began from; a write may have set a later one.
    private func adopt(_ row: DiskRow, profile: Profile?, since before: Int) {
        state.withLock { state in
            let modified = state.row.attributes.modified
            let failure = state.row.failure
            state.row = row
            // Set and cleared on its own: a disk may fail while its row is changed.
            state.row.failure = failure
            if row.attributes.modified == before { state.row.attributes.modified = modified }
            if let profile {
                state.profile = profile
                state.generation += 1
            }
        }
    }

    /// Makes the disk at least `size` bytes; what is new reads as zeros.
    func grow(to size: Int) throws(Failure) {
        guard size <= Disks.sizeLimit else {
            throw Failure(.tooLarge, "a disk may have up to \(Disks.sizeLimit) bytes, not \(size)")
        }
        try changeRow { (row) throws(Failure) in row.size = max(row.size, size) }
    }

    /// Sets the size; growth reads as zeros, what is cut off is gone.
    package func resize(to size: Int) throws(Failure) {
        try checkIsWell(view)
        if size >= self.size { return try grow(to: size) }
        try shape.withLock { (_) throws(Failure) in
            var (row, profile) = state.withLock { ($0.row, $0.profile) }
            row.size = size
            profile.clip(to: size)
            let keptBlocks = (size + BlockMap.blockSize - 1) / BlockMap.blockSize
            try overlay.withAllStripes { () throws(Failure) in
                let cut = keptBlocks..<Disks.sizeLimit / BlockMap.blockSize
                try replaceBlocks(cut, row, profile)
                try overlay.truncate(to: size)
            }
        }
    }

    /// Maps a range of the disk to content, in place of whatever was there. O(1) in its length.
    ///
    /// - Throws: `.invalid` if a block would be part old, part new.
    package func map(_ extent: Extent) throws(Failure) {
        guard extent.byteCount > 0 else { return }
        try checkIsWell(view)
        let blockSize = BlockMap.blockSize
        guard extent.start % blockSize == 0,
            extent.end % blockSize == 0 || extent.end >= size
        else {
            throw Failure(
                .invalid,
                "bytes \(extent.start) to \(extent.end) do not begin and end with a block"
            )
        }
        guard extent.end <= Disks.sizeLimit else {
            throw Failure(.tooLarge, "a disk may have up to \(Disks.sizeLimit) bytes")
        }
        let blocks = extent.start / blockSize..<(extent.end + blockSize - 1) / blockSize
        try shape.withLock { (_) throws(Failure) in
            var (row, profile) = state.withLock { ($0.row, $0.profile) }
            row.size = max(row.size, extent.end)
            profile.map(extent)
            guard profile.extents.count <= Profile.extentLimit else {
                throw Failure(.invalid, "the disk would map to too many pieces of content")
            }
            // All stripes: every dirty page is committed, so no other may get one whose data is not
            // synchronized.
            try overlay.withAllStripes { () throws(Failure) in
                guard !overlay.map.all(blocks, are: .absent) else {
                    try database.update(row, extents: profile.rows)
                    return adopt(row, profile: profile, since: row.attributes.modified)
                }
                try replaceBlocks(blocks, row, profile)
            }
        }
    }

    /// Makes written blocks give way to a new profile, durably; the caller holds all stripes.
    ///
    /// Order: data on disk, since map pages are committed whole; one transaction with row, extents and
    /// map; the profile in memory, still behind the blocks; the blocks away. So a reader finds what
    /// was there or what comes, and never what lay below both.
    private func replaceBlocks(
        _ blocks: Range<Int>,
        _ row: DiskRow,
        _ profile: Profile
    ) throws(Failure) {
        do throws(Failure) {
            try overlay.synchronizeData()
        } catch {
            // The kernel tells of it once: the next flush would find nothing wrong.
            takeOutOfService(because: error)
            throw error
        }
        try database.update(
            row,
            extents: profile.rows,
            mapPages: overlay.map.pages(clearing: blocks),
            durably: true
        )
        adopt(row, profile: profile, since: row.attributes.modified)
        // The pages are dirty again: a flush under way may commit an older state after this one, and
        // the next flush of the disk sets that right.
        overlay.map.set(blocks, to: .absent)
        do throws(Failure) {
            try overlay.recordWholeMap()
        } catch {
            // After a restart of the process the live map would bring the old blocks back.
            takeOutOfService(because: error)
            throw error
        }
    }

    // MARK: Durability

    /// What a flush has to commit: taken before the data is synchronized.
    struct Flush {
        let row: DiskRow?
        let pages: [MapPageRow]
    }

    /// Makes all answered writes durable in the overlay's file.
    ///
    /// - Returns: what must be committed before the flush may be answered.
    func synchronizeData() throws(Failure) -> Flush {
        try checkIsWell(view)
        let pages = overlay.map.takeDirtyPages()
        let row = state.withLock { state -> DiskRow? in
            defer { state.isRowAhead = false }
            return state.isRowAhead ? state.row : nil
        }
        do throws(Failure) {
            try overlay.synchronizeData()
        } catch {
            overlay.map.restoreDirty(pages)
            takeOutOfService(because: error)
            throw error
        }
        return Flush(row: row, pages: pages)
    }

    /// The commit of what ``synchronizeData()`` gave failed.
    func flushFailed(_ flush: Flush) {
        overlay.map.restoreDirty(flush.pages)
        state.withLock { if flush.row != nil { $0.isRowAhead = true } }
    }

    /// After a failed fdatasync the kernel may have dropped the only copy of answered writes.
    private func takeOutOfService(because failure: Failure) {
        let row = state.withLock { state in
            state.row.failure = "\(failure)"
            return state.row
        }
        // In memory it is out of service in any case; the database may be on the same broken disk.
        try? database.update(row, durably: true)
    }

    /// Reads all written blocks from the disk below and puts the disk into service again.
    package func check() throws(Failure) {
        try overlay.checkReadable()
        try changeRow { (row) throws(Failure) in row.failure = nil }
        state.withLock { $0.row.failure = nil }
    }
}

extension Profile {
    /// The extents as the state database keeps them.
    var rows: [ExtentRow] {
        extents.map { extent in
            let descriptor = extent.content.descriptor
            return ExtentRow(
                start: extent.start,
                byteCount: extent.byteCount,
                root: descriptor.root,
                contentSize: descriptor.size,
                segmentSize: descriptor.segmentSize,
                levels: descriptor.levels,
                prefix: extent.content.prefix,
                sourceStart: extent.sourceStart
            )
        }
    }
}
