package import Failures
internal import Logging
internal import Synchronization

/// What has to come from elsewhere.
extension LayeredStore {
    /// What came, and where it can be read from now on; nil if it is not known or was not kept.
    package struct Fetched: Sendable {
        package let bytes: [UInt8]
        package let resident: ResidentSegment?
    }

    /// A small object: from here, or fetched and kept.
    package func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        if let bytes = try localObject(request.id) { return bytes }
        let fetched = try await fetch(request) { [self] in
            // The flight before this one may have landed since.
            (try? localObject(request.id)).map { Fetched(bytes: $0, resident: nil) }
        } keep: { [cache] bytes throws(Failure) in
            if bytes.count <= ContentStore.smallObjectLimit {
                _ = try cache.insert([(id: request.id, bytes: bytes)], durably: false)
            }
            return nil
        }
        return fetched.bytes
    }

    /// A segment of the disk with this root that a reader did not find: fetched and kept at its position, or
    /// from here if it came meanwhile.
    ///
    /// - Parameters:
    ///   - byteCount: what belongs there; one of another length is handed on but not kept.
    ///   - wasLookedFor: ``residents(of:)`` was asked just before.
    package func segment(
        _ request: ObjectRequest,
        position: Int,
        root: ObjectId,
        segmentSize: Int,
        byteCount: Int,
        wasLookedFor: Bool = false
    ) async throws(Failure) -> Fetched {
        if !wasLookedFor, let bytes = try? localObject(request.id) {
            return Fetched(bytes: bytes, resident: nil)
        }
        return try await fetch(request) { [self] in
            landed(request.id)
        } keep: { [self] bytes throws(Failure) in
            guard bytes.count == byteCount else {
                throw Failure(
                    .corrupt,
                    "segment \(request.id) has \(bytes.count) bytes where \(byteCount) belong"
                )
            }
            return try await keep(
                Segment(id: request.id, bytes: bytes, position: position),
                in: ImageOfRoot(root: root, segmentSize: segmentSize)
            )
        }
    }

    /// A segment that came lately and is still there.
    private func landed(_ id: ObjectId) -> Fetched? {
        guard let resident = flights.withLock({ $0.landed(id) }),
            let bytes = try? resident.image.bytes(at: resident.position), ObjectId(of: bytes) == id
        else { return nil }
        return Fetched(bytes: bytes, resident: resident)
    }

    private typealias Look = @Sendable () -> Fetched?
    private typealias Keep = @Sendable ([UInt8]) async throws(Failure) -> ResidentSegment?

    /// Whoever waited for another's fetch for longer does not begin one of its own.
    private static let patienceWithOthers = Duration.seconds(5)

    private func fetch(
        _ request: ObjectRequest,
        look: @escaping Look,
        keep: @escaping Keep
    ) async throws(Failure) -> Fetched {
        let urgency = FetchUrgency.current
        let started = ContinuousClock.now
        let (flight, isJoined) = join(request, urgency, look, keep)
        if isJoined, urgency < flight.urgency { source.hasten(flight.request) }
        switch await flight.task.value {
        case .success(let fetched): return fetched
        case .failure(let failure):
            // Whoever began it may have waited for long, or asked under another name.
            guard isJoined, urgency < flight.urgency || request.prefix != flight.request.prefix,
                ContinuousClock.now - started < Self.patienceWithOthers
            else { throw failure }
            return try await join(request, urgency, look, keep).flight.task.value.get()
        }
    }

    /// - Returns: the flight as it was before.
    private func join(
        _ request: ObjectRequest,
        _ urgency: FetchUrgency,
        _ look: @escaping Look,
        _ keep: @escaping Keep
    ) -> (flight: Flights.Flight, isJoined: Bool) {
        flights.withLock { flights in
            if let flight = flights[request.id] {
                flights[request.id]?.urgency = min(urgency, flight.urgency)
                return (flight, true)
            }
            let task = Task { await self.fetchOnce(request, look: look, keep: keep) }
            let flight = Flights.Flight(task: task, request: request, urgency: urgency)
            flights[request.id] = flight
            return (flight, false)
        }
    }

    private func fetchOnce(
        _ request: ObjectRequest,
        look: Look,
        keep: Keep
    ) async -> Result<Fetched, Failure> {
        var resident: ResidentSegment?
        defer { flights.withLock { [resident] in $0.end(request.id, at: resident) } }
        if let here = look() {
            resident = here.resident
            return .success(here)
        }
        let bytes: [UInt8]
        do throws(Failure) {
            bytes = try await ask(for: request).get()
        } catch {
            counters.failedFetches.add(1, ordering: .relaxed)
            // It may be here as something else than a segment.
            if let bytes = try? localObject(request.id) {
                return .success(Fetched(bytes: bytes, resident: nil))
            }
            return .failure(error)
        }
        guard source.givesCheckedBytes || ObjectId(of: bytes) == request.id else {
            counters.failedFetches.add(1, ordering: .relaxed)
            return .failure(
                Failure(.corrupt, "what was sent for object \(request.id) has other bytes")
            )
        }
        counters.fetchedObjects.add(1, ordering: .relaxed)
        counters.fetchedBytes.add(bytes.count, ordering: .relaxed)
        do throws(Failure) {
            resident = try await keep(bytes)
            isRefusing.store(false, ordering: .relaxed)
        } catch {
            counters.uncachedObjects.add(1, ordering: .relaxed)
            if !isRefusing.exchange(true, ordering: .relaxed) {
                logger.notice("cache did not take an object", metadata: ["cause": "\(error)"])
            }
        }
        return .success(Fetched(bytes: bytes, resident: resident))
    }

    /// With the urgency of the most urgent who joined so far; who joins later hastens it.
    private func ask(for request: ObjectRequest) async -> Result<[UInt8], Failure> {
        let urgency = flights.withLock { $0[request.id]?.urgency } ?? FetchUrgency.current
        return await FetchUrgency.$current.withValue(urgency) {
            do throws(Failure) {
                return .success(try await source.object(request))
            } catch {
                return .failure(error)
            }
        }
    }
}
