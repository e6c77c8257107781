import Failures
import Files

/// A disk of zeros with something in some of its segments; the bytes are the same in each run.
struct SparseImage {
    static let segmentSize = 4096

    let size: Int
    /// What lies at which offset.
    private(set) var parts: [(offset: Int, bytes: [UInt8])] = []

    init(size: Int) { self.size = size }

    /// Segments by number; two with the same seed have the same bytes.
    init(size: Int, segments: [(index: Int, seed: UInt64)]) {
        self.size = size
        for (index, seed) in segments { put(seed, at: index * Self.segmentSize) }
    }

    mutating func put(_ seed: UInt64, at offset: Int, byteCount: Int = segmentSize) {
        parts.append((offset: offset, bytes: Self.bytes(seed, count: byteCount)))
    }

    static func bytes(_ seed: UInt64, count: Int = segmentSize) -> [UInt8] {
        var random = SplitMix(seed: seed)
        return random.bytes(count)
    }

    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        for part in parts {
            bytes.replaceSubrange(part.offset..<part.offset + part.bytes.count, with: part.bytes)
        }
        return bytes
    }

    /// Writes it as a sparse file.
    func write(to path: String) throws(Failure) {
        let file = try File(path, .create)
        try file.truncate(to: size)
        for part in parts { try file.write(part.bytes.span, at: part.offset) }
    }
}
