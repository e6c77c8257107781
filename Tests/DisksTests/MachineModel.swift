import Store

/// What a disk must look like: blocks by number, and what each was since it was last made durable.
struct DiskImage {
    static let blockSize = 4096
    static let zeros = [UInt8](repeating: 0, count: blockSize)
    static let zeroId = ObjectId(of: zeros)

    private(set) var size: Int
    /// Blocks that are not zeros.
    private(set) var blocks: [Int: [UInt8]] = [:]
    /// All that a block was since the last flush, the flushed first; absent for those that did not
    /// change.
    private(set) var history: [Int: Set<ObjectId>] = [:]
    /// The least size since the last flush.
    private(set) var leastSize: Int

    init(size: Int = 0) {
        self.size = size
        leastSize = size
    }

    init(_ bytes: [UInt8]) {
        self.init(size: bytes.count)
        for start in stride(from: 0, to: bytes.count, by: Self.blockSize) {
            var block = Array(bytes[start..<min(start + Self.blockSize, bytes.count)])
            block += [UInt8](repeating: 0, count: Self.blockSize - block.count)
            if block != Self.zeros { blocks[start / Self.blockSize] = block }
        }
    }

    func block(_ number: Int) -> [UInt8] { blocks[number] ?? Self.zeros }

    private func id(_ number: Int) -> ObjectId {
        blocks[number].map { ObjectId(of: $0) } ?? Self.zeroId
    }

    func bytes(_ range: Range<Int>) -> [UInt8] {
        let range = range.clamped(to: 0..<size)
        guard !range.isEmpty else { return [] }
        let first = range.lowerBound / Self.blockSize
        let last = (range.upperBound - 1) / Self.blockSize
        let all = (first...last).flatMap(block)
        let start = range.lowerBound - first * Self.blockSize
        return Array(all[start..<start + range.count])
    }

    private mutating func set(_ number: Int, _ bytes: [UInt8], also others: Set<ObjectId> = []) {
        var ids = history[number] ?? [id(number)]
        ids.formUnion(others)
        blocks[number] = bytes == Self.zeros ? nil : bytes
        ids.insert(id(number))
        history[number] = ids
    }

    mutating func write(_ new: [UInt8], at offset: Int) {
        guard !new.isEmpty else { return }
        size = max(size, offset + new.count)
        let end = offset + new.count
        for number in offset / Self.blockSize...(end - 1) / Self.blockSize {
            let start = number * Self.blockSize
            let part = (start..<start + Self.blockSize).clamped(to: offset..<end)
            var bytes = block(number)
            bytes.replaceSubrange(
                part.lowerBound - start..<part.upperBound - start,
                with: new[part.lowerBound - offset..<part.upperBound - offset]
            )
            set(number, bytes)
        }
    }

    mutating func zero(_ range: Range<Int>) {
        let range = range.clamped(to: 0..<size)
        write([UInt8](repeating: 0, count: range.count), at: range.lowerBound)
    }

    mutating func resize(to new: Int) {
        if new < size {
            let blockEnd = (new + Self.blockSize - 1) / Self.blockSize * Self.blockSize
            if new < blockEnd { zero(new..<blockEnd) }
            for number in blocks.keys where number * Self.blockSize >= new {
                set(number, Self.zeros)
            }
        }
        size = new
        leastSize = min(leastSize, new)
    }

    /// Takes blocks over from another, as it was or may be after a power cut.
    mutating func clone(_ other: DiskImage, _ range: Range<Int>, at target: Int) {
        let count = (range.count + Self.blockSize - 1) / Self.blockSize
        size = max(size, target + range.count)
        for index in 0..<count {
            let from = range.lowerBound / Self.blockSize + index
            set(
                target / Self.blockSize + index,
                other.block(from),
                also: other.history[from] ?? []
            )
        }
    }

    /// The same with nothing that may be otherwise after a power cut.
    var durable: DiskImage {
        var image = self
        image.flushed()
        return image
    }

    mutating func flushed() {
        history = [:]
        leastSize = size
    }

    /// Whether a block may be this after a power cut.
    func permits(_ bytes: [UInt8], at number: Int) -> Bool {
        let found = bytes == Self.zeros ? Self.zeroId : ObjectId(of: bytes)
        return history[number].map { $0.contains(found) } ?? (found == id(number))
    }

    /// Blocks that are worth a look: all that are not zeros, or were not.
    var interesting: Set<Int> { Set(blocks.keys).union(history.keys) }

    /// Takes over what was found.
    mutating func adopt(_ found: [UInt8], at number: Int) {
        blocks[number] = found == Self.zeros ? nil : found
    }

    mutating func adopt(size found: Int) { size = found }
}
