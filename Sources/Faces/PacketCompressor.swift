import CCNx
import Failures

/// Puts packets into envelopes, compressed, and takes them out again. Serves all faces of a table, since no envelope
/// depends on another.
///
///      0         1             2..3           4..6    7                  8
///     +---------+-------------+--------------+-------+------------------+-----------------+
///     | version | type (0x80) | PacketLength | zeros | HeaderLength (8) | a frame of zstd |
///     +---------+-------------+--------------+-------+------------------+-----------------+
///
/// The fixed header is that of a packet (RFC 8609 section 3.2), so that streams are cut as always. The type is
/// registered for nothing; it is used only where both ends agreed, see ``CompressionAgreement``. The frame is that of
/// RFC 8878, says how many bytes it is made of, and holds one whole packet.
///
/// Concurrency: for the table's event loop.
final class PacketCompressor {
    static let packetType: UInt8 = 0x80
    /// Smaller ones are sent as they are: Interests and Interest Returns are little more than names and ids.
    private static let smallestByteCount = 256
    /// An envelope must save one part of so many, or it is not worth opening.
    private static let leastGain = 16

    private let maximumPacketLength: Int
    /// Made when it is first needed; most nodes never need it.
    private var codec: ZstdCodec?

    init(maximumPacketLength: Int) { self.maximumPacketLength = maximumPacketLength }

    static func isEnvelope(_ wire: [UInt8]) -> Bool {
        wire.count > FixedHeader.byteCount && wire[FixedHeader.packetTypeOffset] == packetType
    }

    /// - Returns: nil for a packet that is better sent as it is, and for any while there is no memory.
    func envelope(of packet: [UInt8]) -> [UInt8]? {
        guard packet.count >= Self.smallestByteCount, let codec = try? readyCodec(),
            var wire = codec.frame(
                of: packet,
                after: FixedHeader.byteCount,
                limit: packet.count - packet.count / Self.leastGain
            )
        else { return nil }
        wire[0] = FixedHeader.version
        wire[FixedHeader.packetTypeOffset] = Self.packetType
        wire[FixedHeader.packetLengthOffset] = UInt8(truncatingIfNeeded: wire.count >> 8)
        wire[FixedHeader.packetLengthOffset + 1] = UInt8(truncatingIfNeeded: wire.count)
        wire[FixedHeader.headerLengthOffset] = UInt8(FixedHeader.byteCount)
        return wire
    }

    /// - Parameter wire: as ``PacketFramer`` cut it.
    /// - Throws: `.invalid` for anything that ``envelope(of:)`` does not make, before there is memory for what it says
    ///   to be made of if that is larger than a packet may be.
    func packet(in wire: [UInt8]) throws(Failure) -> [UInt8] {
        guard Int(wire[FixedHeader.headerLengthOffset]) == FixedHeader.byteCount else {
            throw Failure(.invalid, "an envelope has a header that none has")
        }
        let codec = try readyCodec()
        guard let byteCount = codec.contentByteCount(of: wire, after: FixedHeader.byteCount) else {
            throw Failure(.invalid, "an envelope does not hold one frame that says its size")
        }
        guard (FixedHeader.byteCount...maximumPacketLength).contains(byteCount) else {
            throw Failure(
                .invalid,
                "an envelope says it holds \(byteCount) bytes; the limit is \(maximumPacketLength)"
            )
        }
        guard
            let packet = codec.content(of: wire, after: FixedHeader.byteCount, byteCount: byteCount)
        else { throw Failure(.invalid, "the frame in an envelope is damaged") }
        return packet
    }

    private func readyCodec() throws(Failure) -> ZstdCodec {
        if let codec { return codec }
        let made = try ZstdCodec(maximumByteCount: maximumPacketLength)
        codec = made
        return made
    }
}
