internal import CCNx
internal import Faces
internal import Failures
internal import Fetching
internal import Forwarding
internal import Logging

/// Objects that neighbours ask for as a whole, and that lie behind datagrams.
///
/// A neighbour over TCP asks for an object in one packet, which no way over UDP carries. So this node asks in chunks there,
/// as it does for itself, and gives the forwarder the whole as if it had come from where the Interest was to go.
struct PassingObjects {
    struct Fetch: Hashable {
        let name: Name
        let face: FaceId
    }

    /// What is being fetched, each for all who wait for it.
    var fetches: Set<Fetch> = []

    /// At once; what does not fit is given back, to be asked for again later.
    static let limit = 512
    /// Milliseconds that one is fetched at most, however long a neighbour waits.
    static let patience: UInt64 = 10_000
    /// Milliseconds, for an Interest that does not say.
    static let defaultPatience = ForwarderLimits().defaultLifetimeMilliseconds
}

extension PacketExchange {
    /// True if an Interest that the forwarder sends is for an object that a packet on that face cannot carry, and somebody
    /// waits who takes it whole.
    func isForChunks(_ packet: DecodedPacket, to face: FaceId) -> Bool {
        guard let address = address(of: face), address.isDatagram, sourceIds[address] != nil,
            case .interest(let interest) = packet.packet,
            interest.keyIdRestriction == nil, interest.contentObjectHashRestriction == nil,
            ObjectCutting.datagrams.chunkPrefix(interest.name) != nil
        else { return false }
        return forwarder.largestAnswer(to: interest) > settings.datagramAnswerByteCount
    }

    /// Instead of sending the Interest there.
    func fetchInChunks(_ packet: DecodedPacket, from face: FaceId) {
        guard case .interest(let interest) = packet.packet,
            let source = address(of: face).flatMap({ sourceIds[$0] })
        else { return }
        let fetch = PassingObjects.Fetch(name: interest.name, face: face)
        let patience = interest.lifetimeMilliseconds ?? PassingObjects.defaultPatience
        let deadline = now + min(patience, PassingObjects.patience)
        guard !passing.fetches.contains(fetch) else {
            return own.scheduler.prolong(interest.name, until: deadline)
        }
        guard passing.fetches.count < PassingObjects.limit else {
            return giveBack(packet, .noResources, from: face)
        }
        passing.fetches.insert(fetch)
        let wanted = FetchScheduler.Wanted(
            name: interest.name,
            // After the readers of this node.
            lane: .readAhead,
            deadline: deadline,
            mayPeersAnswer: false,
            only: source
        )
        want(wanted, nil) { result in
            self.passing.fetches.remove(fetch)
            self.conclude(result, of: packet, interest, from: face)
        }
    }

    private func conclude(
        _ result: Result<OwnRequests.Answer, Failure>,
        of packet: DecodedPacket,
        _ interest: Interest,
        from face: FaceId
    ) {
        // Somebody of this node may have wanted it, too, and got it from elsewhere: then all have it.
        guard forwarder.largestAnswer(to: interest) > 0 else { return }
        do throws(Failure) {
            let whole = try Self.packet(of: try result.get())
            carryOut(forwarder.receive(whole, from: face, now: now), cameFrom: face)
        } catch {
            // Of a silence nobody is told: each has a clock.
            if error.kind == .timedOut || error.kind == .cancelled { return }
            giveBack(packet, ReturnCode(error.kind), from: face)
        }
    }

    private static func packet(of answer: OwnRequests.Answer) throws(Failure) -> DecodedPacket {
        if let packet = answer.packet { return packet }
        return try PacketEncoder().encode(.contentObject(answer.object))
    }

    /// As if the neighbour there had.
    private func giveBack(_ packet: DecodedPacket, _ code: ReturnCode, from face: FaceId) {
        do throws(Failure) {
            let back = try PacketDecoder.decode(packet.interestReturnWire(code: code))
            carryOut(forwarder.receive(back, from: face, now: now), cameFrom: face)
        } catch {
            logger.error("Interest not given back", metadata: ["cause": "\(error)"])
        }
    }
}
