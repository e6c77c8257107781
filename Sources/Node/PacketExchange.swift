internal import CCNx
internal import Control
internal import Dispatch
internal import Faces
internal import Failures
internal import Fetching
internal import Files
internal import Forwarding
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Repositories
internal import Signing
internal import Store

/// Carries out what the forwarder decides: faces on one side, content store and this process's own
/// requests on the other.
///
/// Concurrency: all state belongs to one event loop, which also runs the faces; each access checks
/// that. Content is looked up on `lookups`, since event loops do not touch the disk.
final class PacketExchange: FaceEvents, @unchecked Sendable {
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop: any EventLoop
    /// For all that comes from other threads.
    let gate: LoopGate
    let logger: Logger
    /// Whom to ask; see PacketExchange+Routes.
    let routes: Routes
    let settings: FaceSettings
    /// Nil: neighbours are not looked for.
    private let discoverySettings: DiscoverySettings?
    private var discovery: Discovery?
    var forwarder: Forwarder
    private(set) var table: FaceTable?
    private var responder: Responder?
    /// This node's own requests; see PacketExchange+Fetching.
    var own = OwnRequests()
    /// See PacketExchange+Passing.
    var passing = PassingObjects()
    var sourceIds: [FaceAddress: FetchScheduler.SourceId] = [:]
    private var nextSource: FetchScheduler.SourceId = 0
    /// Answer what is neither an object nor a pointer.
    private var answerers: [any InterestAnswerer] = []
    /// What passes through for others; nil if it is not kept.
    private var transit: TransitCache?
    private var expiry: (task: Scheduled<Void>, time: UInt64)?
    private let lookups: [DispatchQueue]
    private var nextLookup = 0
    private var lookupQueue = LookupQueue()
    private let started = NIODeadline.now()

    /// The face of this process's own requests.
    static let application = FaceId(0)
    private static let lookupThreads = 4

    /// - Parameter peers: nodes near by, asked before those that routes lead to.
    init(
        routes: [NodeConfiguration.Route],
        peers: [FaceAddress] = [],
        faces settings: FaceSettings = FaceSettings(),
        discovery: DiscoverySettings? = nil,
        logger: Logger
    ) {
        loop = group.next()
        gate = LoopGate(loop)
        self.logger = logger
        self.routes = Routes(RouteTable(routes: routes, peers: peers))
        self.settings = settings
        discoverySettings = discovery
        forwarder = Forwarder { $0.contentObjectHash }
        lookups = (0..<Self.lookupThreads).map { DispatchQueue(label: "ccnfs.lookup.\($0)") }
        forwarder.faceUp(Self.application, scope: .local)
        addSources()
    }

    private func addSources() {
        let table = routes.table
        for address in table.addresses {
            guard let kind = table.kind(of: address) else { continue }
            sourceIds[address] = addSource(address, kind)
        }
    }

    func addSource(
        _ address: FaceAddress,
        _ kind: FetchSource.Kind
    ) -> FetchScheduler.SourceId {
        defer { nextSource += 1 }
        own.scheduler.addSource(
            nextSource,
            label: address.description,
            kind: kind,
            isDatagram: address.isDatagram
        )
        return nextSource
    }

    // MARK: Neighbours that are asked by name only

    /// A neighbour to ask for certain things, connected now if it is not yet, and until whoever asked for it gives
    /// it up; see ``giveUp(_:for:)``.
    func source(
        at address: FaceAddress,
        for purpose: RouteTable.Purpose
    ) async throws(Failure) -> FetchScheduler.SourceId {
        try await onLoop { () throws(Failure) in
            var table = self.routes.table
            table.hold(address, for: purpose)
            self.apply(table)
            guard let source = self.sourceIds[address] else {
                preconditionFailure("an address that is held is a source")
            }
            return source
        }
    }

    /// Once for each ``source(at:for:)``: then it is connected to no more, unless a route leads there or it is a peer.
    func giveUp(_ address: FaceAddress, for purpose: RouteTable.Purpose) async {
        // A node that ends has ended it.
        try? await changeRoutes { $0.release(address, for: purpose) }
    }

    /// Runs `body` with a neighbour to ask for certain things, connected as long as it runs.
    func withSource<Value: Sendable>(
        at address: FaceAddress,
        for purpose: RouteTable.Purpose = .request,
        _ body: (FetchScheduler.SourceId) async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let source = try await source(at: address, for: purpose)
        do throws(Failure) {
            let value = try await body(source)
            await giveUp(address, for: purpose)
            return value
        } catch {
            await giveUp(address, for: purpose)
            throw error
        }
    }

    /// The repositories on the way to a name, each to be asked for itself.
    func repositories(for name: Name) async -> [FetchScheduler.SourceId] {
        let found = await gate.submit {
            self.own.scheduler.repositories(for: name, now: self.now)
        }
        return found ?? []
    }

    /// A neighbour that connected, to ask for certain things over its face, wherever it may be.
    func source(on face: FaceId) async -> FetchScheduler.SourceId? {
        await gate.submit { () -> FetchScheduler.SourceId? in
            guard let address = self.address(of: face) else { return nil }
            let id = self.addSource(address, .repository([]))
            self.carryOut(self.own.scheduler.faceUp(face, of: id, now: self.now))
            return id
        } ?? nil
    }

    /// It came back with another face.
    func move(_ source: FetchScheduler.SourceId, to face: FaceId) {
        gate.execute {
            guard self.address(of: face) != nil else { return }
            self.carryOut(self.own.scheduler.faceUp(face, of: source, now: self.now))
        }
    }

    /// Nil if the face is down.
    func address(of face: FaceId) -> FaceAddress? {
        table?.face(face)?.address
    }

    func removeSource(_ source: FetchScheduler.SourceId) {
        gate.execute { self.carryOut(self.own.scheduler.removeSource(source, now: self.now)) }
    }

    /// Begins to listen and to connect. Interests of others are answered by the first of `answerers` that
    /// has an answer, else by `responder`; what passes through is kept in `transit`.
    ///
    /// - Returns: the addresses really bound.
    func start(
        responder: Responder,
        answerers: [any InterestAnswerer] = [],
        transit: TransitCache? = nil,
        listening addresses: [FaceAddress]
    ) async throws(Failure) -> [FaceAddress] {
        let table = FaceTable(
            eventLoop: loop,
            events: self,
            settings: settings,
            firstFace: FaceId(1),
            logger: logger
        )
        gate.execute {
            self.table = table
            self.responder = responder
            self.answerers = answerers
            self.transit = transit
        }
        var bound: [FaceAddress] = []
        for address in addresses { bound.append(try await table.listen(on: address)) }
        let listening = bound
        gate.execute {
            for address in self.routes.table.addresses { table.connect(to: address) }
            self.discovery = self.discoverySettings.map { self.discover($0, table, listening) }
        }
        return bound
    }

    /// Ends what waits for an answer of others; who asks from now on is told so. Neighbours hear that the node goes.
    func endRequests() async {
        let discovery = await gate.submit { () -> Discovery? in
            self.endOwnRequests()
            defer { self.discovery = nil }
            return self.discovery
        }
        await (discovery ?? nil)?.stop()
    }

    /// Ends all that waits. Whoever comes later is told so.
    func stop() async {
        await endRequests()
        await (gate.submit { self.table } ?? nil)?.shutDown()
        gate.close()
        try? await group.shutdownGracefully()
    }

    /// True if there is someone to ask for the name, whether or not the face is up. From any thread.
    func hasSource(for name: Name) -> Bool { routes.hasSource(for: name) }

    // MARK: Faces

    func faceUp(_ face: Face) {
        forwarder.faceUp(face.id, scope: face.scope, packetLimit: face.packetLimit)
        guard case .outgoing = face.direction else { return }
        if let source = sourceIds[face.address] {
            carryOut(own.scheduler.faceUp(face.id, of: source, now: now))
        }
        addToFIB(routes.table.routes(to: face.address), face.id)
    }

    func received(_ packet: DecodedPacket, on face: FaceId) {
        carryOut(forwarder.receive(packet, from: face, now: now), cameFrom: face)
    }

    func faceDown(_ face: FaceId, because failure: Failure?) {
        if let failure {
            logger.info(
                "face lost",
                metadata: ["face.id": "\(face)", "cause": "\(failure)"]
            )
        }
        let lookups = lookupQueue.remove(face)
        // First who is asked instead: the forwarder then has nobody to tell.
        carryOut(own.scheduler.faceDown(face, now: now))
        carryOut(forwarder.faceDown(face, now: now))
        for lookup in lookups {
            guard let other = forwarder.waitingFace(for: lookup.token) else { continue }
            lookUp(lookup.token, lookup.interest, for: other)
        }
    }

    // MARK: Actions

    var now: UInt64 { UInt64((NIODeadline.now() - started).nanoseconds / 1_000_000) }

    /// - Parameter face: whose packet it was that led to these.
    func carryOut(_ actions: [ForwarderAction], cameFrom face: FaceId? = nil) {
        for action in actions {
            switch action {
            case .lookUpContent(let token, let interest):
                lookUp(token, interest, for: face ?? Self.application)
            case .sendContentObject(let packet, Self.application):
                if case .contentObject(let object) = packet.packet {
                    received(object, in: packet, from: face)
                }
            case .sendInterestReturn(let packet, let code, Self.application):
                if case .interest(let interest) = packet.packet {
                    carryOut(
                        own.scheduler.returned(interest.name, code, from: face, now: now)
                    )
                }
            case .reportExpired:
                // Own requests have clocks of their own.
                break
            case .cache(let packet):
                // What this node asked for is kept by the one who asked, where it belongs on disk.
                if Self.areForOthersOnly(actions) { transit?.offer(packet) }
            case .sendInterest(let packet, _, let hop) where isForChunks(packet, to: hop):
                fetchInChunks(packet, from: hop)
            case .sendInterest(_, _, let face), .sendContentObject(_, let face),
                .sendInterestReturn(_, _, let face):
                if let wire = action.wire { table?.send(wire, on: face) }
            }
        }
        scheduleExpiry()
    }

    private static func areForOthersOnly(_ actions: [ForwarderAction]) -> Bool {
        actions.allSatisfy { action in
            if case .sendContentObject(_, application) = action { false } else { true }
        }
    }

    private func lookUp(_ token: LookupToken, _ interest: Interest, for face: FaceId) {
        guard
            lookupQueue.add(
                .init(token: token, interest: interest, face: face),
                from: face
            )
        else {
            return carryOut(forwarder.contentStoreIsBusy(token, now: now))
        }
        startLookups()
    }

    private func startLookups() {
        while let lookup = lookupQueue.next() {
            nextLookup = (nextLookup + 1) % lookups.count
            lookups[nextLookup].async { [responder, answerers, transit] in
                let answer =
                    answerers.firstAnswer(to: lookup.interest, from: lookup.face)
                    ?? responder.flatMap { self.answer(lookup.interest, from: $0) }
                    ?? transit?.answer(
                        lookup.interest,
                        from: lookup.face,
                        now: Self.wallClockMilliseconds
                    )
                self.gate.execute {
                    self.lookupQueue.done()
                    self.carryOut(
                        self.forwarder.contentStoreAnswered(
                            lookup.token,
                            with: answer,
                            now: self.now
                        )
                    )
                    self.startLookups()
                }
            }
        }
    }

    /// Away from the event loop.
    private func answer(_ interest: Interest, from responder: Responder) -> DecodedPacket? {
        do throws(Failure) {
            return try responder.answer(interest, now: Self.wallClockMilliseconds)
        } catch {
            logger.error(
                "content store could not be read",
                metadata: ["name": "\(interest.name)", "cause": "\(error)"]
            )
            return nil
        }
    }

    private static var wallClockMilliseconds: UInt64 {
        UInt64(WallClock.nanoseconds / 1_000_000)
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
        var datagrams: DatagramCounters
        var sources: [NodeStatus.SourceReport]
        /// Nil if neighbours are not looked for.
        var discovery: Discovery.Report?
    }

    func report() async -> Report? {
        await gate.submit {
            Report(
                faces: self.table?.faces ?? [],
                pendingInterests: self.forwarder.pendingInterestCount,
                counters: self.forwarder.counters,
                datagrams: self.table?.datagramCounters ?? DatagramCounters(),
                sources: self.sourceReports,
                discovery: self.discovery?.report
            )
        }
    }
}
