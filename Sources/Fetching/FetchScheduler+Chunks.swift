package import CCNx
internal import Failures
internal import Forwarding

/// Objects from sources whose packets are small, or that say so of somebody behind them (Interest Return "MTU too
/// large"): an ask for such an object, once it is its turn, becomes asks for its chunks, all of one source. Each is sent
/// again by itself when it does not come, and counts in the source's window. When the source fails, all of them end, and
/// the object is asked of the next, whole or in chunks.
extension FetchScheduler {
    /// An object of which chunks are asked for.
    struct Assembling {
        let source: SourceId
        /// Of the chunks' names, up to their numbers.
        let prefix: Name
        var chunks: ChunkAssembly
        /// The asks for those that are asked for now, by number.
        var serials: [Int: UInt64] = [:]
        /// Some came from others than the one that was asked.
        var isMixed = false
    }

    /// Which chunk an ask is for.
    struct ChunkPlace {
        let object: UInt64
        let number: Int
    }

    /// A chunk is asked for so often before another source is tried.
    private static let chunkTries = 4

    /// True if this is a chunk that is waited for, to be given to ``answeredChunk(_:_:last:from:now:)``.
    package func isChunk(_ name: Name) -> Bool {
        serialOfName[name].flatMap { asks[$0]?.place } != nil
    }

    /// A chunk came, of the source that was asked or of another, from which somebody else wanted the same: the Interest
    /// is answered either way.
    ///
    /// - Parameter last: the number of the object's last chunk, if it says so.
    package mutating func answeredChunk(
        _ name: Name,
        _ payload: [UInt8],
        last: UInt64?,
        from face: FaceId?,
        now: UInt64
    ) -> [Action] {
        guard let serial = serialOfName[name], let ask = asks[serial], let place = ask.place,
            let id = asks[place.object]?.assembling?.source
        else { return [] }
        let sender = source(of: face, asked: id)
        var roundTrip: UInt64?
        if sender == id, case .inFlight(_, let sent) = ask.state {
            sourcesById[id]?.window.noteAnswered(sent: sent)
            if !ask.isRepeated { roundTrip = now - sent }
        }
        if let sender {
            sourcesById[sender]?.noteChunk(
                byteCount: payload.count,
                roundTrip: roundTrip,
                now: now
            )
        }
        if sender != id, asks[place.object]?.trustsAskedOnly == true {
            askAgain(serial, place, of: id, now: now)
        } else {
            if sender != id { asks[place.object]?.assembling?.isMixed = true }
            dropChunk(serial)
            if let outcome = asks[place.object]?.assembling?.chunks
                .take(place.number, payload, last: last)
            {
                conclude(outcome, place.object, of: id, now: now)
            }
        }
        dispatch(id, now: now)
        return takeActions()
    }

    // MARK: For the other paths

    /// - Returns: false if the object is asked for as a whole.
    mutating func beginChunks(_ serial: UInt64, _ ask: Ask, of id: SourceId) -> Bool {
        guard let cutting, let source = sourcesById[id], source.takesChunks,
            let prefix = cutting.chunkPrefix(ask.name)
        else { return false }
        asks[serial]?.state = .assembling(id)
        asks[serial]?.tried.insert(id)
        var assembling = Assembling(
            source: id,
            prefix: prefix,
            chunks: ChunkAssembly(cutting, expecting: source.expectedChunkCount)
        )
        // What came of it before from this one counts.
        if let before = ask.assembling, before.source == id { assembling = before }
        asks[serial]?.assembling = assembling
        for number in assembling.chunks.wanted { askForChunk(number, of: serial, at: id) }
        return true
    }

    /// Ends the asks for an object's chunks; what has come of it is kept for another round.
    mutating func abandonChunks(_ serial: UInt64) {
        for (_, chunk) in asks[serial]?.assembling?.serials ?? [:] { dropChunk(chunk) }
    }

    /// Objects of which chunks are asked of a source are asked for elsewhere.
    mutating func abandonAll(of id: SourceId, because problem: Failure?, now: UInt64) {
        let objects = asks.filter { $0.value.state == .assembling(id) }.keys.sorted()
        for serial in objects {
            abandonChunks(serial)
            asks[serial]?.state = .paused
            if let problem { asks[serial]?.problem = problem }
        }
        for serial in objects { assign(serial, now: now) }
    }

    mutating func promoteChunks(_ serial: UInt64, to lane: FetchLane, now: UInt64) {
        guard let assembling = asks[serial]?.assembling else { return }
        for (_, chunk) in assembling.serials.sorted(by: { $0.key < $1.key }) {
            asks[chunk]?.lane = lane
            guard asks[chunk]?.state == .queued(assembling.source) else { continue }
            sourcesById[assembling.source]?.chunkLanes.append(chunk, to: lane)
        }
        dispatch(assembling.source, now: now)
    }

    mutating func chunkTimerFired(_ serial: UInt64, _ ask: Ask, _ place: ChunkPlace, now: UInt64) {
        guard let id = asks[place.object]?.assembling?.source else { return dropChunk(serial) }
        if ask.state == .paused {
            queueChunk(serial, at: id)
            return dispatch(id, now: now)
        }
        guard case .inFlight(_, let sent) = ask.state else { return }
        if let later = sourcesById[id]?.window.timeToLookAgain(sent: sent, now: now) {
            return setTimer(serial, at: later)
        }
        leave(id)
        asks[serial]?.state = .paused
        let label = sourcesById[id]?.label ?? ""
        if let name = asks[place.object]?.name {
            asks[place.object]?.problem = Failure(
                .timedOut,
                "\(label) does not answer for all of \(name)"
            )
        }
        if sourcesById[id]?.noteTimeout(now: now, backsOff: true) == true {
            bench(id, because: "it does not answer", now: now)
        } else if noteTry(serial) {
            queueChunk(serial, at: id)
        } else {
            giveUpChunks(place.object, now: now)
        }
        dispatch(id, now: now)
    }

    mutating func chunkReturned(
        _ serial: UInt64,
        _ place: ChunkPlace,
        _ code: ReturnCode,
        of id: SourceId,
        now: UInt64
    ) {
        let label = sourcesById[id]?.label ?? ""
        switch code {
        case .noRoute, .hopLimitExceeded:
            dropChunk(serial)
            if let outcome = asks[place.object]?.assembling?.chunks.miss(place.number) {
                conclude(outcome, place.object, of: id, now: now)
            }
        case .mtuTooLarge:
            asks[place.object]?.problem = Failure(
                .tooLarge,
                "a chunk, with its name, is too large for the datagrams of \(label)",
                hint: "ask over tcp:"
            )
            dropChunk(serial)
            conclude(.missing, place.object, of: id, now: now)
        case .congested, .noResources:
            leave(id)
            sourcesById[id]?.window.noteLoss(now: now)
            asks[place.object]?.problem = Failure(.busy, "\(label) is too busy to ask")
            asks[serial]?.state = .paused
            if noteTry(serial) {
                setTimer(serial, at: now + Self.busyPause)
            } else {
                giveUpChunks(place.object, now: now)
            }
        default:
            asks[place.object]?.problem = Failure(
                .noSource,
                "\(label) gave the Interest for a chunk back: \(code)"
            )
            abandonChunks(place.object)
            pause(place.object, until: now + Self.busyPause, now: now)
        }
        dispatch(id, now: now)
    }

    // MARK: Leaves

    private mutating func askForChunk(_ number: Int, of object: UInt64, at id: SourceId) {
        guard let ask = asks[object], let prefix = ask.assembling?.prefix else { return }
        let name = prefix.appending([.chunk(UInt64(number))])
        let serial = nextSerial
        nextSerial += 1
        serialOfName[name] = serial
        var chunk = Ask(
            name: name,
            mayPeersAnswer: false,
            only: [id],
            requests: [],
            lane: ask.lane,
            // Its object's ends it.
            deadline: .max
        )
        chunk.place = ChunkPlace(object: object, number: number)
        asks[serial] = chunk
        asks[object]?.assembling?.serials[number] = serial
        queueChunk(serial, at: id)
    }

    private mutating func queueChunk(_ serial: UInt64, at id: SourceId) {
        guard var ask = asks[serial] else { return }
        ask.state = .queued(id)
        ask.isRepeated = ask.triesCount > 0
        asks[serial] = ask
        sourcesById[id]?.chunkLanes.append(serial, to: ask.lane)
    }

    /// - Returns: false if it was asked for often enough.
    private mutating func noteTry(_ serial: UInt64) -> Bool {
        let count = (asks[serial]?.triesCount ?? 0) + 1
        asks[serial]?.triesCount = count
        return count < Self.chunkTries
    }

    /// What answered the Interest was not used: nothing more comes for it.
    private mutating func askAgain(
        _ serial: UInt64,
        _ place: ChunkPlace,
        of id: SourceId,
        now: UInt64
    ) {
        if case .inFlight = asks[serial]?.state { leave(id) }
        asks[serial]?.state = .paused
        if noteTry(serial) {
            queueChunk(serial, at: id)
        } else {
            giveUpChunks(place.object, now: now)
        }
    }

    private mutating func giveUpChunks(_ object: UInt64, now: UInt64) {
        abandonChunks(object)
        assign(object, now: now)
    }

    /// An ask for a chunk ends, answered or not.
    private mutating func dropChunk(_ serial: UInt64) {
        guard let ask = asks.removeValue(forKey: serial), let place = ask.place else { return }
        if serialOfName[ask.name] == serial { serialOfName[ask.name] = nil }
        if case .inFlight(let id, _) = ask.state { leave(id) }
        asks[place.object]?.assembling?.serials[place.number] = nil
    }

    private mutating func conclude(
        _ outcome: ChunkAssembly.Outcome,
        _ object: UInt64,
        of id: SourceId,
        now: UInt64
    ) {
        guard let ask = asks[object], let assembling = ask.assembling else { return }
        switch outcome {
        case .incomplete(let more):
            let count = assembling.chunks.count ?? .max
            for (number, chunk) in assembling.serials where number >= count { dropChunk(chunk) }
            for number in more { askForChunk(number, of: object, at: id) }
        case .whole(let bytes):
            guard cutting?.isRight(ask.name, bytes) == true else {
                return noteWrongChunks(object, ask, of: id, now: now)
            }
            sourcesById[id]?.noteWholeObject(chunkCount: assembling.chunks.count ?? 1)
            actions.append(.deliverAssembled(ask.requests, ask.name, bytes))
            _ = end(object, now: now)
        case .missing:
            abandonChunks(object)
            sourcesById[id]?.noteMiss(now: now)
            asks[object]?.assembling = nil
            asks[object]?.missed.insert(id)
            assign(object, now: now)
        case .wrong:
            noteWrongChunks(object, ask, of: id, now: now)
        }
    }

    /// Which of them it was cannot be told: all are asked for again.
    private mutating func noteWrongChunks(
        _ object: UInt64,
        _ ask: Ask,
        of id: SourceId,
        now: UInt64
    ) {
        abandonChunks(object)
        let label = sourcesById[id]?.label ?? "a source"
        asks[object]?.assembling = nil
        asks[object]?.state = .paused
        asks[object]?.problem = Failure(
            .corrupt,
            "what \(label) sent for \(ask.name) has other bytes than its id says"
        )
        if ask.assembling?.isMixed == true {
            // Whose it was cannot be told either; next time it can.
            asks[object]?.trustsAskedOnly = true
            return assign(object, now: now)
        }
        asks[object]?.wrong[id, default: 0] += 1
        if sourcesById[id]?.noteWrongObject(now: now) == true {
            bench(id, because: "it sent wrong bytes", now: now)
        }
        assign(object, now: now)
    }
}
