/// A packet together with the bytes it is made of.
///
/// Hashes and signatures are taken over these bytes, never over a second encoding: a message may
/// carry fields this implementation skips.
///
///     | fixed header | hop-by-hop | message | validation algorithm | validation payload |
///                                 |<-------- validatedRange ------>|
///                                 |<------------------ messageRange ------------------>|
package struct DecodedPacket: Hashable, Sendable {
    package let packet: Packet
    package let validation: Validation?
    package let wire: [UInt8]
    /// What the ContentObjectHash covers: the message to the end of the packet.
    package let messageRange: Range<Int>
    /// What a checksum or signature covers: the message and, if there is one, the validation algorithm.
    package let validatedRange: Range<Int>

    init(
        packet: Packet,
        validation: Validation?,
        wire: [UInt8],
        messageRange: Range<Int>,
        validatedRange: Range<Int>
    ) {
        self.packet = packet
        self.validation = validation
        self.wire = wire
        self.messageRange = messageRange
        self.validatedRange = validatedRange
    }

    /// Lends the bytes the ContentObjectHash covers.
    package func withMessage<Result, Refusal: Error>(
        _ body: (Span<UInt8>) throws(Refusal) -> Result
    ) throws(Refusal) -> Result {
        try body(wire.span.extracting(messageRange))
    }

    /// Lends the bytes a checksum or signature covers.
    package func withValidatedBytes<Result, Refusal: Error>(
        _ body: (Span<UInt8>) throws(Refusal) -> Result
    ) throws(Refusal) -> Result {
        try body(wire.span.extracting(validatedRange))
    }
}
