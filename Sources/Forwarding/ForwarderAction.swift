package import CCNx

/// What the forwarder wants done. Its owner carries it out, in this order.
package enum ForwarderAction: Hashable, Sendable {
    /// Send the Interest, with this HopLimit instead of its own.
    case sendInterest(DecodedPacket, hopLimit: UInt8, to: FaceId)
    case sendContentObject(DecodedPacket, to: FaceId)
    /// Give back this Interest, which came from that face.
    case sendInterestReturn(DecodedPacket, code: ReturnCode, to: FaceId)
    /// Ask the content store, and report with ``Forwarder/contentStoreAnswered(_:with:now:)``, once.
    ///
    /// With a KeyIdRestriction the store may answer only with an object whose signature it has
    /// verified, with a hash restriction only with one whose hash it knows, and never with one past
    /// its ExpiryTime (RFC 8569 section 2.4.3).
    case lookUpContent(LookupToken, Interest)
    /// This object was asked for and came from whom it was asked of: it may be kept.
    case cache(DecodedPacket)
    /// This Interest of a local face ended unanswered. Neighbours are not told; they have clocks.
    case reportExpired(DecodedPacket, to: FaceId)

    /// The bytes of what is to be sent, if anything is.
    package var wire: [UInt8]? {
        switch self {
        case .sendInterest(let packet, let hopLimit, _): packet.interestWire(hopLimit: hopLimit)
        case .sendContentObject(let packet, _): packet.wire
        case .sendInterestReturn(let packet, let code, _): packet.interestReturnWire(code: code)
        case .lookUpContent, .cache, .reportExpired: nil
        }
    }
}

/// Ties the content store's answer to the Interest it was asked for.
package struct LookupToken: Hashable, Sendable {
    let serial: UInt64
}
