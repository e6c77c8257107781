package import Failures

/// A packet that lacks only its checksum or signature. See ``PacketEncoder/prepare(_:validation:)``.
package struct UnvalidatedPacket: Sendable {
    private let packet: Packet
    private let validation: Validation
    private let wire: [UInt8]
    private let validatedRange: Range<Int>

    init(packet: Packet, validation: Validation, wire: [UInt8], validatedRange: Range<Int>) {
        self.packet = packet
        self.validation = validation
        self.wire = wire
        self.validatedRange = validatedRange
    }

    /// Lends the bytes to be signed: message and validation algorithm.
    package func withValidatedBytes<Result, Refusal: Error>(
        _ body: (Span<UInt8>) throws(Refusal) -> Result
    ) throws(Refusal) -> Result {
        try body(wire.span.extracting(validatedRange))
    }

    /// The whole packet, `payload` being the checksum or signature, as decoding it would give it.
    package consuming func validated(by payload: [UInt8]) throws(Failure) -> DecodedPacket {
        var bytes = wire
        let packetLength = bytes.count + 4 + payload.count
        guard let length = UInt16(exactly: packetLength) else {
            throw Failure(.tooLarge, "packet would have \(packetLength) bytes; the limit is 65535")
        }
        bytes[FixedHeader.packetLengthOffset] = UInt8(truncatingIfNeeded: length >> 8)
        bytes[FixedHeader.packetLengthOffset + 1] = UInt8(truncatingIfNeeded: length)
        let type = TopLevelType.validationPayload
        bytes += [0, UInt8(type), UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        bytes += payload
        var validation = validation
        validation.payload = payload
        return DecodedPacket(
            packet: packet,
            validation: validation,
            wire: bytes,
            messageRange: validatedRange.lowerBound..<bytes.count,
            validatedRange: validatedRange
        )
    }
}
