/// Who announced itself lately on the local links, and where each is. No I/O, no clock: times are milliseconds of one that
/// does not go back.
///
/// Anybody on a link can announce anything, so what it costs is bounded: the neighbours in all and at one host, and how
/// fast new ones are taken. A node that is heard on several links, or over both IPv4 and IPv6, is one neighbour, at the
/// address where it was heard first.
package struct FoundNeighbours: Sendable {
    package static let limit = 64
    /// Nodes of one machine.
    package static let limitOfHost = 8
    /// New ones that are taken at once; further ones come one in each pause.
    package static let newcomersAtOnce: UInt64 = 16
    package static let newcomerPauseMilliseconds: UInt64 = 1_000

    private struct Entry {
        var node: [UInt8]
        var end: UInt64
    }

    package enum Outcome: Hashable, Sendable {
        case new, known, left
        /// This node's own announcement, which comes back over each link.
        case own
        /// One too many.
        case refused
    }

    private let own: [UInt8]
    private var entries: [FaceAddress: Entry] = [:]
    private var newcomers = Pace(
        atOnce: newcomersAtOnce,
        thenEachMilliseconds: newcomerPauseMilliseconds
    )

    /// - Parameter node: the id of this one.
    package init(node: [UInt8]) { own = node }

    package var addresses: Set<FaceAddress> { Set(entries.keys) }

    /// When the next one is gone if it is not heard before; nil if there is none.
    package var nextEnd: UInt64? { entries.values.lazy.map(\.end).min() }

    /// - Parameter host: the address that it came from.
    package mutating func hear(
        _ announcement: NeighbourAnnouncement,
        from host: String,
        now: UInt64
    ) -> Outcome {
        guard announcement.node != own else { return .own }
        let address = announcement.address(at: host)
        if announcement.lifetimeMilliseconds == 0 {
            guard entries[address]?.node == announcement.node else { return .known }
            entries[address] = nil
            return .left
        }
        // Another node at the same address has taken the place of the one before.
        let isKnown = entries[address] != nil
        guard isKnown || !entries.values.contains(where: { $0.node == announcement.node }) else {
            return .known
        }
        guard isKnown || hasRoom(at: host) && newcomers.admits(now: now) else { return .refused }
        entries[address] = Entry(
            node: announcement.node,
            end: now + UInt64(announcement.lifetimeMilliseconds)
        )
        return isKnown ? .known : .new
    }

    private func hasRoom(at host: String) -> Bool {
        entries.count < Self.limit
            && entries.keys.count(where: { $0.host == host }) < Self.limitOfHost
    }

    /// Forgets who was not heard in time.
    package mutating func expire(now: UInt64) {
        entries = entries.filter { $0.value.end > now }
    }
}
