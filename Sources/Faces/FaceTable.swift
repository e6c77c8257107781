package import CCNx
package import Failures
import Glibc
package import Logging
package import NIOCore
import NIOPosix

/// All faces of a node: listens, connects, sends, and reports what arrives.
///
/// Concurrency: everything here, channels and callbacks included, happens on `eventLoop`, which the
/// caller shares with whoever decides about packets; so there are no locks, and no hop between
/// receiving a packet and deciding. The verbs say whether they must be called there. Sendable because
/// each access to the state checks that it is on that loop.
package final class FaceTable: @unchecked Sendable {
    private struct Entry {
        let face: Face
        let link: FaceLink
        /// Nil where packets are never compressed.
        let compression: FaceCompression?
        var queuedByteCount = 0
        var lastProgress: NIODeadline
        /// Of a packet that came.
        var lastReceived: NIODeadline?
        var lastHeard: NIODeadline { lastReceived ?? traffic.start }
        /// Over UDP: since when nothing came after a packet was sent.
        var unansweredSince: NIODeadline?
        /// Over UDP: whose address a neighbour who came has, if somebody else may have written that into its datagrams.
        var forgeableNetwork: String?
        /// Over a UDP socket of its own: why that could not send.
        var problem: Failure?
        var isFlushPending = false
        var traffic = FaceTraffic()
    }

    package let eventLoop: any EventLoop
    package let settings: FaceSettings
    let logger: Logger
    let compressor: PacketCompressor
    /// Spreads reconnections of many nodes: a number from 0 to 1, drawn for each pause.
    let jitter: @Sendable () -> Double
    private weak var events: (any FaceEvents)?

    private var entries: [FaceId: Entry] = [:]
    private var connectors: [FaceAddress: FaceConnector] = [:]
    private var listeners: [any Channel] = []
    private(set) var datagramListeners: [DatagramListener] = []
    private var nextFace: UInt64
    private var isShutDown = false
    /// Of neighbours that connected.
    private var admission: FaceAdmission
    private var budget: AnswerBudget
    package internal(set) var datagramCounters = DatagramCounters()
    private var queuedByteCountOfAll = 0
    private var sweep: RepeatedTask?

    private static let sweepInterval = TimeAmount.seconds(1)
    /// Bytes that a packet takes in a queue beside its own, roughly: buffer, promise, place in the pipeline. An Interest
    /// that is given back has twenty.
    private static let queueOverhead = 512

    /// - Parameters:
    ///   - events: told on `eventLoop`; not kept alive by the table.
    ///   - firstFace: ids below it are the caller's, for faces inside the process.
    package init(
        eventLoop: any EventLoop,
        events: any FaceEvents,
        settings: FaceSettings = FaceSettings(),
        firstFace: FaceId = FaceId(1),
        logger: Logger,
        jitter: @escaping @Sendable () -> Double = { Double.random(in: 0...1) }
    ) {
        self.eventLoop = eventLoop
        self.events = events
        self.settings = settings
        admission = FaceAdmission(settings)
        budget = AnswerBudget(settings)
        self.logger = logger
        compressor = PacketCompressor(maximumPacketLength: settings.maximumPacketLength)
        self.jitter = jitter
        nextFace = firstFace.number
    }

    // MARK: On the event loop

    /// The faces that are up.
    package var faces: [Face] {
        eventLoop.preconditionInEventLoop()
        return entries.values.map(\.face).sorted { $0.id < $1.id }
    }

    /// Nil if it is down.
    package func face(_ id: FaceId) -> Face? {
        eventLoop.preconditionInEventLoop()
        return entries[id]?.face
    }

    /// The numbers of those neighbours that faces lead to whose addresses are written otherwise, such as with a
    /// host's name.
    package var addressesOfNamedNeighbours: Set<FaceAddress> {
        eventLoop.preconditionInEventLoop()
        return Set(
            entries.values.compactMap { entry in
                guard entry.face.direction == .outgoing, entry.face.address.host != nil,
                    let remote = entry.link.ownChannel?.remoteAddress,
                    let host = remote.ipAddress, let port = remote.port
                else { return nil }
                let address = entry.face.address.at(host: host, port: port)
                // Of a link-local address the device is part, which the number has not.
                return address == entry.face.address || host.hasPrefix(LocalLink.linkLocalPrefix)
                    ? nil : address
            }
        )
    }

    /// Queues a packet. False, and the packet is dropped, if the face is gone, its queue is full, or its address, which
    /// may be forged, had its share.
    @discardableResult
    package func send(_ wire: [UInt8], on face: FaceId) -> Bool {
        eventLoop.preconditionInEventLoop()
        guard var entry = entries[face] else { return false }
        let byteCount = wire.count + Self.queueOverhead
        let queued = entry.queuedByteCount + byteCount
        // An empty queue takes the largest packet, however small it is set.
        guard entry.queuedByteCount == 0 || queued <= settings.queuedByteCount,
            queued <= settings.reservedByteCount
                || queuedByteCountOfAll + byteCount <= settings.queuedByteCountOfAll
        else {
            entries[face]?.traffic.packetsDropped += 1
            closeIfStalled(entry)
            return false
        }
        if let network = entry.forgeableNetwork,
            !budget.spend(byteCount: wire.count, on: network, now: .now())
        {
            entries[face]?.traffic.packetsDropped += 1
            datagramCounters.withheld += 1
            return false
        }
        if entry.queuedByteCount == 0 { entry.lastProgress = .now() }
        if entry.link.isDatagram, entry.unansweredSince == nil { entry.unansweredSince = .now() }
        let sent = entry.compression?.outgoing(wire) ?? wire
        let sentByteCount = sent.count + Self.queueOverhead
        entry.queuedByteCount += sentByteCount
        entry.traffic.noteSent(byteCount: wire.count, linkByteCount: sent.count)
        queuedByteCountOfAll += sentByteCount
        let needsFlush = !entry.isFlushPending
        entry.isFlushPending = true
        entries[face] = entry
        entry.link.write(sent)
            .whenComplete { self.noteWritten(sentByteCount, on: face, $0) }
        // One flush for all that is sent in this turn of the loop.
        if needsFlush { eventLoop.execute { self.flush(face) } }
        return true
    }

    /// Bytes that wait to be sent on a face, with what keeping them takes.
    package func queuedByteCount(of face: FaceId) -> Int {
        eventLoop.preconditionInEventLoop()
        return entries[face]?.queuedByteCount ?? 0
    }

    /// Nil if it is down.
    package func traffic(of face: FaceId) -> FaceTraffic? {
        eventLoop.preconditionInEventLoop()
        return entries[face]?.traffic
    }

    /// Whether both ends agreed to compress what they send.
    package func isCompressed(_ face: FaceId) -> Bool {
        eventLoop.preconditionInEventLoop()
        return entries[face]?.compression?.isInForce ?? false
    }

    /// Stops or resumes reading from a neighbour, whose own queue then fills: for an owner that cannot
    /// keep up.
    package func setReading(_ isReading: Bool, on face: FaceId) {
        eventLoop.preconditionInEventLoop()
        entries[face]?.link.setReading(isReading)
    }

    package func close(_ face: FaceId) {
        eventLoop.preconditionInEventLoop()
        entries[face]?.link.close()
    }

    // MARK: From anywhere

    /// Listens; returns the address with the port that was really bound.
    package func listen(on address: FaceAddress) async throws(Failure) -> FaceAddress {
        do {
            let port: Int? =
                switch address {
                case .tcp(let host, let port):
                    try await accept(serverBootstrap(for: address).bind(host: host, port: port))
                case .udp(let host, let port):
                    try await listenForDatagrams(host: host, port: port).get()
                case .unix(let path):
                    try await accept(bind(to: path, address))
                }
            return port.map { address.withPort($0) } ?? address
        } catch {
            throw Failure(transport: error, "cannot listen on \(address)")
        }
    }

    /// Keeps a face to `address` up from now on, connecting again whenever it is lost. Does nothing if
    /// that is so already.
    package func connect(to address: FaceAddress) {
        eventLoop.execute {
            guard !self.isShutDown, self.connectors[address] == nil else { return }
            let connector = FaceConnector(address: address, table: self)
            self.connectors[address] = connector
            connector.start()
        }
    }

    /// Ends what ``connect(to:)`` began, and its face.
    package func disconnect(from address: FaceAddress) {
        eventLoop.execute { self.connectors.removeValue(forKey: address)?.stop() }
    }

    /// Stops listening and connecting, closes all faces, and returns when the last one is down.
    package func shutDown() async {
        let closing = eventLoop.flatSubmit {
            self.isShutDown = true
            self.sweep?.cancel()
            self.sweep = nil
            for connector in self.connectors.values { connector.stop() }
            self.connectors = [:]
            let channels = self.listeners + self.entries.values.compactMap(\.link.ownChannel)
            self.listeners = []
            let closed =
                channels.map { channel in
                    channel.close(promise: nil)
                    return channel.closeFuture
                } + self.datagramListeners.map { $0.stop() }
            self.datagramListeners = []
            return EventLoopFuture.andAllComplete(closed, on: self.eventLoop)
        }
        do {
            try await closing.get()
        } catch {
            logger.debug("faces did not close in order", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: For handlers, on the event loop

    /// Nil if there are too many faces already.
    func add(
        _ link: FaceLink,
        compression: FaceCompression? = nil,
        address: FaceAddress,
        direction: Face.Direction
    ) -> FaceId? {
        eventLoop.preconditionInEventLoop()
        guard !isShutDown, direction == .outgoing || admit(address) else { return nil }
        if sweep == nil {
            sweep = eventLoop.scheduleRepeatedTask(
                initialDelay: Self.sweepInterval,
                delay: Self.sweepInterval
            ) { _ in self.closeTheSlow() }
        }
        let face = Face(
            id: FaceId(nextFace),
            address: address,
            direction: direction,
            packetLimit: packetLimit(at: address, direction)
        )
        nextFace += 1
        var entry = Entry(
            face: face,
            link: link,
            compression: compression,
            lastProgress: .now()
        )
        if case .shared = link, let host = address.host, !AnswerBudget.isBeyondForgery(host) {
            let network = HostNetwork.key(of: host)
            entry.forgeableNetwork = network
            budget.add(network, now: .now())
        }
        entries[face.id] = entry
        logger.debug(
            "face is up",
            metadata: ["face.id": "\(face.id)", "face.address": "\(address)"]
        )
        if let question = compression?.question { send(question, on: face.id) }
        events?.faceUp(face)
        return face.id
    }

    func received(_ packet: DecodedPacket, on face: FaceId) {
        noteReceived(packet, linkByteCount: packet.wire.count, on: face)
        handOn(packet, from: face)
    }

    func noteReceived(_ packet: DecodedPacket, linkByteCount: Int, on face: FaceId) {
        guard let index = entries.index(forKey: face) else { return }
        let byteCount = packet.wire.count
        entries.values[index].lastReceived = .now()
        entries.values[index].unansweredSince = nil
        entries.values[index].traffic.noteReceived(
            byteCount: byteCount,
            linkByteCount: linkByteCount
        )
        if let network = entries.values[index].forgeableNetwork {
            budget.noteReceived(byteCount: byteCount, from: network)
        }
    }

    /// To the owner of the table.
    func handOn(_ packet: DecodedPacket, from face: FaceId) {
        events?.received(packet, on: face)
    }

    func remove(_ face: FaceId, because failure: Failure?) {
        eventLoop.preconditionInEventLoop()
        guard let entry = entries.removeValue(forKey: face) else { return }
        if let network = entry.forgeableNetwork { budget.remove(network) }
        if entry.face.direction == .incoming {
            admission.forget(entry.face.address)
        } else if entry.link.isDatagram, entry.lastReceived == nil {
            connectors[entry.face.address]?.noteSilence()
        }
        logger.debug(
            "face is down",
            metadata: ["face.id": "\(face)", "packets.dropped": "\(entry.traffic.packetsDropped)"]
        )
        events?.faceDown(face, because: failure ?? entry.problem)
    }

    /// - Returns: false if it came too late.
    func keep(_ listener: DatagramListener) -> Bool {
        if !isShutDown { datagramListeners.append(listener) }
        return !isShutDown
    }

    // MARK: Leaves

    private func admit(_ address: FaceAddress) -> Bool {
        let isAdmitted = admission.admit(address)
        if !isAdmitted {
            // Datagrams come by the thousand.
            logger.log(
                level: address.isDatagram ? .debug : .info,
                "peer turned away: too many faces",
                metadata: ["face.address": "\(address)"]
            )
        }
        return isAdmitted
    }

    /// Whoever begins a packet and does not end it keeps memory, and is not of use to anybody.
    private func closeTheSlow() {
        let patience = TimeAmount.milliseconds(settings.packetMilliseconds)
        let now = NIODeadline.now()
        for entry in entries.values {
            if entry.queuedByteCount > 0 { closeIfStalled(entry) }
            if entry.link.isDatagram { closeIfSilent(entry, now: now) }
            guard let since = entry.link.insideSince, since + patience < now else { continue }
            entry.link.fail(
                Failure(.timedOut, "peer at \(entry.face.address) does not end its packet")
            )
        }
        makeRoom(now: now)
    }

    /// UDP has no end of a connection.
    private func closeIfSilent(_ entry: Entry, now: NIODeadline) {
        switch entry.face.direction {
        case .incoming:
            let patience =
                admission.isCrowdedWithDatagrams
                ? settings.crowdedIdleMilliseconds : settings.idleMilliseconds
            guard let last = entry.lastReceived, last + .milliseconds(patience) < now else {
                return
            }
            entry.link.close()
        case .outgoing:
            let patience = TimeAmount.milliseconds(settings.silenceMilliseconds)
            guard let since = entry.unansweredSince, since + patience < now else { return }
            entry.link.fail(Failure(.timedOut, "nothing comes from \(entry.face.address)"))
        }
    }

    /// One that has nothing to say keeps another from asking. It comes back when it wants to. The first to go is the one
    /// that has said nothing for longest.
    private func makeRoom(now: NIODeadline) {
        guard admission.isCrowded else { return }
        let patience = TimeAmount.milliseconds(settings.crowdedStreamIdleMilliseconds)
        let idle = entries.values.filter { entry in
            !entry.link.isDatagram && entry.face.direction == .incoming
                && entry.face.scope == .remote && entry.lastHeard + patience < now
        }
        for entry in idle.sorted(by: { $0.lastHeard < $1.lastHeard }) where admission.isCrowded {
            entry.link.close()
        }
    }

    private func flush(_ face: FaceId) {
        entries[face]?.isFlushPending = false
        entries[face]?.link.flush()
    }

    private func noteWritten(_ byteCount: Int, on face: FaceId, _ result: Result<Void, any Error>) {
        queuedByteCountOfAll -= byteCount
        guard let entry = entries[face] else { return }
        entries[face]?.queuedByteCount -= byteCount
        switch result {
        case .success: entries[face]?.lastProgress = .now()
        case .failure(let error):
            // A refusal; what else is wrong with a datagram concerns that one only.
            guard case .datagrams = entry.link, error is IOError else { return }
            entries[face]?.problem = Failure(
                transport: error,
                "face to \(entry.face.address) failed"
            )
        }
    }

    private func closeIfStalled(_ entry: Entry) {
        let patience = TimeAmount.milliseconds(settings.stallMilliseconds)
        guard entry.lastProgress + patience < .now() else { return }
        let stall = Failure(.timedOut, "peer at \(entry.face.address) takes nothing")
        entry.link.fail(stall)
    }

    /// - Returns: the port that was bound, if it has one.
    private func accept(_ binding: EventLoopFuture<any Channel>) async throws -> Int? {
        let channel = try await binding.get()
        let isLate = try await eventLoop.submit {
            if !self.isShutDown { self.listeners.append(channel) }
            return self.isShutDown
        }.get()
        if isLate {
            try await channel.close()
            throw Failure(.cancelled, "the faces are shut down")
        }
        return channel.localAddress?.port
    }
}
