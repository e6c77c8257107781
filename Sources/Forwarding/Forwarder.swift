package import CCNx
package import Failures

/// Decides what becomes of each packet (RFC 8569 section 2.4). No I/O, no clock, no locks: it is told
/// what happened and when, and returns what to do. Owned by one thread.
///
///     Interest ── scope, hop limit ── PIT ── content store ── FIB ── next hop
///                      |               |          |            |
///                   returned       aggregated  answered     returned
///
/// `now` is the caller's monotonic clock in milliseconds and never goes back.
package struct Forwarder {
    struct FaceState {
        let scope: FaceScope
        /// Bytes of the largest packet that it carries.
        let packetLimit: Int
        /// Entries of the PIT in which the face is an origin or a next hop.
        var entries: Set<UInt64> = []
        /// In how many of them it is an origin.
        var originCount = 0
    }

    package internal(set) var counters = ForwarderCounters()
    let limits: ForwarderLimits
    let hash: @Sendable (DecodedPacket) -> ContentObjectHash
    var fib: FIB
    var pit = PIT()
    var faces: [FaceId: FaceState] = [:]
    /// Bytes of memory that the Interests in the PIT take.
    var pendingByteCount = 0

    /// - Parameter hash: computes a ContentObjectHash; called only when an Interest asks for one.
    package init(
        limits: ForwarderLimits = ForwarderLimits(),
        hash: @escaping @Sendable (DecodedPacket) -> ContentObjectHash
    ) {
        self.limits = limits
        self.hash = hash
        fib = FIB(limits: limits)
    }

    package var pendingInterestCount: Int { pit.count }
    /// True if nothing is pending and no book still says otherwise.
    package var isAtRest: Bool {
        pit.count == 0 && pendingByteCount == 0
            && faces.values.allSatisfy { $0.originCount == 0 && $0.entries.isEmpty }
    }
    package var routeCount: Int { fib.routeCount }
    /// When to call ``expire(now:)`` next; may be early, never late. Nil if nothing is pending.
    package var nextExpiry: UInt64? { pit.nextExpiry }

    // MARK: Faces and routes

    /// - Parameter packetLimit: bytes of the largest packet that the face carries.
    package mutating func faceUp(
        _ face: FaceId,
        scope: FaceScope,
        packetLimit: Int = PacketFraming.maximumPacketLength
    ) {
        precondition(faces[face] == nil, "face \(face) is up already")
        faces[face] = FaceState(scope: scope, packetLimit: packetLimit)
    }

    /// Forgets the face and its routes. What was asked of it is asked of the next candidate.
    package mutating func faceDown(_ face: FaceId, now: UInt64) -> [ForwarderAction] {
        guard let state = faces.removeValue(forKey: face) else { return [] }
        fib.removeRoutes(to: face)
        var actions: [ForwarderAction] = []
        for serial in state.entries.sorted() {
            actions += forget(face, in: serial, now: now)
        }
        return actions
    }

    package mutating func addRoute(
        _ prefix: Name,
        to face: FaceId,
        cost: UInt32 = 0
    ) throws(Failure) {
        guard faces[face] != nil else {
            throw Failure(.notFound, "there is no face \(face) to route \(prefix) to")
        }
        try fib.addRoute(prefix, to: face, cost: cost)
    }

    package mutating func removeRoute(_ prefix: Name, to face: FaceId) {
        fib.removeRoute(prefix, to: face)
    }

    package func nextHops(for name: Name) -> [FIB.NextHop] {
        fib.nextHops(for: name)
    }

    /// Bytes of the largest answer that anybody who waits for such an Interest takes; 0 if nobody waits.
    package func largestAnswer(to interest: Interest) -> Int {
        let origins = pit.serial(of: InterestKey(interest)).flatMap { pit[$0]?.origins }
        return origins?.compactMap { faces[$0.face]?.packetLimit }.max() ?? 0
    }

    // MARK: Packets and time

    package mutating func receive(
        _ packet: DecodedPacket,
        from face: FaceId,
        now: UInt64
    ) -> [ForwarderAction] {
        guard let scope = faces[face]?.scope else { return [] }
        switch packet.packet {
        case .interest(let interest):
            return receive(interest, in: packet, from: face, scope: scope, now: now)
        case .contentObject(let object):
            return receive(object, in: packet, from: face, now: now)
        case .interestReturn(let interestReturn):
            return receive(interestReturn, from: face, now: now)
        }
    }

    /// Ends the Interests whose time is over.
    package mutating func expire(now: UInt64) -> [ForwarderAction] {
        var actions: [ForwarderAction] = []
        while let (serial, entry) = pit.popExpired(now: now) {
            counters.interestsExpired += 1
            actions += reportExpired(entry)
            release(entry, serial)
        }
        return actions
    }

    // MARK: Leaves shared by the paths

    /// Takes an entry out of the PIT and out of the books.
    mutating func remove(_ serial: UInt64) -> PendingInterest? {
        guard let entry = pit.remove(serial) else { return nil }
        release(entry, serial)
        return entry
    }

    private mutating func release(_ entry: PendingInterest, _ serial: UInt64) {
        for origin in entry.origins {
            pendingByteCount -= origin.packet.pendingByteCount
            faces[origin.face]?.originCount -= 1
            faces[origin.face]?.entries.remove(serial)
        }
        for hop in entry.nextHops { faces[hop.face]?.entries.remove(serial) }
    }

    private mutating func forget(
        _ face: FaceId,
        in serial: UInt64,
        now: UInt64
    ) -> [ForwarderAction] {
        var releasedByteCount = 0
        let wasAwaited = pit.update(serial) { entry in
            for origin in entry.origins where origin.face == face {
                releasedByteCount += origin.packet.pendingByteCount
            }
            entry.origins.removeAll { $0.face == face }
            entry.untried.removeAll { $0 == face }
            let wasAwaited = entry.nextHops.contains { $0.face == face && $0.isAwaited }
            entry.nextHops.removeAll { $0.face == face }
            return wasAwaited
        }
        pendingByteCount -= releasedByteCount
        guard let wasAwaited, let entry = pit[serial] else { return [] }
        guard !entry.origins.isEmpty else {
            _ = remove(serial)
            return []
        }
        if entry.arrival == face { passOn(serial, entry.origins) }
        return wasAwaited ? noteReturn(serial, code: .pathError, now: now) : []
    }

    /// Nobody waits for the packet that was sent on: that of another takes its place, the one that may go furthest.
    private mutating func passOn(_ serial: UInt64, _ origins: [PendingInterest.Origin]) {
        let heirs = origins.map { (origin: $0, hopLimit: hopLimit(of: $0)) }
        guard let heir = heirs.max(by: { $0.hopLimit < $1.hopLimit }) else { return }
        pit.update(serial) { entry in
            entry.packet = heir.origin.packet
            entry.arrival = heir.origin.face
            entry.hopLimit = heir.hopLimit
        }
    }

    /// With which it is sent on.
    private func hopLimit(of origin: PendingInterest.Origin) -> UInt8 {
        guard case .interest(let interest) = origin.packet.packet else { return 0 }
        return isLocal(origin.face) || interest.hopLimit == 0
            ? interest.hopLimit : interest.hopLimit - 1
    }
}
