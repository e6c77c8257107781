import Failures

/// One type-length-value field; `value` is where in the packet its value lies.
struct TLV {
    let type: UInt16
    /// Of the type's first byte.
    let start: Int
    let value: Range<Int>
}

/// Walks the fields of one container. Moves forward only, so that reading a packet takes time linear
/// in its size, and copies nothing.
struct TLVReader {
    private static let headerByteCount = 4

    private let wire: [UInt8]
    private var offset: Int
    private let end: Int

    init(_ wire: [UInt8], in range: Range<Int>) {
        self.wire = wire
        offset = range.lowerBound
        end = range.upperBound
    }

    /// The next field, or nil at the end of the container.
    mutating func next() throws(Failure) -> TLV? {
        guard offset < end else { return nil }
        let start = offset
        guard end - start >= Self.headerByteCount else {
            throw Failure(.invalid, "\(end - start) stray bytes at byte \(start) of a packet")
        }
        let type = UInt16(wire[start]) << 8 | UInt16(wire[start + 1])
        let length = Int(wire[start + 2]) << 8 | Int(wire[start + 3])
        let valueStart = start + Self.headerByteCount
        guard length <= end - valueStart else {
            throw Failure(
                .invalid,
                "field at byte \(start) of a packet is longer than what holds it"
            )
        }
        offset = valueStart + length
        return TLV(type: type, start: start, value: valueStart..<offset)
    }
}
