package import CCNx
package import Failures
internal import Forwarding

/// Decides which Interest of this node goes out when, and to whom. No I/O, no clock: it is told what
/// happened and when, and returns what to do. Owned by one thread.
///
/// ```
///   want ──► ask, one for each name ──► queue of one source, by lane ──► in flight ──► finished
///              ▲                          (a window for each source)        │
///              └──── the next source ◄── miss, silence, wrong bytes, face lost ┘
/// ```
/// Peers are asked before repositories; what a peer does not have is asked for elsewhere at once. A
/// source that stays silent or sends wrong bytes is *benched*: not asked for a while, then with one
/// Interest. Sources over UDP are asked for objects in chunks; see FetchScheduler+Chunks. An ask ends by
/// its deadline, whatever state it is in. Times are milliseconds of the caller's monotonic clock.
package struct FetchScheduler {
    package typealias SourceId = Int
    package typealias Request = UInt64

    package struct Wanted: Sendable {
        package let name: Name
        package let lane: FetchLane
        package let deadline: UInt64
        /// False for what only a repository can say, such as which catalog is the newest.
        package let mayPeersAnswer: Bool
        /// Nobody else is asked; nil: all who may have it.
        package let only: SourceId?

        package init(
            name: Name,
            lane: FetchLane,
            deadline: UInt64,
            mayPeersAnswer: Bool,
            only: SourceId? = nil
        ) {
            self.name = name
            self.lane = lane
            self.deadline = deadline
            self.mayPeersAnswer = mayPeersAnswer
            self.only = only
        }
    }

    package enum Action: Sendable {
        case send(Name, hopLimit: UInt8, to: FaceId)
        /// The object that was answered is for these.
        case deliver([Request])
        /// The object of this name, put together from chunks and checked, is for these.
        case deliverAssembled([Request], Name, [UInt8])
        case fail([Request], Failure)
        /// A source is not asked until then: for the log.
        case bench(SourceId, because: String, until: UInt64)
    }

    struct Ask {
        let name: Name
        var mayPeersAnswer: Bool
        /// The wishes of all who want it; nil once somebody wants it from anywhere.
        var only: [SourceId]?
        var requests: [Request]
        var lane: FetchLane
        var deadline: UInt64
        var state = State.waiting
        /// When it is looked at again; an item of `timers` with another time is stale.
        var timer: UInt64 = 0
        /// Asked in this round, without an answer.
        var tried: Set<SourceId> = []
        /// Said that they do not have it.
        var missed: Set<SourceId> = []
        var wrong: [SourceId: Int] = [:]
        var isRepeated = false
        /// The last thing that went wrong.
        var problem: Failure?
        /// Of an ask for a chunk.
        var place: ChunkPlace?
        var triesCount = 0
        /// What has come of an object in chunks, and is asked for.
        var assembling: Assembling?
        /// Chunks of other sources than the one that is asked do not count: some were wrong.
        var trustsAskedOnly = false
    }

    enum State: Equatable {
        /// For a face to come up.
        case waiting
        case queued(SourceId)
        case inFlight(SourceId, sent: UInt64)
        /// Its chunks are queued or in flight.
        case assembling(SourceId)
        /// Until its timer: everybody is benched or busy.
        case paused
    }

    let cutting: ObjectCutting?
    var sourcesById: [SourceId: FetchSource] = [:]
    var sourceOfFace: [FaceId: SourceId] = [:]
    var asks: [UInt64: Ask] = [:]
    var serialOfName: [Name: UInt64] = [:]
    var nextSerial: UInt64 = 1
    var timers = TimerHeap()
    var actions: [Action] = []
    var peerTurn = 0

    static let busyPause: UInt64 = 50

    /// - Parameter cutting: how objects are asked for in chunks; nil: they never are.
    package init(cutting: ObjectCutting? = nil) { self.cutting = cutting }

    package var sources: [SourceId: FetchSource] { sourcesById }
    package var askCount: Int { asks.count }
    package var inFlightCount: Int { sourcesById.values.reduce(0) { $0 + $1.window.inFlight } }
    /// When to call ``tick(now:)`` next; may be early, never late.
    package var nextWake: UInt64? { timers.first?.time }

    mutating func takeActions() -> [Action] {
        defer { actions = [] }
        return actions
    }
}

// MARK: - Asking

extension FetchScheduler {
    /// Someone wants an object; joins those who want it already.
    package mutating func want(
        _ request: Request,
        _ wanted: Wanted,
        now: UInt64
    ) -> [Action] {
        if let serial = serialOfName[wanted.name] {
            asks[serial]?.requests.append(request)
            let deadline = max(asks[serial]?.deadline ?? 0, wanted.deadline)
            asks[serial]?.deadline = deadline
            widen(serial, by: wanted, now: now)
            promote(serial, to: wanted.lane, now: now)
            return takeActions()
        }
        let serial = nextSerial
        nextSerial += 1
        serialOfName[wanted.name] = serial
        asks[serial] = Ask(
            name: wanted.name,
            mayPeersAnswer: wanted.mayPeersAnswer,
            only: wanted.only.map { [$0] },
            requests: [request],
            lane: wanted.lane,
            deadline: wanted.deadline
        )
        assign(serial, now: now)
        return takeActions()
    }

    /// Whoever joins may know somebody else to ask.
    private mutating func widen(_ serial: UInt64, by wanted: Wanted, now: UInt64) {
        guard var ask = asks[serial] else { return }
        ask.mayPeersAnswer = ask.mayPeersAnswer || wanted.mayPeersAnswer
        if let only = wanted.only {
            if ask.only?.contains(only) == false { ask.only?.append(only) }
        } else {
            ask.only = nil
        }
        asks[serial] = ask
        if ask.state == .waiting || ask.state == .paused { assign(serial, now: now) }
    }

    /// Somebody waits for it from now on; what nobody asked for is let be.
    package mutating func hasten(_ name: Name, now: UInt64) -> [Action] {
        if let serial = serialOfName[name] { promote(serial, to: .reader, now: now) }
        return takeActions()
    }

    /// Whoever wants it waits longer than they said.
    package mutating func prolong(_ name: Name, until deadline: UInt64) {
        guard let serial = serialOfName[name], let ask = asks[serial] else { return }
        asks[serial]?.deadline = max(ask.deadline, deadline)
    }

    private mutating func promote(_ serial: UInt64, to lane: FetchLane, now: UInt64) {
        guard let ask = asks[serial], lane < ask.lane else { return }
        asks[serial]?.lane = lane
        promoteChunks(serial, to: lane, now: now)
        guard case .queued(let id) = ask.state else { return }
        sourcesById[id]?.lanes.append(serial, to: lane)
        dispatch(id, now: now)
    }
}
