internal import CCNx
internal import Failures

/// Who is asked next, and when: a source's window has to have room.
extension FetchScheduler {
    /// A face of a route that does not come up in this time has nobody at its end.
    private static let connectPatience: UInt64 = 3_000
    /// Peers asked for one object before a repository is.
    private static let peerCount = 2
    /// A peer that has less than this part of what it was asked for is asked for one in 16.
    private static let usefulHitRate = 0.05
    private static let wrongAnswersFromOne = 2

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
