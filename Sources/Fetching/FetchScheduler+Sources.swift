package import CCNx
internal import Failures

/// Whom it may ask, and which of them are there.
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
