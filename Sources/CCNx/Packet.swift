/// One message in one packet.
package enum Packet: Hashable, Sendable {
    case interest(Interest)
    case contentObject(ContentObject)
    case interestReturn(InterestReturn)
}
