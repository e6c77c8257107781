package import CCNx
internal import Failures
internal import Forwarding

/// What became of an ask: an object, an Interest Return, silence.
extension FetchScheduler {
    private static let toleratedStaleTimers = 4_096

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
        var asked: SourceId?
        if case .inFlight(let id, _) = ask.state { asked = id }
        let id = source(of: face, asked: asked)
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
    func source(of face: FaceId?, asked: SourceId?) -> SourceId? {
        guard let face else { return nil }
        if let asked, sourcesById[asked]?.face == face { return asked }
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
        case .mtuTooLarge where cutting?.chunkPrefix(name) != nil:
            sourcesById[id]?.noteTooLarge()
            asks[serial]?.isRepeated = true
            // The same one again, in chunks.
            asks[serial]?.tried.remove(id)
            assign(serial, now: now)
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

    mutating func fail(_ serial: UInt64, _ failure: Failure, now: UInt64) {
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
