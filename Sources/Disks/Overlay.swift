internal import Failures
internal import Files
internal import Profiles
internal import Store
internal import Synchronization

/// Written blocks of a disk: a sparse file with the disk's own offsets, and the map that says which
/// blocks of it count.
///
/// Order of writes, for an answered write to outlive the process: block bytes into `data`, then the
/// state into memory and the live map, then the answer. For an answered flush to outlive the power:
/// dirty pages taken, fdatasync of `data`, durable commit of those pages. For space to be given back:
/// the blocks not data any more, in memory and the live map; a durable commit of that; the hole.
///
/// A *live* overlay takes a disk's writes. A *frozen* one never changes what it shows; it is *unsettled*
/// until all of its pages are durable, and its live map counts until then.
///
/// Concurrency: any thread. `stripes` serialise changes of state: a stripe is 1 MiB of disk, so two
/// stripes never share a byte of the live map. Stripes are taken in ascending order.
final class Overlay: Sendable {
    let id: Int64
    let map: BlockMap
    /// The file as others read it, at the disk's own offsets.
    let source: FrozenMap.Source
    private let folder: String
    private let data: File
    private let live: LiveMap
    private let stripes: [Stripe]
    private let freed = Mutex<[Range<Int>]>([])
    /// Whether `data` was written since it was synchronized last.
    private let isDataAhead: Atomic<Bool>
    /// Why `data` could not be synchronized; nil once all of it was read again.
    private let syncFailure = Mutex<Failure?>(nil)
    private let settled = Atomic<Bool>(false)
    private let committed = Atomic<Bool>(false)

    private final class Stripe: Sendable { let lock = Guarded<Void>(()) }

    private static let blocksPerStripe = 256
    private static let stripeCount = 64

    /// Opens the overlay's files, made when absent.
    ///
    /// - Parameters:
    ///   - folder: the overlay's own; the one it is in must be there.
    ///   - diskSize: what lies behind it in the files is left from a shrink that was cut off.
    init(
        id: Int64,
        folder: String,
        durablePages: [MapPageRow],
        bootId: String,
        diskSize: Int
    ) throws(Failure) {
        self.id = id
        self.folder = folder
        try FileTree.makeDirectory(folder, permissions: 0o700)
        map = BlockMap(pages: durablePages)
        guard map.dataBlockCount == 0 || FileTree.exists(Self.dataPath(folder)) else {
            throw Failure(
                .corrupt,
                "written blocks are missing: \(Self.dataPath(folder))",
                hint: "restore them from a backup; nothing was removed"
            )
        }
        data = try File(Self.dataPath(folder), .create)
        source = FrozenMap.Source(overlay: id, data: data, shift: 0)
        live = try LiveMap(path: Self.mapPath(folder), overlay: id, bootId: bootId, map: map)
        isDataAhead = Atomic(!map.isEmpty)
        stripes = (0..<Self.stripeCount).map { _ in Stripe() }
        let blockCount = (diskSize + BlockMap.blockSize - 1) / BlockMap.blockSize
        if map.hasBlocks(from: blockCount) {
            map.clip(to: blockCount)
            // Else the next start would find them again, perhaps over what the disk maps to by then.
            try live.record(map)
        }
        if try data.size() > diskSize { try data.truncate(to: diskSize) }
        try findFreed()
    }

    /// What was discarded, and not punched when the process before ended.
    private func findFreed() throws(Failure) {
        var offset = 0
        while let found = try data.nextData(at: offset) {
            offset = found.upperBound
            let first = found.lowerBound / BlockMap.blockSize
            let last = (found.upperBound + BlockMap.blockSize - 1) / BlockMap.blockSize
            var block = first
            while block < last {
                let run = map.run(at: block, limit: last - block)
                if run.state != .data { noteFreed(block..<block + run.count) }
                block += run.count
            }
        }
    }

    /// The folder's name is the id in hexadecimal.
    static func folder(of id: Int64, in directory: String) -> String {
        "\(directory)/\(String(UInt64(bitPattern: id), radix: 16))"
    }

    static func dataPath(_ folder: String) -> String { "\(folder)/data" }

    private static func mapPath(_ folder: String) -> String { "\(folder)/map" }

    /// Whether a frozen overlay's last states may be in its live map only.
    static func hasLiveMap(_ folder: String, bootId: String, id: Int64) throws(Failure) -> Bool {
        try LiveMap.isOf(path: mapPath(folder), overlay: id, bootId: bootId)
    }

    static func removeLiveMap(_ folder: String) throws(Failure) {
        for path in [mapPath(folder), "\(mapPath(folder)).new"] { try FileTree.remove(path) }
    }

    /// Gives back everything an overlay that nobody refers to has on disk.
    static func remove(_ folder: String) throws(Failure) {
        try removeLiveMap(folder)
        try FileTree.remove(dataPath(folder))
        try FileTree.removeDirectory(folder)
    }

    func removeFiles() throws(Failure) { try Self.remove(folder) }

    // MARK: Looking

    /// The state of the block at `offset` and how far it goes, at most `limit` bytes.
    func run(at offset: Int, limit: Int) -> (state: BlockState, byteCount: Int) {
        let first = offset / BlockMap.blockSize
        let last = (offset + limit - 1) / BlockMap.blockSize
        let run = map.run(at: first, limit: last - first + 1)
        let end = min((first + run.count) * BlockMap.blockSize, offset + limit)
        return (run.state, end - offset)
    }

    // MARK: Settling

    /// All pages of a frozen overlay are durable: no flush commits them again. Under `Overlays.settling`.
    func noteCommitted() { committed.store(true, ordering: .releasing) }

    var isCommitted: Bool { committed.load(ordering: .acquiring) }

    /// A frozen overlay is durable and nothing is to be punched any more: its live map is not needed, and
    /// the reclaimer may change it.
    func noteSettled() throws(Failure) {
        if settled.exchange(true, ordering: .acquiringAndReleasing) { return }
        try Self.removeLiveMap(folder)
    }

    var isSettled: Bool { settled.load(ordering: .acquiring) }

    // MARK: Writing

    /// Writes over blocks that are all data already.
    func overwrite(_ bytes: Span<UInt8>, at offset: Int) throws(Failure) {
        try data.write(bytes, at: offset)
        noteDataAhead()
    }

    /// Writes bytes and makes their blocks data; the caller holds the stripes of `blocks`.
    func write(
        _ bytes: Span<UInt8>,
        at offset: Int,
        blocks: Range<Int>
    ) throws(Failure) {
        try data.write(bytes, at: offset)
        noteDataAhead()
        CrashPoint.writeData.reached()
        try setState(of: blocks, to: .data)
        CrashPoint.writeMap.reached()
    }

    /// Writes the whole of a block that does not count yet; the caller holds its stripe.
    func prepare(block: Int, _ bytes: [UInt8]) throws(Failure) {
        try data.write(bytes.span, at: block * BlockMap.blockSize)
        noteDataAhead()
    }

    /// After the write and before its answer.
    private func noteDataAhead() {
        // Looked at first: all writers of a disk share it.
        if !isDataAhead.load(ordering: .acquiring) { isDataAhead.store(true, ordering: .releasing) }
    }

    /// Changes the state of blocks in the live map and in memory, or in neither.
    func setState(of blocks: Range<Int>, to state: BlockState) throws(Failure) {
        let change = map.exchange(blocks, to: state)
        do throws(Failure) {
            try live.record(change.after, at: change.first)
        } catch {
            map.restore(change.before, from: change.first)
            throw error
        }
    }

    /// Brings the live map's file up to a map of which blocks were dropped.
    func recordWholeMap() throws(Failure) { try live.record(map) }

    /// Runs `body` while no one else changes the state of these blocks.
    func withStripes<Value>(
        of blocks: Range<Int>,
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let first = blocks.lowerBound / Self.blocksPerStripe
        let last = (blocks.upperBound - 1) / Self.blocksPerStripe
        if first == last {
            return try stripes[first % Self.stripeCount].lock.withLock { (_) throws(Failure) in
                try body()
            }
        }
        let numbers =
            last - first >= Self.stripeCount
            ? Array(0..<Self.stripeCount) : (first...last).map { $0 % Self.stripeCount }.sorted()
        var value: Value?
        try withStripes(numbers[...]) { () throws(Failure) in value = try body() }
        guard let value else { preconditionFailure("the body ran") }
        return value
    }

    /// Runs `body` while no one changes the state of any block.
    func withAllStripes(_ body: () throws(Failure) -> Void) throws(Failure) {
        try withStripes(Array(0..<Self.stripeCount)[...], body)
    }

    private func withStripes(
        _ numbers: ArraySlice<Int>,
        _ body: () throws(Failure) -> Void
    ) throws(Failure) {
        guard let first = numbers.first else { return try body() }
        try stripes[first].lock.withLock { (_) throws(Failure) in
            try withStripes(numbers.dropFirst(), body)
        }
    }

    // MARK: Durability and space

    /// Makes all answered writes durable in the file; nothing is done where there were none since the last
    /// time. Of several callers at once, disks that show a frozen overlay, one does it and the others wait.
    ///
    /// - Throws: what fdatasync says, from then on each time until ``checkReadable()``: the kernel tells of
    ///   it once, and may have dropped the bytes.
    func synchronizeData() throws(Failure) {
        try syncFailure.withLock { (failure) throws(Failure) in
            if let failure { throw failure }
            guard isDataAhead.exchange(false, ordering: .acquiringAndReleasing) else { return }
            do throws(Failure) {
                try SyncFault.check(data.path)
                try data.synchronizeData()
            } catch {
                failure = error
                isDataAhead.store(true, ordering: .releasing)
                throw error
            }
        }
    }

    /// Takes space for a range without making it data.
    func allocate(_ range: Range<Int>) throws(Failure) {
        try data.allocate(at: range.lowerBound, byteCount: range.count)
        noteDataAhead()
    }

    /// Blocks that are not data any more: their space goes once that is durable.
    func noteFreed(_ blocks: Range<Int>) {
        freed.withLock { freed in
            if let last = freed.last, last.upperBound == blocks.lowerBound {
                freed[freed.count - 1] = last.lowerBound..<blocks.upperBound
            } else {
                freed.append(blocks)
            }
        }
    }

    var hasFreed: Bool { freed.withLock { !$0.isEmpty } }

    /// What is to be punched after the next durable commit.
    func takeFreed() -> [Range<Int>] {
        freed.withLock { freed in
            defer { freed = [] }
            return freed
        }
    }

    /// The commit failed.
    func restoreFreed(_ blocks: [Range<Int>]) { freed.withLock { $0 += blocks } }

    /// Frees the space of blocks, but for those that were written again meanwhile.
    func punch(_ ranges: [Range<Int>]) throws(Failure) {
        for range in ranges {
            for start in stride(
                from: range.lowerBound,
                to: range.upperBound,
                by: Self.blocksPerStripe * Self.stripeCount
            ) {
                let part =
                    start..<min(range.upperBound, start + Self.blocksPerStripe * Self.stripeCount)
                try withStripes(of: part) { () throws(Failure) in
                    var block = part.lowerBound
                    while block < part.upperBound {
                        let run = map.run(at: block, limit: part.upperBound - block)
                        if run.state != .data { try punch(block..<block + run.count) }
                        block += run.count
                    }
                }
            }
        }
    }

    private func punch(_ blocks: Range<Int>) throws(Failure) {
        try data.punchHole(
            at: blocks.lowerBound * BlockMap.blockSize,
            byteCount: blocks.count * BlockMap.blockSize
        )
    }

    /// Frees what lies behind `size`; the durable map must not refer to it any more.
    func truncate(to size: Int) throws(Failure) {
        if try data.size() > size { try data.truncate(to: size) }
    }

    /// Reads every data block from the disk below, not from the page cache.
    func checkReadable() throws(Failure) {
        data.dropFromPageCache()
        for (range, state) in map.runs() where state == .data {
            for block in stride(from: range.lowerBound, to: range.upperBound, by: 256) {
                let count = min(256, range.upperBound - block)
                _ = try data.bytes(
                    at: block * BlockMap.blockSize,
                    byteCount: count * BlockMap.blockSize
                )
            }
        }
        syncFailure.withLock { $0 = nil }
    }
}
