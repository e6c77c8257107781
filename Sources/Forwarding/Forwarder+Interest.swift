package import CCNx

/// The path of an Interest (RFC 8569 section 2.4.4).
extension Forwarder {
    mutating func receive(
        _ interest: Interest,
        in packet: DecodedPacket,
        from face: FaceId,
        scope: FaceScope,
        now: UInt64
    ) -> [ForwarderAction] {
        counters.interestsReceived += 1
        if interest.hasUnsupportedHashRestriction {
            return refuse(packet, .unsupportedHashRestriction, to: face)
        }
        if scope == .remote, interest.name.isOfLocalScope {
            return refuse(packet, .prohibited, to: face)
        }
        var hopLimit = interest.hopLimit
        if scope == .remote {
            guard hopLimit > 0 else { return refuse(packet, .hopLimitExceeded, to: face) }
            hopLimit -= 1
        }
        if interest.lifetimeMilliseconds == 0 {
            return forwardWithoutReply(interest, packet, hopLimit: hopLimit, from: face)
        }
        let origin = PendingInterest.Origin(
            face: face,
            packet: packet,
            expiry: expiry(of: interest, now)
        )
        let key = InterestKey(interest)
        if let serial = pit.serial(of: key), let entry = pit[serial] {
            if entry.expiry > now {
                return join(serial, entry, origin, hopLimit: hopLimit, now: now)
            }
            // Its time was over, only nobody has said so yet.
            _ = remove(serial)
            return reportExpired(entry) + begin(interest, key, origin, hopLimit: hopLimit)
        }
        return begin(interest, key, origin, hopLimit: hopLimit)
    }

    /// Sends an Interest of this process to a neighbour that its owner has chosen, or sends it again. The
    /// content store is not asked: the owner did. Who else waits for the same waits with it; if the
    /// neighbour gives it back, so do those.
    ///
    /// - Parameter face: the owner's, which is local and gets one outcome for all it sent.
    package mutating func express(
        _ packet: DecodedPacket,
        from face: FaceId,
        to hop: FaceId,
        now: UInt64
    ) -> [ForwarderAction] {
        guard case .interest(let interest) = packet.packet, faces[face] != nil else { return [] }
        let origin = PendingInterest.Origin(
            face: face,
            packet: packet,
            expiry: expiry(of: interest, now)
        )
        let key = InterestKey(interest)
        var expired: [ForwarderAction] = []
        if let serial = pit.serial(of: key), let entry = pit[serial] {
            if entry.expiry > now {
                guard admit(origin, to: serial, entry) else {
                    return refuse(packet, .noResources, to: face)
                }
                pit.update(serial) { entry in
                    entry.isLookingUp = false
                    // It may go less far than what is asked for by others, never the other way round.
                    if interest.hopLimit >= entry.hopLimit {
                        entry.packet = packet
                        entry.arrival = face
                        entry.hopLimit = interest.hopLimit
                    }
                    // Nobody else waits for those who were asked before, and the owner has given up on them: the
                    // next one that gives it back is told at once.
                    if entry.origins.allSatisfy({ $0.face == face }) {
                        for index in entry.nextHops.indices {
                            entry.nextHops[index].isAwaited = false
                        }
                    }
                    entry.untried.removeAll { $0 == hop }
                    entry.untried.insert(hop, at: 0)
                }
                return tryNext(serial, otherwise: .noRoute, now: now)
            }
            _ = remove(serial)
            expired = reportExpired(entry)
        }
        guard hasRoomForEntry(of: origin) else {
            return expired + refuse(packet, .noResources, to: face)
        }
        var entry = PendingInterest(
            key: key,
            origins: [origin],
            packet: packet,
            arrival: face,
            hopLimit: interest.hopLimit,
            expiry: origin.expiry
        )
        entry.isLookingUp = false
        entry.untried = [hop]
        let serial = pit.insert(entry)
        book(origin, serial)
        return expired + tryNext(serial, otherwise: .noRoute, now: now)
    }

    /// The content store's answer to ``ForwarderAction/lookUpContent(_:_:)``; nil is a miss.
    package mutating func contentStoreAnswered(
        _ token: LookupToken,
        with object: DecodedPacket?,
        now: UInt64
    ) -> [ForwarderAction] {
        guard let entry = pit[token.serial], entry.isLookingUp else { return [] }
        guard let object else {
            return forward(token.serial, now: now) { $0 }
        }
        counters.contentStoreHits += 1
        _ = remove(token.serial)
        return send(object, to: entry.origins.filter { waits($0, at: now) })
    }

    /// Who waits for a look-up that has not been answered, whoever it was begun for; nil if nobody does.
    package func waitingFace(for token: LookupToken) -> FaceId? {
        guard let entry = pit[token.serial], entry.isLookingUp else { return nil }
        return entry.origins.first?.face
    }

    /// The content store cannot be asked now: the Interest is given back, to be sent again later.
    package mutating func contentStoreIsBusy(
        _ token: LookupToken,
        now: UInt64
    ) -> [ForwarderAction] {
        guard let entry = pit[token.serial], entry.isLookingUp else { return [] }
        _ = remove(token.serial)
        return giveBack(entry, .noResources, now: now)
    }

    /// A neighbour whose time is over has given up; whoever asks in this process gets an outcome for
    /// everything, late or not.
    func waits(_ origin: PendingInterest.Origin, at now: UInt64) -> Bool {
        origin.expiry > now || isLocal(origin.face)
    }

    /// The outcome of an entry that ended unanswered.
    func reportExpired(_ entry: PendingInterest) -> [ForwarderAction] {
        entry.origins.filter { isLocal($0.face) }
            .map { .reportExpired($0.packet, to: $0.face) }
    }

    // MARK: Into the PIT

    private mutating func begin(
        _ interest: Interest,
        _ key: InterestKey,
        _ origin: PendingInterest.Origin,
        hopLimit: UInt8
    ) -> [ForwarderAction] {
        guard hasRoomForEntry(of: origin) else {
            return refuse(origin.packet, .noResources, to: origin.face)
        }
        let serial = pit.insert(
            PendingInterest(
                key: key,
                origins: [origin],
                packet: origin.packet,
                arrival: origin.face,
                hopLimit: hopLimit,
                expiry: origin.expiry
            )
        )
        book(origin, serial)
        return [.lookUpContent(LookupToken(serial: serial), interest)]
    }

    /// A similar Interest is pending. A repeat from the same face is a retransmission and goes on, to a
    /// face that was not asked yet if there is one; so does one that may go further than any before it.
    /// Everything else waits with the others.
    private mutating func join(
        _ serial: UInt64,
        _ entry: PendingInterest,
        _ origin: PendingInterest.Origin,
        hopLimit: UInt8,
        now: UInt64
    ) -> [ForwarderAction] {
        let known = entry.origins.contains { $0.face == origin.face }
        guard admit(origin, to: serial, entry) else {
            return refuse(origin.packet, .noResources, to: origin.face)
        }
        let goesFurther = hopLimit > entry.hopLimit
        pit.update(serial) { entry in
            if goesFurther || known && hopLimit == entry.hopLimit {
                entry.packet = origin.packet
                entry.arrival = origin.face
                entry.hopLimit = hopLimit
            }
        }
        // Until the store has answered nothing was sent, so there is nothing to send again.
        guard !entry.isLookingUp, known || goesFurther else {
            counters.interestsAggregated += 1
            return []
        }
        guard !goesFurther else { return forward(serial, now: now) { $0 } }
        return forward(serial, now: now) { candidates in
            let asked = entry.nextHops
            return candidates.filter { face in !asked.contains { $0.face == face } }
                + candidates.filter { face in asked.contains { $0.face == face && $0.isAwaited } }
                + candidates.filter { face in asked.contains { $0.face == face && !$0.isAwaited } }
        }
    }

    /// Lets a face wait for an entry, or wait longer.
    ///
    /// - Returns: false, with nothing changed, if there is no room.
    private mutating func admit(
        _ origin: PendingInterest.Origin,
        to serial: UInt64,
        _ entry: PendingInterest
    ) -> Bool {
        let known = entry.origins.firstIndex { $0.face == origin.face }
        if let known {
            let more =
                origin.packet.pendingByteCount - entry.origins[known].packet.pendingByteCount
            guard more <= 0 || hasBytes(more, for: origin.face) else { return false }
            pendingByteCount += more
        } else {
            guard isLocal(origin.face) || entry.origins.count < limits.originCountPerInterest,
                hasRoom(for: origin)
            else { return false }
            book(origin, serial)
        }
        pit.update(serial) { entry in
            if let known {
                entry.origins[known].packet = origin.packet
                entry.origins[known].expiry = max(entry.origins[known].expiry, origin.expiry)
                // The one before is counted no more, so it is kept no more.
                if entry.arrival == origin.face { entry.packet = origin.packet }
            } else {
                entry.origins.append(origin)
            }
            entry.expiry = max(entry.expiry, origin.expiry)
        }
        return true
    }

    /// For another entry in the PIT.
    private func hasRoomForEntry(of origin: PendingInterest.Origin) -> Bool {
        let more = isLocal(origin.face) ? limits.localInterestCount : 0
        return pit.count < limits.pendingInterestCount + more && hasRoom(for: origin)
    }

    private func hasRoom(for origin: PendingInterest.Origin) -> Bool {
        guard let state = faces[origin.face] else { return false }
        return state.originCount < limits.pendingInterestCountPerFace
            && hasBytes(origin.packet.pendingByteCount, for: origin.face)
    }

    private func hasBytes(_ byteCount: Int, for face: FaceId) -> Bool {
        let more = isLocal(face) ? limits.localPendingByteCount : 0
        return pendingByteCount + byteCount <= limits.pendingByteCount + more
    }

    func isLocal(_ face: FaceId) -> Bool { faces[face]?.scope == .local }

    private mutating func book(_ origin: PendingInterest.Origin, _ serial: UInt64) {
        pendingByteCount += origin.packet.pendingByteCount
        faces[origin.face]?.originCount += 1
        faces[origin.face]?.entries.insert(serial)
    }

    // MARK: Out to next hops

    /// Sends the entry's Interest to the first of its candidates, in the order that `arrange` gives
    /// them; the others are asked if that one gives it back.
    private mutating func forward(
        _ serial: UInt64,
        now: UInt64,
        arrange: ([FaceId]) -> [FaceId]
    ) -> [ForwarderAction] {
        guard let entry = pit[serial] else { return [] }
        let candidates = candidates(
            for: entry.key.name,
            hopLimit: entry.hopLimit,
            excluding: entry.arrival
        )
        pit.update(serial) { entry in
            entry.isLookingUp = false
            entry.untried = arrange(candidates.faces)
        }
        return tryNext(serial, otherwise: candidates.reasonForNone, now: now)
    }

    /// Asks the next candidate; if there is none and nobody is left to wait for, gives the Interest
    /// back to everyone who waits.
    mutating func tryNext(
        _ serial: UInt64,
        otherwise code: ReturnCode,
        now: UInt64
    ) -> [ForwarderAction] {
        while let entry = pit[serial], let face = entry.untried.first {
            pit.update(serial) { _ = $0.untried.removeFirst() }
            guard let limit = faces[face]?.packetLimit else { continue }
            guard entry.packet.wire.count <= limit else {
                pit.update(serial) { $0.noteReturn(.mtuTooLarge) }
                continue
            }
            pit.update(serial) { $0.noteSent(to: face) }
            faces[face]?.entries.insert(serial)
            counters.interestsForwarded += 1
            return [.sendInterest(entry.packet, hopLimit: entry.hopLimit, to: face)]
        }
        guard let entry = pit[serial], !entry.isAwaitingAnyone else { return [] }
        _ = remove(serial)
        return giveBack(entry, entry.returnCode ?? code, now: now)
    }

    /// RFC 8569 section 2.4.4: the longest prefix's next hops but the one it came from; none on another
    /// machine if the hop limit is used up or the name is of local scope.
    private func candidates(
        for name: Name,
        hopLimit: UInt8,
        excluding arrival: FaceId
    ) -> (faces: [FaceId], reasonForNone: ReturnCode) {
        let routed = fib.nextHops(for: name).map(\.face).filter { $0 != arrival }
        let isLocalOnly = hopLimit == 0 || name.isOfLocalScope
        let reachable = isLocalOnly ? routed.filter(isLocal) : routed
        let isHopLimitReason = hopLimit == 0 && !routed.isEmpty && reachable.isEmpty
        return (reachable, isHopLimitReason ? .hopLimitExceeded : .noRoute)
    }

    /// An Interest with lifetime 0 expects no answer, so it leaves no trace here.
    private mutating func forwardWithoutReply(
        _ interest: Interest,
        _ packet: DecodedPacket,
        hopLimit: UInt8,
        from face: FaceId
    ) -> [ForwarderAction] {
        let candidates = candidates(for: interest.name, hopLimit: hopLimit, excluding: face)
        let byteCount = packet.wire.count
        let next = candidates.faces.first { byteCount <= faces[$0]?.packetLimit ?? 0 }
        guard let next else { return [] }
        counters.interestsForwarded += 1
        return [.sendInterest(packet, hopLimit: hopLimit, to: next)]
    }

    private func expiry(of interest: Interest, _ now: UInt64) -> UInt64 {
        now
            + min(
                interest.lifetimeMilliseconds ?? limits.defaultLifetimeMilliseconds,
                limits.maximumLifetimeMilliseconds
            )
    }

    /// Tells everyone who waits for an entry that is over.
    private mutating func giveBack(
        _ entry: PendingInterest,
        _ code: ReturnCode,
        now: UInt64
    ) -> [ForwarderAction] {
        entry.origins.filter { waits($0, at: now) && faces[$0.face] != nil }
            .flatMap { refuse($0.packet, code, to: $0.face) }
    }

    mutating func refuse(
        _ packet: DecodedPacket,
        _ code: ReturnCode,
        to face: FaceId
    ) -> [ForwarderAction] {
        counters.interestsReturned += 1
        return [.sendInterestReturn(packet, code: code, to: face)]
    }
}

extension Name {
    /// Such a name means something on this machine only.
    var isOfLocalScope: Bool { segments.first == Self.localScopeSegment }

    private static let localScopeSegment = NameSegment.name(Name.localScope)
}
