package import CCNx

/// One entry of the PIT: who waits, whom was asked, who could still be asked.
struct PendingInterest {
    /// A face that wants the answer.
    struct Origin {
        let face: FaceId
        /// The Interest as it came from there: what an Interest Return gives back.
        var packet: DecodedPacket
        var expiry: UInt64
    }

    /// A face the Interest was sent to.
    struct NextHop {
        let face: FaceId
        /// False once it gave the Interest back.
        var isAwaited: Bool
    }

    let key: InterestKey
    var origins: [Origin]
    var nextHops: [NextHop] = []
    /// Candidates in order of preference, to be asked if those before them give it back.
    var untried: [FaceId] = []
    /// True until the content store has said that it does not have it.
    var isLookingUp = true
    /// What is sent on, where it came from, and with which hop limit: of similar Interests the one
    /// that may go furthest. Always that of the origin at `arrival`, so that its bytes are counted.
    var packet: DecodedPacket
    var arrival: FaceId
    var hopLimit: UInt8
    /// The latest of the origins'. In milliseconds of the caller's monotonic clock.
    var expiry: UInt64
    /// The most telling of the codes with which next hops gave it back.
    var returnCode: ReturnCode?

    mutating func noteSent(to face: FaceId) {
        if let index = nextHops.firstIndex(where: { $0.face == face }) {
            nextHops[index].isAwaited = true
        } else {
            nextHops.append(NextHop(face: face, isAwaited: true))
        }
    }

    /// Keeps the most telling of several codes.
    mutating func noteReturn(_ code: ReturnCode) {
        guard let before = returnCode, before.rank >= code.rank else { return returnCode = code }
    }

    var isAwaitingAnyone: Bool { nextHops.contains { $0.isAwaited } }
}

extension DecodedPacket {
    /// Bytes of memory that a pending Interest takes with all that belongs to it, roughly: its payload is there twice,
    /// and a name of many short segments is much larger than on the wire.
    package var pendingByteCount: Int {
        let name =
            if case .interest(let interest) = packet { interest.name.overheadByteCount } else { 0 }
        return 2 * wire.count + name + Self.pendingOverhead
    }

    /// Of an entry, its origin, its keys in the tables and its timer.
    private static let pendingOverhead = 512
}
