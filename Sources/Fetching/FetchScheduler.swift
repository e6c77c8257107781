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
    private var sourceOfFace: [FaceId: SourceId] = [:]
    var asks: [UInt64: Ask] = [:]
    var serialOfName: [Name: UInt64] = [:]
    var nextSerial: UInt64 = 1
    private var timers = TimerHeap()
    var actions: [Action] = []
    private var peerTurn = 0

    /// A face of a route that does not come up in this time has nobody at its end.
    private static let connectPatience: UInt64 = 3_000
    static let busyPause: UInt64 = 50
    /// Peers asked for one object before a repository is.
    private static let peerCount = 2
    /// A peer that has less than this part of what it was asked for is asked for one in 16.
    private static let usefulHitRate = 0.05
    private static let wrongAnswersFromOne = 2
    private static let toleratedStaleTimers = 4_096

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

// MARK: - Sources

extension FetchScheduler {
    package mutating func addSource(
        _ id: SourceId,
        label: String,
        kind: FetchSource.Kind,
        isDatagram: Bool = false
    ) {
        precondition(sourcesById[id] == nil, "source \(id) is known already")
        sourcesById[id] = FetchSource(label: label, kind: kind, isDatagram: isDatagram)
    }

    package mutating func removeSource(_ id: SourceId, now: UInt64) -> [Action] {
        setKinds([(id: id, kind: nil)], now: now)
    }

    /// Says what sources are for from now on, all at once: what one of them may not be asked for any more goes to
    /// another that may, and fails only if there is none.
    ///
    /// - Parameter kinds: nil for a source that is not asked at all any more. What is known of the others stays.
    package mutating func setKinds(
        _ kinds: [(id: SourceId, kind: FetchSource.Kind?)],
        now: UInt64
    ) -> [Action] {
        guard !kinds.isEmpty else { return [] }
        for (id, kind) in kinds {
            if let kind {
                sourcesById[id]?.take(kind)
            } else if let face = sourcesById.removeValue(forKey: id)?.face, sourceOfFace[face] == id
            {
                sourceOfFace[face] = nil
            }
        }
        // Each as it is at its turn: one that moves may make room for the next.
        for serial in asks.keys.sorted() {
            guard let ask = asks[serial], mustMove(ask) else { continue }
            if case .inFlight(let id, _) = ask.state {
                leave(id)
                asks[serial]?.isRepeated = true
            }
            abandonChunks(serial)
            if ask.state != .waiting, ask.state != .paused {
                asks[serial]?.state = .paused
                asks[serial]?.problem = Failure(
                    .unavailable,
                    "the neighbour that was asked for \(ask.name) is not asked any more"
                )
            }
            assign(serial, now: now)
        }
        for (id, _) in kinds { dispatch(id, now: now) }
        return takeActions()
    }

    /// True for what waits, which may have found somebody, and for what is asked of one that is not on the way to it.
    private func mustMove(_ ask: Ask) -> Bool {
        // A chunk goes with its object.
        guard ask.place == nil else { return false }
        return switch ask.state {
        case .waiting, .paused: true
        case .queued(let id), .inFlight(let id, _), .assembling(let id): !mayAsk(id, for: ask)
        }
    }

    private func mayAsk(_ id: SourceId, for ask: Ask) -> Bool {
        guard let source = sourcesById[id] else { return false }
        if let only = ask.only { return only.contains(id) }
        return source.rank(for: ask.name) != nil || (source.kind == .peer && ask.mayPeersAnswer)
    }

    package mutating func faceUp(_ face: FaceId, of id: SourceId, now: UInt64) -> [Action] {
        guard let before = sourcesById[id]?.face, before == face else {
            return begin(face, of: id, now: now)
        }
        return []
    }

    private mutating func begin(
        _ face: FaceId,
        of id: SourceId,
        now: UInt64
    ) -> [Action] {
        guard sourcesById[id] != nil else { return [] }
        // What was asked of the face before is asked again here.
        if let before = sourcesById[id]?.face { lose(id, before, now: now) }
        sourcesById[id]?.noteFace(face)
        sourceOfFace[face] = id
        for (serial, ask) in asks.sorted(by: { $0.key < $1.key })
        where ask.place == nil && (ask.state == .waiting || ask.state == .paused) {
            assign(serial, now: now)
        }
        return takeActions()
    }

    /// What was asked of the face is asked of others, or waits for it to come up again.
    package mutating func faceDown(_ face: FaceId, now: UInt64) -> [Action] {
        for id in sourcesById.keys.sorted() where sourcesById[id]?.face == face {
            lose(id, face, now: now)
        }
        return takeActions()
    }

    private mutating func lose(_ id: SourceId, _ face: FaceId, now: UInt64) {
        if sourceOfFace[face] == id { sourceOfFace[face] = nil }
        sourcesById[id]?.face = nil
        sourcesById[id]?.window.inFlight = 0
        _ = sourcesById[id]?.lanes.removeAll()
        _ = sourcesById[id]?.chunkLanes.removeAll()
        let label = sourcesById[id]?.label ?? ""
        let lost = Failure(.unavailable, "the connection to \(label) was lost")
        abandonAll(of: id, because: lost, now: now)
        for (serial, ask) in asks.sorted(by: { $0.key < $1.key }) where ask.place == nil {
            switch ask.state {
            case .queued(id): break
            case .inFlight(id, _):
                asks[serial]?.isRepeated = true
                asks[serial]?.problem = lost
            default: continue
            }
            assign(serial, now: now)
        }
    }

    /// True if some source is on the way to the name, whether or not its face is up.
    package func hasSource(for name: Name) -> Bool {
        sourcesById.values.contains { $0.rank(for: name) != nil || $0.kind == .peer }
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

    private mutating func promote(_ serial: UInt64, to lane: FetchLane, now: UInt64) {
        guard let ask = asks[serial], lane < ask.lane else { return }
        asks[serial]?.lane = lane
        promoteChunks(serial, to: lane, now: now)
        guard case .queued(let id) = ask.state else { return }
        sourcesById[id]?.lanes.append(serial, to: lane)
        dispatch(id, now: now)
    }

    /// Finds who is asked next.
    mutating func assign(_ serial: UInt64, now: UInt64) {
        guard let ask = asks[serial] else { return }
        let plan = plan(for: ask, now: now)
        guard !plan.isEmpty else { return waitForAFace(serial, ask, now: now) }
        let open = plan.filter { !ask.missed.contains($0) }
        guard !open.isEmpty else {
            // One that is connecting may have it.
            let isOneDown =
                ask.only == nil
                && sourcesById.values.contains { !$0.isUp && $0.rank(for: ask.name) != nil }
            if isOneDown { return waitForAFace(serial, ask, now: now) }
            return fail(
                serial,
                Failure(
                    .noSource,
                    "no node that can be reached has \(ask.name)",
                    hint: "publish it anew, or add a route to a node that has it",
                    cause: ask.problem?.kind == .tooLarge ? ask.problem : nil
                ),
                now: now
            )
        }
        let tolerable = open.filter { ask.wrong[$0, default: 0] < Self.wrongAnswersFromOne }
        guard !tolerable.isEmpty else {
            return fail(
                serial,
                ask.problem ?? Failure(.corrupt, "what came for \(ask.name) has other bytes"),
                now: now
            )
        }
        let available = tolerable.filter { sourcesById[$0]?.isBenched(at: now) == false }
        guard let next = available.first(where: { !ask.tried.contains($0) }) ?? available.first
        else {
            let until = tolerable.compactMap { sourcesById[$0]?.benchedUntil }.min() ?? now
            return pause(serial, until: until, now: now)
        }
        // All were asked: another round.
        if ask.tried.contains(next) { asks[serial]?.tried = [] }
        asks[serial]?.state = .queued(next)
        setTimer(serial, at: ask.deadline)
        sourcesById[next]?.lanes.append(serial, to: ask.lane)
        dispatch(next, now: now)
    }

    /// Sources whose faces are up, in the order in which they are asked.
    private mutating func plan(for ask: Ask, now: UInt64) -> [SourceId] {
        if let only = ask.only { return only.filter { sourcesById[$0]?.isUp == true } }
        var repositories: [(id: SourceId, length: Int, cost: UInt32)] = []
        var peers: [(id: SourceId, time: Double)] = []
        for (id, source) in sourcesById where source.isUp {
            if let rank = source.rank(for: ask.name) {
                repositories.append((id: id, length: rank.length, cost: rank.cost))
            } else if source.kind == .peer, ask.mayPeersAnswer {
                peers.append((id: id, time: source.roundTrip ?? 0))
            }
        }
        repositories.sort { ($1.length, $0.cost, $0.id) < ($0.length, $1.cost, $1.id) }
        guard !peers.isEmpty else { return repositories.map(\.id) }
        peerTurn += 1
        let useful = peers.filter { peer in
            let isUseful = sourcesById[peer.id].map { $0.hitRate >= Self.usefulHitRate } ?? false
            return isUseful || repositories.isEmpty || peerTurn % 16 == 0
                || ask.tried.contains(peer.id)
        }
        .filter { sourcesById[$0.id]?.isBenched(at: now) == false || repositories.isEmpty }
        .sorted { ($0.time, $0.id) < ($1.time, $1.id) }
        // With nobody else to ask, each of them is.
        let count = repositories.isEmpty ? useful.count : Self.peerCount
        return useful.prefix(count).map(\.id) + repositories.map(\.id)
    }

    private mutating func waitForAFace(_ serial: UInt64, _ ask: Ask, now: UInt64) {
        guard isThereASource(for: ask) else {
            return fail(
                serial,
                Failure(.noSource, "there is no route for \(ask.name)", cause: ask.problem),
                now: now
            )
        }
        asks[serial]?.state = .waiting
        setTimer(serial, at: min(now + Self.connectPatience, ask.deadline))
    }

    private func isThereASource(for ask: Ask) -> Bool {
        guard let only = ask.only else { return hasSource(for: ask.name) }
        return only.contains { sourcesById[$0] != nil }
    }

    mutating func pause(_ serial: UInt64, until: UInt64, now: UInt64) {
        guard let ask = asks[serial] else { return }
        asks[serial]?.state = .paused
        setTimer(serial, at: min(max(until, now + 1), ask.deadline))
    }

    /// Sends what waits for a source, as far as its window goes.
    mutating func dispatch(_ id: SourceId, now: UInt64) {
        for lane in FetchLane.allCases {
            while let source = sourcesById[id], let face = source.face,
                source.window.hasRoom(isForBackground: lane == .hydration),
                let serial = sourcesById[id]?.popFirst(lane)
            {
                guard let ask = asks[serial], ask.state == .queued(id), ask.lane == lane else {
                    continue
                }
                // The next in turn are then its chunks.
                if ask.place == nil, beginChunks(serial, ask, of: id) { continue }
                send(serial, ask, to: id, face, now: now)
            }
        }
    }

    private mutating func send(
        _ serial: UInt64,
        _ ask: Ask,
        to id: SourceId,
        _ face: FaceId,
        now: UInt64
    ) {
        guard let source = sourcesById[id] else { return }
        asks[serial]?.state = .inFlight(id, sent: now)
        asks[serial]?.tried.insert(id)
        setTimer(serial, at: min(now + source.window.timeout, ask.deadline))
        sourcesById[id]?.window.inFlight += 1
        sourcesById[id]?.counters.interests += 1
        actions.append(.send(ask.name, hopLimit: source.hopLimit, to: face))
    }
}

// MARK: - What happened

extension FetchScheduler {
    /// An object of this name came.
    ///
    /// - Parameters:
    ///   - face: from where; nil if it is not known, as when it was here all along.
    ///   - isRight: whether its bytes are those of the name.
    package mutating func answered(
        _ name: Name,
        from face: FaceId?,
        byteCount: Int,
        isRight: Bool,
        now: UInt64
    ) -> [Action] {
        guard let serial = serialOfName[name], let ask = asks[serial] else { return [] }
        let id = source(of: face, ask)
        guard isRight else {
            noteWrong(serial, ask, id, now: now)
            return takeActions()
        }
        if let id {
            var roundTrip: UInt64?
            if case .inFlight(id, let sent) = ask.state, !ask.isRepeated { roundTrip = now - sent }
            sourcesById[id]?.noteObject(byteCount: byteCount, roundTrip: roundTrip, now: now)
        }
        actions.append(.deliver(ask.requests))
        _ = end(serial, now: now)
        return takeActions()
    }

    /// Who sent it. Several sources may have one face: publishes over one connection.
    private func source(of face: FaceId?, _ ask: Ask) -> SourceId? {
        guard let face else { return nil }
        if case .inFlight(let asked, _) = ask.state, sourcesById[asked]?.face == face {
            return asked
        }
        return sourceOfFace[face]
    }

    private mutating func noteWrong(_ serial: UInt64, _ ask: Ask, _ id: SourceId?, now: UInt64) {
        guard case .inFlight(let asked, _) = ask.state else { return }
        let id = id ?? asked
        let label = sourcesById[id]?.label ?? "a source"
        let isBenched = sourcesById[id]?.noteWrongObject(now: now) == true
        asks[serial]?.wrong[id, default: 0] += 1
        asks[serial]?.isRepeated = true
        asks[serial]?.problem = Failure(
            .corrupt,
            "what \(label) sent for \(ask.name) has other bytes than its id says"
        )
        leave(asked)
        asks[serial]?.state = .paused
        if isBenched { bench(id, because: "it sent wrong bytes", now: now) }
        assign(serial, now: now)
        dispatch(asked, now: now)
    }

    /// All that were asked for this name and have not answered gave it back.
    package mutating func returned(
        _ name: Name,
        _ code: ReturnCode,
        from face: FaceId?,
        now: UInt64
    ) -> [Action] {
        guard let serial = serialOfName[name], let ask = asks[serial],
            case .inFlight(let id, _) = ask.state
        else { return [] }
        if let place = ask.place {
            chunkReturned(serial, place, code, of: id, now: now)
            return takeActions()
        }
        leave(id)
        asks[serial]?.state = .paused
        let label = sourcesById[id]?.label ?? ""
        switch code {
        case .noRoute, .hopLimitExceeded, .mtuTooLarge:
            if code == .mtuTooLarge {
                asks[serial]?.problem = Failure(
                    .tooLarge,
                    "\(name) is too large for the datagrams of \(label)",
                    hint: "ask over tcp:"
                )
            }
            sourcesById[id]?.noteMiss(now: now)
            asks[serial]?.missed.insert(id)
            assign(serial, now: now)
        case .congested, .noResources:
            sourcesById[id]?.window.noteLoss(now: now)
            asks[serial]?.problem = Failure(.busy, "\(label) is too busy to ask for \(name)")
            asks[serial]?.isRepeated = true
            pause(serial, until: now + Self.busyPause, now: now)
        default:
            asks[serial]?.problem = Failure(
                .noSource,
                "\(label) gave the Interest for \(name) back: \(code)"
            )
            asks[serial]?.isRepeated = true
            pause(serial, until: now + Self.busyPause, now: now)
        }
        dispatch(id, now: now)
        return takeActions()
    }

    package mutating func tick(now: UInt64) -> [Action] {
        while let item = timers.first, item.time <= now {
            _ = timers.popFirst()
            guard let ask = asks[item.serial], ask.timer == item.time else { continue }
            timerFired(item.serial, ask, now: now)
        }
        return takeActions()
    }

    private mutating func timerFired(_ serial: UInt64, _ ask: Ask, now: UInt64) {
        if let place = ask.place { return chunkTimerFired(serial, ask, place, now: now) }
        if case .inFlight(let id, _) = ask.state {
            leave(id)
            let label = sourcesById[id]?.label ?? ""
            asks[serial]?.problem = Failure(.timedOut, "\(label) does not answer for \(ask.name)")
            asks[serial]?.isRepeated = true
            asks[serial]?.state = .paused
            // Before the next is chosen.
            if sourcesById[id]?.noteTimeout(now: now) == true {
                bench(id, because: "it does not answer", now: now)
            }
            if now < ask.deadline { assign(serial, now: now) }
            dispatch(id, now: now)
        } else if now < ask.deadline, ask.state == .paused {
            assign(serial, now: now)
        } else if ask.state == .waiting {
            return fail(
                serial,
                Failure(
                    .unavailable,
                    "no face to a node that may have \(ask.name) is up",
                    hint: "is its repository running and reachable? see: ccnfs status",
                    cause: ask.problem
                ),
                now: now
            )
        }
        // Somebody joined since, and waits longer.
        switch ask.state {
        case .queued, .assembling:
            if now < ask.deadline { setTimer(serial, at: ask.deadline) }
        default: break
        }
        guard now >= ask.deadline, let ask = asks[serial] else { return }
        fail(
            serial,
            ask.problem ?? Failure(.timedOut, "nobody answered for \(ask.name) in time"),
            now: now
        )
    }

    /// Its Interest is not counted any more.
    mutating func leave(_ id: SourceId) {
        guard let inFlight = sourcesById[id]?.window.inFlight, inFlight > 0 else { return }
        sourcesById[id]?.window.inFlight = inFlight - 1
    }

    mutating func bench(_ id: SourceId, because reason: String, now: UInt64) {
        guard let source = sourcesById[id] else { return }
        actions.append(.bench(id, because: reason, until: source.benchedUntil))
        // Those who wait for it go to others, or wait for the end of it.
        for (serial, lane) in sourcesById[id]?.lanes.removeAll() ?? [] {
            guard let ask = asks[serial], ask.state == .queued(id), ask.lane == lane else {
                continue
            }
            assign(serial, now: now)
        }
        _ = sourcesById[id]?.chunkLanes.removeAll()
        abandonAll(of: id, because: nil, now: now)
    }

    private mutating func fail(_ serial: UInt64, _ failure: Failure, now: UInt64) {
        guard let ask = end(serial, now: now) else { return }
        if !ask.requests.isEmpty { actions.append(.fail(ask.requests, failure)) }
    }

    mutating func end(_ serial: UInt64, now: UInt64) -> Ask? {
        abandonChunks(serial)
        guard let ask = asks.removeValue(forKey: serial) else { return nil }
        serialOfName[ask.name] = nil
        switch ask.state {
        case .inFlight(let id, _):
            leave(id)
            dispatch(id, now: now)
        case .assembling(let id): dispatch(id, now: now)
        default: break
        }
        return ask
    }

    mutating func setTimer(_ serial: UInt64, at time: UInt64) {
        guard asks[serial]?.timer != time else { return }
        asks[serial]?.timer = time
        timers.insert(TimerHeap.Item(time: time, serial: serial))
        guard timers.count > 4 * asks.count + Self.toleratedStaleTimers else { return }
        timers = TimerHeap(asks.map { TimerHeap.Item(time: $0.value.timer, serial: $0.key) })
    }
}
