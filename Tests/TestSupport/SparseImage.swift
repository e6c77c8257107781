package import Failures
internal import Files

/// A disk of zeros with something in some of its segments; the bytes are the same in each run.
package struct SparseImage {
    package static let segmentSize = 4096

    package let size: Int
    /// What lies at which offset.
    private(set) var parts: [(offset: Int, bytes: [UInt8])] = []

    package init(size: Int) { self.size = size }

    /// Segments by number; two with the same seed have the same bytes.
    package init(size: Int, segments: [(index: Int, seed: UInt64)]) {
        self.size = size
        for (index, seed) in segments { put(seed, at: index * Self.segmentSize) }
    }

    package mutating func put(_ seed: UInt64, at offset: Int, byteCount: Int = segmentSize) {
        parts.append((offset: offset, bytes: Self.bytes(seed, count: byteCount)))
    }

    package mutating func put(_ bytes: [UInt8], at offset: Int) {
        if bytes.contains(where: { $0 != 0 }) { parts.append((offset: offset, bytes: bytes)) }
    }

    package static func bytes(_ seed: UInt64, count: Int = segmentSize) -> [UInt8] {
        var random = SplitMix(seed: seed)
        return random.bytes(count)
    }

    package var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        for part in parts {
            bytes.replaceSubrange(part.offset..<part.offset + part.bytes.count, with: part.bytes)
        }
        return bytes
    }

    /// Writes it as a sparse file.
    package func write(to path: String) throws(Failure) {
        let file = try File(path, .create)
        try file.truncate(to: size)
        for part in parts { try file.write(part.bytes.span, at: part.offset) }
    }
}
