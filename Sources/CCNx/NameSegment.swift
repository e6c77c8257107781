/// One segment of a name: a type and a value (RFC 8609 section 3.6.1).
package struct NameSegment: Hashable, Sendable {
    package let type: UInt16
    package let value: [UInt8]

    package init(type: UInt16, value: [UInt8]) {
        self.type = type
        self.value = value
    }

    /// A plain segment (NAMESEGMENT) that holds the UTF-8 bytes of `text`.
    package static func name(_ text: String) -> NameSegment {
        NameSegment(type: NameSegmentType.name, value: Array(text.utf8))
    }

    /// A plain segment of arbitrary bytes.
    package static func name(bytes: [UInt8]) -> NameSegment {
        NameSegment(type: NameSegmentType.name, value: bytes)
    }

    /// The segment for chunk `number`: minimal big-endian, zero being one zero byte.
    package static func chunk(_ number: UInt64, codes: ChunkCodes = .standard) -> NameSegment {
        NameSegment(type: codes.segmentType, value: number.minimalBytes)
    }

    /// The number in a chunk segment; nil in any other, and nil if the number is not written in its
    /// one minimal form, because two spellings of one chunk would be two names.
    package func chunkNumber(codes: ChunkCodes) -> UInt64? {
        guard type == codes.segmentType, let number = UInt64(bigEndianBytes: value),
            value.count == 1 || value.first != 0
        else { return nil }
        return number
    }

    package var chunkNumber: UInt64? { chunkNumber(codes: .standard) }

    /// The value of a plain segment as text; nil if it is of another type or not UTF-8.
    package var text: String? {
        guard type == NameSegmentType.name else { return nil }
        return String(validating: value, as: UTF8.self)
    }
}

extension NameSegment: Comparable {
    /// By type, then plain segments by their bytes and others by length first, so that chunks sort
    /// by number.
    package static func < (left: NameSegment, right: NameSegment) -> Bool {
        if left.type != right.type { return left.type < right.type }
        if left.type != NameSegmentType.name, left.value.count != right.value.count {
            return left.value.count < right.value.count
        }
        return left.value.lexicographicallyPrecedes(right.value)
    }
}

extension UInt64 {
    /// Big-endian without leading zeros; zero is one zero byte.
    package var minimalBytes: [UInt8] {
        let count = Swift.max(1, (64 - leadingZeroBitCount + 7) / 8)
        return (0..<count).map { UInt8(truncatingIfNeeded: self >> (8 * (count - 1 - $0))) }
    }

    /// The number written big-endian in one to eight bytes; nil for any other count.
    package init?(bigEndianBytes bytes: some Collection<UInt8>) {
        guard (1...8).contains(bytes.count) else { return nil }
        self = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
