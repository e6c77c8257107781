internal import CCNx
internal import Dispatch
internal import Faces
internal import Failures
internal import Files
internal import Forwarding
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Repositories
internal import Signing
internal import Synchronization

/// Carries out what the forwarder decides: faces on one side, content store and this process's own
/// requests on the other.
///
/// Concurrency: all state belongs to one event loop, which also runs the faces; each access checks
/// that. Content is looked up on `lookups`, since event loops do not touch the disk.
final class PacketExchange: FaceEvents, @unchecked Sendable {
    typealias Completion = @Sendable (Result<ContentObject, Failure>) -> Void

    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let loop: any EventLoop
    private let logger: Logger
    private let routes: [NodeConfiguration.Route]
    private var forwarder: Forwarder
    private var table: FaceTable?
    private var responder: Responder?
    private var waiting: [Name: [Completion]] = [:]
    private var expiry: (task: Scheduled<Void>, time: UInt64)?
    private let lookups: [DispatchQueue]
    private var nextLookup = 0
    private let started = NIODeadline.now()

    /// The face of this process's own requests.
    private static let application = FaceId(0)
    private static let lookupThreads = 4

    init(routes: [NodeConfiguration.Route], logger: Logger) {
        loop = group.next()
        self.logger = logger
        self.routes = routes
        forwarder = Forwarder { $0.contentObjectHash }
        lookups = (0..<Self.lookupThreads).map { DispatchQueue(label: "ccnfs.lookup.\($0)") }
        forwarder.faceUp(Self.application, scope: .local)
    }

    /// Begins to listen and to connect. Interests of others are answered by `responder`.
    ///
    /// - Returns: the addresses really bound.
    func start(
        responder: Responder,
        listening addresses: [FaceAddress]
    ) async throws(Failure) -> [FaceAddress] {
        let table = FaceTable(
            eventLoop: loop,
            events: self,
            firstFace: FaceId(1),
            logger: logger
        )
        loop.execute {
            self.table = table
            self.responder = responder
        }
        var bound: [FaceAddress] = []
        for address in addresses { bound.append(try await table.listen(on: address)) }
        for address in Set(routes.map(\.address)) { table.connect(to: address) }
        return bound
    }

    func stop() async {
        let table = try? await loop.submit { self.table }.get()
        await table?.shutDown()
        try? await group.shutdownGracefully()
    }

    // MARK: This process's own requests

    /// True if some route leads to the name, whether or not its face is up.
    func hasRoute(for name: Name) -> Bool { routes.contains { name.hasPrefix($0.prefix) } }

    /// Sends an Interest and waits for its Content Object, once.
    func express(_ interest: Interest) async -> Result<ContentObject, Failure> {
        await withCheckedContinuation { continuation in
            loop.execute {
                self.express(interest) { continuation.resume(returning: $0) }
            }
        }
    }

    private func express(_ interest: Interest, completion: @escaping Completion) {
        loop.preconditionInEventLoop()
        if waiting[interest.name] != nil {
            waiting[interest.name]?.append(completion)
            return
        }
        do throws(Failure) {
            let packet = try PacketDecoder.decode(try PacketEncoder.encode(interest))
            waiting[interest.name] = [completion]
            carryOut(forwarder.receive(packet, from: Self.application, now: now))
        } catch {
            completion(.failure(error))
        }
    }

    private func complete(_ name: Name, _ result: Result<ContentObject, Failure>) {
        for completion in waiting.removeValue(forKey: name) ?? [] { completion(result) }
    }

    // MARK: Faces

    func faceUp(_ face: Face) {
        forwarder.faceUp(face.id, scope: face.scope)
        guard case .outgoing = face.direction else { return }
        for route in routes where route.address == face.address {
            do throws(Failure) {
                try forwarder.addRoute(route.prefix, to: face.id)
            } catch {
                logger.warning(
                    "route not taken",
                    metadata: ["prefix": "\(route.prefix)", "cause": "\(error)"]
                )
            }
        }
    }

    func received(_ packet: DecodedPacket, on face: FaceId) {
        carryOut(forwarder.receive(packet, from: face, now: now))
    }

    func faceDown(_ face: FaceId, because failure: Failure?) {
        if let failure {
            logger.info(
                "face lost",
                metadata: ["face.id": "\(face)", "cause": "\(failure)"]
            )
        }
        carryOut(forwarder.faceDown(face, now: now))
    }

    // MARK: Actions

    private var now: UInt64 { UInt64((NIODeadline.now() - started).nanoseconds / 1_000_000) }

    private func carryOut(_ actions: [ForwarderAction]) {
        for action in actions {
            switch action {
            case .lookUpContent(let token, let interest):
                lookUp(token, interest)
            case .sendContentObject(let packet, Self.application):
                if case .contentObject(let object) = packet.packet, let name = object.name {
                    complete(name, .success(object))
                }
            case .sendInterestReturn(let packet, let code, Self.application):
                if case .interest(let interest) = packet.packet {
                    complete(interest.name, .failure(failure(code, interest.name)))
                }
            case .reportExpired(let packet, _):
                if case .interest(let interest) = packet.packet {
                    complete(
                        interest.name,
                        .failure(Failure(.timedOut, "nobody answered for \(interest.name)"))
                    )
                }
            case .cache:
                // What this node asked for is kept by the one who asked, where it belongs on disk.
                break
            case .sendInterest(_, _, let face), .sendContentObject(_, let face),
                .sendInterestReturn(_, _, let face):
                if let wire = action.wire { table?.send(wire, on: face) }
            }
        }
        scheduleExpiry()
    }

    private func failure(_ code: CCNx.ReturnCode, _ name: Name) -> Failure {
        switch code {
        case .noRoute where forwarder.nextHops(for: name).isEmpty:
            Failure(
                .unavailable,
                "no face to a node that may have \(name) is up",
                hint: "is its repository running and reachable? see: ccnfs status"
            )
        case .noRoute:
            Failure(
                .noSource,
                "no node that can be reached has \(name)",
                hint: "publish it anew, or add a route to a node that has it"
            )
        case .congested, .noResources:
            Failure(.busy, "the next node is too busy to ask for \(name)")
        default:
            Failure(.noSource, "the next node gave the Interest for \(name) back: \(code)")
        }
    }

    private func lookUp(_ token: LookupToken, _ interest: Interest) {
        guard let responder else {
            return carryOut(forwarder.contentStoreAnswered(token, with: nil, now: now))
        }
        nextLookup = (nextLookup + 1) % lookups.count
        lookups[nextLookup].async {
            var answer: DecodedPacket?
            do throws(Failure) {
                let now = UInt64(WallClock.nanoseconds / 1_000_000)
                answer = try responder.answer(interest, now: now)
            } catch {
                self.logger.error(
                    "content store could not be read",
                    metadata: ["name": "\(interest.name)", "cause": "\(error)"]
                )
            }
            self.loop.execute { [answer] in
                self.carryOut(
                    self.forwarder.contentStoreAnswered(token, with: answer, now: self.now)
                )
            }
        }
    }

    private func scheduleExpiry() {
        guard let next = forwarder.nextExpiry else { return }
        if let expiry {
            if expiry.time <= next { return }
            expiry.task.cancel()
        }
        let delay = Int64(next > now ? next - now : 0) + 1
        let task = loop.scheduleTask(in: .milliseconds(delay)) {
            self.expiry = nil
            self.carryOut(self.forwarder.expire(now: self.now))
        }
        expiry = (task: task, time: next)
    }

    // MARK: For those who look

    struct Report: Sendable {
        var faces: [Face]
        var pendingInterests: Int
        var counters: ForwarderCounters
    }

    func report() async -> Report? {
        try? await loop.submit {
            Report(
                faces: self.table?.faces ?? [],
                pendingInterests: self.forwarder.pendingInterestCount,
                counters: self.forwarder.counters
            )
        }.get()
    }
}
