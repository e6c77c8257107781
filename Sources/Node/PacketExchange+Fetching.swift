internal import CCNx
internal import Control
internal import Failures
internal import Fetching
internal import Forwarding
internal import Logging
internal import NIOCore
internal import Repositories
internal import Store

/// What this node asks of others: the scheduler's decisions, and who waits for what.
struct OwnRequests {
    typealias Completion = @Sendable (Result<Answer, Failure>) -> Void

    /// What came, with the packet it came in; nil for an object that came in several, which are not signed.
    struct Answer: Sendable {
        let object: ContentObject
        let packet: DecodedPacket?
    }

    var scheduler = FetchScheduler(cutting: .datagrams)
    fileprivate var completions: [FetchScheduler.Request: Completion] = [:]
    /// What goes with the Interests for some names.
    fileprivate var payloads: [Name: [UInt8]] = [:]
    fileprivate var nextRequest: FetchScheduler.Request = 1
    fileprivate var wake: (task: Scheduled<Void>, time: UInt64)?
    fileprivate var hasEnded = false
    /// How long a neighbour keeps an Interest; longer than any time-out after which it is sent again.
    fileprivate static let lifetimeMilliseconds: UInt64 = 4_000
}

extension ObjectCutting {
    /// Objects by their ids, for faces over UDP.
    static let datagrams = ObjectCutting(
        chunkSize: ObjectName.datagramChunkSize,
        chunkCountLimit: ObjectName.streamChunkSize / ObjectName.datagramChunkSize,
        chunkPrefix: { name in
            guard let object = ObjectName(name), object == ObjectName(object.request) else {
                return nil
            }
            let first = ObjectName(object.request, chunkSize: ObjectName.datagramChunkSize).name
            return first.prefix(first.segments.count - 1)
        },
        isRight: { name, bytes in ObjectName(name)?.request.id == ObjectId(of: bytes) }
    )
}

extension PacketExchange {
    /// Asks for the Content Object of exactly this name until it is here, the time is over or the node ends.
    ///
    /// - Parameter patience: milliseconds.
    /// - Returns: for the name of an object one whose payload has the id in the name.
    func fetch(
        _ name: Name,
        lane: FetchLane,
        patience: UInt64,
        mayPeersAnswer: Bool
    ) async -> Result<ContentObject, Failure> {
        await answer(
            name,
            lane: lane,
            patience: patience,
            mayPeersAnswer: mayPeersAnswer,
            only: nil
        )
        .map(\.object)
    }

    /// The same, of one neighbour only.
    ///
    /// - Parameter payload: goes with the Interest.
    func fetch(
        _ name: Name,
        lane: FetchLane,
        patience: UInt64,
        of source: FetchScheduler.SourceId,
        payload: [UInt8]? = nil
    ) async -> Result<ContentObject, Failure> {
        await answer(of: source, name, lane: lane, patience: patience, payload: payload)
            .map(\.object)
    }

    /// The same, with the packet, for those who check its signature.
    func answer(
        of source: FetchScheduler.SourceId,
        _ name: Name,
        lane: FetchLane,
        patience: UInt64,
        payload: [UInt8]? = nil
    ) async -> Result<OwnRequests.Answer, Failure> {
        await answer(
            name,
            lane: lane,
            patience: patience,
            mayPeersAnswer: false,
            only: source,
            payload: payload
        )
    }

    private func answer(
        _ name: Name,
        lane: FetchLane,
        patience: UInt64,
        mayPeersAnswer: Bool,
        only source: FetchScheduler.SourceId?,
        payload: [UInt8]? = nil
    ) async -> Result<OwnRequests.Answer, Failure> {
        await withCheckedContinuation { continuation in
            let isIn = gate.execute {
                let wanted = FetchScheduler.Wanted(
                    name: name,
                    lane: lane,
                    deadline: self.now + patience,
                    mayPeersAnswer: mayPeersAnswer,
                    only: source
                )
                self.want(wanted, payload) { continuation.resume(returning: $0) }
            }
            if !isIn { continuation.resume(returning: .failure(Self.ended)) }
        }
    }

    /// Somebody waits now for what was asked for already.
    func hasten(_ name: Name) {
        gate.execute { self.carryOut(self.own.scheduler.hasten(name, now: self.now)) }
    }

    func want(
        _ wanted: FetchScheduler.Wanted,
        _ payload: [UInt8]?,
        _ completion: @escaping OwnRequests.Completion
    ) {
        guard !own.hasEnded else { return completion(.failure(Self.ended)) }
        let request = own.nextRequest
        own.nextRequest += 1
        own.completions[request] = { result in
            if payload != nil { self.own.payloads[wanted.name] = nil }
            completion(result)
        }
        own.payloads[wanted.name] = payload
        carryOut(own.scheduler.want(request, wanted, now: now))
    }

    static let ended = Failure(.cancelled, "the node ends")

    /// Nobody waits for an answer any more: the faces go down.
    func endOwnRequests() {
        own.hasEnded = true
        own.wake?.task.cancel()
        let completions = own.completions.values
        own.completions = [:]
        for completion in completions { completion(.failure(Self.ended)) }
    }

    /// - Parameter face: where it came from; nil if it was here.
    func received(_ object: ContentObject, in packet: DecodedPacket, from face: FaceId?) {
        guard let name = object.name else { return }
        if own.scheduler.isChunk(name) {
            return carryOut(
                own.scheduler.answeredChunk(
                    name,
                    object.payload,
                    last: object.endChunkNumber,
                    from: face,
                    now: now
                )
            )
        }
        var isRight = true
        if let asked = ObjectName(name) {
            isRight = ObjectId(of: object.payload) == asked.request.id
        } else if let asked = KeyName(name) {
            isRight = asked.isRight(object)
        }
        carryOut(
            own.scheduler.answered(
                name,
                from: face,
                byteCount: object.payload.count,
                isRight: isRight,
                now: now
            ),
            delivering: OwnRequests.Answer(object: object, packet: packet)
        )
    }

    func carryOut(_ actions: [FetchScheduler.Action], delivering answer: OwnRequests.Answer? = nil)
    {
        for action in actions {
            switch action {
            case .send(let name, let hopLimit, let face):
                send(name, hopLimit: hopLimit, to: face)
            case .deliver(let requests):
                guard let answer else { break }
                for request in requests {
                    own.completions.removeValue(forKey: request)?(.success(answer))
                }
            case .deliverAssembled(let requests, let name, let bytes):
                let object = ContentObject(name: name, payload: bytes)
                let answer = OwnRequests.Answer(object: object, packet: nil)
                for request in requests {
                    own.completions.removeValue(forKey: request)?(.success(answer))
                }
            case .fail(let requests, let failure):
                for request in requests {
                    own.completions.removeValue(forKey: request)?(.failure(failure))
                }
            case .bench(let source, let reason, _):
                logger.warning(
                    "a source is not asked for a while",
                    metadata: [
                        "face.address": "\(own.scheduler.sources[source]?.label ?? "")",
                        "cause": "\(reason)",
                    ]
                )
            }
        }
        scheduleWake()
    }

    private func send(_ name: Name, hopLimit: UInt8, to face: FaceId) {
        let interest = Interest(
            name: name,
            hopLimit: hopLimit,
            lifetimeMilliseconds: OwnRequests.lifetimeMilliseconds,
            payload: own.payloads[name]
        )
        do throws(Failure) {
            let packet = try PacketEncoder().encode(.interest(interest))
            carryOut(forwarder.express(packet, from: Self.application, to: face, now: now))
        } catch {
            // A name of such a length has no object; its deadline ends it.
            logger.error("Interest not sent", metadata: ["name": "\(name)", "cause": "\(error)"])
        }
    }

    private func scheduleWake() {
        guard let next = own.scheduler.nextWake, !own.hasEnded else { return }
        if let wake = own.wake {
            if wake.time <= next { return }
            wake.task.cancel()
        }
        let delay = Int64(next > now ? next - now : 0) + 1
        let task = loop.scheduleTask(in: .milliseconds(delay)) {
            self.own.wake = nil
            self.carryOut(self.own.scheduler.tick(now: self.now))
        }
        own.wake = (task: task, time: next)
    }

    /// By address.
    var sourceReports: [NodeStatus.SourceReport] {
        own.scheduler.sources.values.sorted { $0.label < $1.label }.map { source in
            var report = NodeStatus.SourceReport(
                address: source.label,
                isPeer: source.kind == .peer,
                isUp: source.isUp
            )
            report.interests = source.counters.interests
            report.objects = source.counters.objects
            report.bytes = source.counters.bytes
            report.misses = source.counters.misses
            report.timeouts = source.counters.timeouts
            report.wrongObjects = source.counters.wrongObjects
            report.roundTripMilliseconds = source.roundTrip
            if source.isBenched(at: now) { report.benchedMilliseconds = source.benchLeft(at: now) }
            return report
        }
    }
}
