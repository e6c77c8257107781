package import Failures

/// Where one packet ends and the next begins on a stream: the fixed header says it, so there is no
/// other envelope (RFC 8609 section 3.2).
package enum PacketFraming {
    package static let maximumPacketLength = 65_535

    /// The length of the packet that begins with `header`, its first eight bytes read as one
    /// big-endian number.
    ///
    /// Throws if the stream cannot be followed any further: another version, or a length that no
    /// packet has or that is above `maximum`.
    package static func packetLength(
        header: UInt64,
        maximum: Int = maximumPacketLength
    ) throws(Failure) -> Int {
        let version = UInt8(truncatingIfNeeded: header >> 56)
        guard version == FixedHeader.version else {
            throw Failure(.invalid, "packet has version \(version), not \(FixedHeader.version)")
        }
        let packetLength = Int(UInt16(truncatingIfNeeded: header >> 32))
        let headerLength = Int(UInt8(truncatingIfNeeded: header))
        guard headerLength >= FixedHeader.byteCount, packetLength >= headerLength else {
            throw Failure(
                .invalid,
                "packet of \(packetLength) bytes has a header of \(headerLength)"
            )
        }
        guard packetLength <= maximum else {
            throw Failure(.invalid, "packet of \(packetLength) bytes; the limit is \(maximum)")
        }
        return packetLength
    }

    /// The same for the first bytes of a packet; nil if there are fewer than eight.
    package static func packetLength(
        firstBytes: [UInt8],
        maximum: Int = maximumPacketLength
    ) throws(Failure) -> Int? {
        guard firstBytes.count >= FixedHeader.byteCount,
            let header = UInt64(bigEndianBytes: firstBytes.prefix(FixedHeader.byteCount))
        else { return nil }
        return try packetLength(header: header, maximum: maximum)
    }
}
