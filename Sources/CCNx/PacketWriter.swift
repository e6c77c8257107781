import Failures

/// Appends fields to a growing packet and fills in lengths once they are known.
struct PacketWriter {
    private(set) var bytes: [UInt8] = []

    init(reserving byteCount: Int) {
        bytes.reserveCapacity(byteCount)
    }

    var count: Int { bytes.count }

    mutating func append(_ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    mutating func append(_ more: [UInt8]) {
        bytes.append(contentsOf: more)
    }

    mutating func field(_ type: UInt16, _ value: [UInt8]) throws(Failure) {
        try container(type) { $0.append(value) }
    }

    mutating func field(_ type: UInt16, _ value: UInt64, byteCount: Int) throws(Failure) {
        try container(type) { writer in
            for shift in stride(from: 8 * (byteCount - 1), through: 0, by: -8) {
                writer.bytes.append(UInt8(truncatingIfNeeded: value >> shift))
            }
        }
    }

    /// A hash: a field that says what it is for around one that says which hash it is.
    mutating func field(_ type: UInt16, _ digest: SHA256Digest) throws(Failure) {
        try container(type) { (writer) throws(Failure) in
            try writer.container(HashType.sha256) { digest.append(to: &$0.bytes) }
        }
    }

    mutating func container(
        _ type: UInt16,
        _ body: (inout PacketWriter) throws(Failure) -> Void
    ) throws(Failure) {
        append(type)
        let lengthOffset = count
        append(0)
        try body(&self)
        let length = count - lengthOffset - 2
        guard let fitting = UInt16(exactly: length) else {
            throw Failure(.tooLarge, "field \(type) of a packet would have \(length) bytes")
        }
        put(fitting, at: lengthOffset)
    }

    mutating func put(_ value: UInt16, at offset: Int) {
        bytes[offset] = UInt8(truncatingIfNeeded: value >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
    }

    mutating func put(_ value: UInt8, at offset: Int) {
        bytes[offset] = value
    }
}
