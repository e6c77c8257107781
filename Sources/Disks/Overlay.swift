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
/// dirty pages taken, fdatasync of `data`, durable commit of those pages.
///
/// Concurrency: any thread. `stripes` serialise changes of state: a stripe is 1 MiB of disk, so two
/// stripes never share a byte of the live map. Stripes are taken in ascending order.
final class Overlay: Sendable {
    let id: Int64
    let map: BlockMap
    private let data: File
    private let live: LiveMap
    private let stripes: [Stripe]

    private final class Stripe: Sendable { let lock = Mutex<Void>(()) }

    private static let blocksPerStripe = 256
    private static let stripeCount = 64

    /// Opens the overlay's files, made when absent.
    ///
    /// - Parameter diskSize: what lies behind it in the files is left from a shrink that was cut off.
    init(
        id: Int64,
        directory: String,
        durablePages: [MapPageRow],
        bootId: String,
        diskSize: Int
    ) throws(Failure) {
        self.id = id
        let path = Self.path(of: id, in: directory)
        try FileTree.makeDirectory(path, permissions: 0o700)
        map = BlockMap(pages: durablePages)
        data = try File("\(path)/data", .create)
        live = try LiveMap(path: "\(path)/map", overlay: id, bootId: bootId, map: map)
        stripes = (0..<Self.stripeCount).map { _ in Stripe() }
        let blockCount = (diskSize + BlockMap.blockSize - 1) / BlockMap.blockSize
        if map.hasBlocks(from: blockCount) {
            map.clip(to: blockCount)
            // Else the next start would find them again, perhaps over what the disk maps to by then.
            try live.record(map)
        }
        if try data.size() > diskSize { try data.truncate(to: diskSize) }
    }

    static func path(of id: Int64, in directory: String) -> String {
        "\(directory)/\(String(UInt64(bitPattern: id), radix: 16))"
    }

    /// Gives back everything an overlay that nobody refers to has on disk.
    static func remove(_ id: Int64, in directory: String) throws(Failure) {
        let path = path(of: id, in: directory)
        for name in ["data", "map", "map.new"] { try FileTree.remove("\(path)/\(name)") }
        try FileTree.removeDirectory(path)
    }

    // MARK: Reading

    /// Appends bytes of blocks that the map says are data.
    func read(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) {
        let count = try data.read(at: offset, byteCount: byteCount, into: &output)
        output.append(repeating: 0, count: byteCount - count)
    }

    func bytes(at offset: Int, byteCount: Int) throws(Failure) -> [UInt8] {
        var bytes = try data.bytes(at: offset, byteCount: byteCount)
        bytes.append(contentsOf: repeatElement(0, count: byteCount - bytes.count))
        return bytes
    }

    // MARK: Writing

    /// Writes over blocks that are all data already.
    func overwrite(_ bytes: Span<UInt8>, at offset: Int) throws(Failure) {
        try data.write(bytes, at: offset)
    }

    /// Writes bytes and makes their blocks data; the caller holds the stripes of `blocks`.
    func write(
        _ bytes: Span<UInt8>,
        at offset: Int,
        blocks: Range<Int>
    ) throws(Failure) {
        try data.write(bytes, at: offset)
        try setState(of: blocks, to: .data)
    }

    /// Writes the whole of a block that does not count yet; the caller holds its stripe.
    func prepare(block: Int, _ bytes: [UInt8]) throws(Failure) {
        try data.write(bytes.span, at: block * BlockMap.blockSize)
    }

    /// Changes the state of blocks in the live map and in memory, or in neither.
    func setState(of blocks: Range<Int>, to state: BlockState) throws(Failure) {
        let before = map.bytes(of: blocks)
        map.set(blocks, to: state)
        do throws(Failure) {
            try live.record(blocks, of: map)
        } catch {
            map.restore(before.bytes, from: before.first)
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

    func synchronizeData() throws(Failure) { try data.synchronizeData() }

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
    }
}
