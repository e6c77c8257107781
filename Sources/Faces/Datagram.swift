package import CCNx
package import Failures

/// What came in one datagram: one whole packet, or nothing of use (RFC 8609 has no other framing).
package enum Datagram: Sendable {
    case packet(DecodedPacket)
    /// A packet of a type that is not spoken here.
    case foreign
    /// Half a packet, more than one, or none.
    case malformed(Failure)

    /// Of UDP over IPv4: 65,535 bytes less the headers of IP and UDP. IPv6 takes 20 more, which nobody needs.
    package static let maximumByteCount = 65_507

    package init(_ bytes: [UInt8]) {
        do throws(Failure) {
            self = .packet(try PacketDecoder.decode(bytes))
        } catch  where error.kind == .unsupported {
            self = .foreign
        } catch {
            self = .malformed(error)
        }
    }

    /// Only who asks something needs a face: nothing was asked of a neighbour that never was there.
    package var opensFace: Bool {
        if case .packet(let packet) = self, case .interest = packet.packet { true } else { false }
    }
}

/// Datagrams that led to nothing, since the start.
package struct DatagramCounters: Hashable, Sendable {
    package internal(set) var malformed = 0
    package internal(set) var foreign = 0
    /// From addresses without a face: no Interests, or too many faces.
    package internal(set) var turnedAway = 0
    /// To neighbours who came: there was no way to them, or it was forbidden.
    package internal(set) var unsent = 0
    /// To neighbours who came: their addresses, which may be forged, had their share; see ``AnswerBudget``.
    package internal(set) var withheld = 0

    package init() {}
}
