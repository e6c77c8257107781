/// What a forwarder may change in a packet that passes through: the fixed header. Everything after
/// it stays byte for byte, fields this implementation does not know included.
extension DecodedPacket {
    /// The Interest as it goes to the next hop.
    package func interestWire(hopLimit: UInt8) -> [UInt8] {
        var bytes = wire
        bytes[FixedHeader.hopLimitOffset] = hopLimit
        return bytes
    }

    /// The Interest Return that gives this Interest back: the Interest as it was received, with type
    /// and return code changed (RFC 8609 section 3.2.3).
    package func interestReturnWire(code: ReturnCode) -> [UInt8] {
        var bytes = wire
        bytes[FixedHeader.packetTypeOffset] = PacketType.interestReturn
        bytes[FixedHeader.returnCodeOffset] = code.code
        return bytes
    }
}
