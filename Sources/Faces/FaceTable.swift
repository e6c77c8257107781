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
        let channel: any Channel
        let progress: FrameProgress
        var queuedByteCount = 0
        var lastProgress: NIODeadline
        var isFlushPending = false
        var traffic = FaceTraffic()
    }

    package let eventLoop: any EventLoop
    package let settings: FaceSettings
    let logger: Logger
    /// Spreads reconnections of many nodes: a number from 0 to 1, drawn for each pause.
    let jitter: @Sendable () -> Double
    private weak var events: (any FaceEvents)?

    private var entries: [FaceId: Entry] = [:]
    private var connectors: [FaceAddress: FaceConnector] = [:]
    private var listeners: [any Channel] = []
    private var nextFace: UInt64
    private var isShutDown = false
    /// Of neighbours that connected.
    private var incomingCount = 0
    private var incomingCounts: [String: Int] = [:]
    private var queuedByteCountOfAll = 0
    private var sweep: RepeatedTask?

    private static let sweepInterval = TimeAmount.seconds(1)

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
        self.logger = logger
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

    /// Queues a packet. False, and the packet is dropped, if the face is gone or its queue is full.
    @discardableResult
    package func send(_ wire: [UInt8], on face: FaceId) -> Bool {
        eventLoop.preconditionInEventLoop()
        guard var entry = entries[face] else { return false }
        let queued = entry.queuedByteCount + wire.count
        guard queued <= settings.queuedByteCount,
            queued <= settings.reservedByteCount
                || queuedByteCountOfAll + wire.count <= settings.queuedByteCountOfAll
        else {
            entries[face]?.traffic.packetsDropped += 1
            closeIfStalled(entry)
            return false
        }
        let channel = entry.channel
        if entry.queuedByteCount == 0 { entry.lastProgress = .now() }
        entry.queuedByteCount += wire.count
        entry.traffic.packetsSent += 1
        entry.traffic.bytesSent += wire.count
        queuedByteCountOfAll += wire.count
        let needsFlush = !entry.isFlushPending
        entry.isFlushPending = true
        entries[face] = entry
        // A buffer takes a power of two: in two pieces, a segment with its head takes little more than it has.
        let head = wire.count - wire.count.largestPowerOfTwo
        if head > 0 {
            channel.write(channel.allocator.buffer(bytes: wire[..<head]), promise: nil)
        }
        channel.write(channel.allocator.buffer(bytes: wire[head...]))
            .whenComplete { self.noteWritten(wire.count, on: face, $0) }
        // One flush for all that is sent in this turn of the loop.
        if needsFlush { eventLoop.execute { self.flush(face) } }
        return true
    }

    /// Bytes that wait to be sent on a face.
    package func queuedByteCount(of face: FaceId) -> Int {
        eventLoop.preconditionInEventLoop()
        return entries[face]?.queuedByteCount ?? 0
    }

    /// Nil if it is down.
    package func traffic(of face: FaceId) -> FaceTraffic? {
        eventLoop.preconditionInEventLoop()
        return entries[face]?.traffic
    }

    /// Stops or resumes reading from a neighbour, whose own queue then fills: for an owner that cannot
    /// keep up.
    package func setReading(_ isReading: Bool, on face: FaceId) {
        eventLoop.preconditionInEventLoop()
        entries[face]?.channel.setOption(.autoRead, value: isReading).whenFailure { _ in }
    }

    package func close(_ face: FaceId) {
        eventLoop.preconditionInEventLoop()
        entries[face]?.channel.close(promise: nil)
    }

    // MARK: From anywhere

    /// Listens; returns the address with the port that was really bound.
    package func listen(on address: FaceAddress) async throws(Failure) -> FaceAddress {
        do {
            let channel = try await bind(address).get()
            let isLate = try await eventLoop.submit {
                if !self.isShutDown { self.listeners.append(channel) }
                return self.isShutDown
            }.get()
            if isLate {
                try await channel.close()
                throw Failure(.cancelled, "the faces are shut down")
            }
            guard case .tcp(let host, _) = address, let port = channel.localAddress?.port else {
                return address
            }
            return .tcp(host: host, port: port)
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
            let channels = self.listeners + self.entries.values.map(\.channel)
            self.listeners = []
            let closed = channels.map { channel in
                channel.close(promise: nil)
                return channel.closeFuture
            }
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
        _ channel: any Channel,
        address: FaceAddress,
        direction: Face.Direction,
        progress: FrameProgress
    ) -> FaceId? {
        eventLoop.preconditionInEventLoop()
        guard !isShutDown, direction == .outgoing || admit(address) else { return nil }
        if sweep == nil {
            sweep = eventLoop.scheduleRepeatedTask(
                initialDelay: Self.sweepInterval,
                delay: Self.sweepInterval
            ) { _ in self.closeTheSlow() }
        }
        let face = Face(id: FaceId(nextFace), address: address, direction: direction)
        nextFace += 1
        entries[face.id] = Entry(
            face: face,
            channel: channel,
            progress: progress,
            lastProgress: .now()
        )
        logger.debug(
            "face is up",
            metadata: ["face.id": "\(face.id)", "face.address": "\(address)"]
        )
        events?.faceUp(face)
        return face.id
    }

    func received(_ packet: DecodedPacket, on face: FaceId) {
        entries[face]?.traffic.noteReceived(byteCount: packet.wire.count)
        events?.received(packet, on: face)
    }

    func remove(_ face: FaceId, because failure: Failure?) {
        eventLoop.preconditionInEventLoop()
        guard let entry = entries.removeValue(forKey: face) else { return }
        if entry.face.direction == .incoming { forget(entry.face.address) }
        logger.debug(
            "face is down",
            metadata: ["face.id": "\(face)", "packets.dropped": "\(entry.traffic.packetsDropped)"]
        )
        events?.faceDown(face, because: failure)
    }

    // MARK: Leaves

    private func admit(_ address: FaceAddress) -> Bool {
        let count = address.host.map { incomingCounts[$0, default: 0] } ?? 0
        guard incomingCount < settings.faceCount, count < settings.faceCountPerAddress else {
            logger.info(
                "peer turned away: too many faces",
                metadata: ["face.address": "\(address)"]
            )
            return false
        }
        incomingCount += 1
        if let host = address.host { incomingCounts[host] = count + 1 }
        return true
    }

    private func forget(_ address: FaceAddress) {
        incomingCount -= 1
        guard let host = address.host, let count = incomingCounts[host] else { return }
        incomingCounts[host] = count > 1 ? count - 1 : nil
    }

    /// Whoever begins a packet and does not end it keeps memory, and is not of use to anybody.
    private func closeTheSlow() {
        let patience = TimeAmount.milliseconds(settings.packetMilliseconds)
        let now = NIODeadline.now()
        for entry in entries.values {
            if entry.queuedByteCount > 0 { closeIfStalled(entry) }
            guard let since = entry.progress.insideSince, since + patience < now else { continue }
            entry.channel.pipeline.fireErrorCaught(
                Failure(.timedOut, "peer at \(entry.face.address) does not end its packet")
            )
        }
    }

    private func flush(_ face: FaceId) {
        entries[face]?.isFlushPending = false
        entries[face]?.channel.flush()
    }

    private func noteWritten(_ byteCount: Int, on face: FaceId, _ result: Result<Void, any Error>) {
        queuedByteCountOfAll -= byteCount
        guard case .success = result else { return }
        entries[face]?.queuedByteCount -= byteCount
        entries[face]?.lastProgress = .now()
    }

    private func closeIfStalled(_ entry: Entry) {
        let patience = TimeAmount.milliseconds(settings.stallMilliseconds)
        guard entry.lastProgress + patience < .now() else { return }
        let stall = Failure(.timedOut, "peer at \(entry.face.address) takes nothing")
        entry.channel.pipeline.fireErrorCaught(stall)
    }

    private func bind(_ address: FaceAddress) -> EventLoopFuture<any Channel> {
        switch address {
        case .tcp(let host, let port):
            return serverBootstrap(for: address).bind(host: host, port: port)
        case .unix(let path):
            // A socket nobody answers on was left behind by a process that was killed.
            return ClientBootstrap(group: eventLoop).connect(unixDomainSocketPath: path)
                .flatMap { channel in
                    channel.close(promise: nil)
                    let busy = Failure(.busy, "another process listens there")
                    return self.eventLoop.makeFailedFuture(busy)
                }
                .flatMapError { error in
                    let errno = (error as? IOError)?.errnoCode
                    guard errno == ECONNREFUSED || errno == ENOENT else {
                        return self.eventLoop.makeFailedFuture(error)
                    }
                    return self.serverBootstrap(for: address)
                        .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
                }
        }
    }

    private func serverBootstrap(for address: FaceAddress) -> ServerBootstrap {
        ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: settings.listenBacklog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                self.prepare(channel, peerOf: address)
            }
    }

    private func prepare(
        _ channel: any Channel,
        peerOf listening: FaceAddress
    ) -> EventLoopFuture<Void> {
        switch listening {
        case .unix:
            return addHandlers(to: channel, address: listening, direction: .incoming)
        case .tcp:
            let peer = channel.remoteAddress
            let host = peer?.ipAddress ?? "unknown"
            let address = FaceAddress.tcp(host: host, port: peer?.port ?? 0)
            return addHandlers(to: channel, address: address, direction: .incoming)
        }
    }

    /// Makes a fresh channel a face once it is active.
    func addHandlers(
        to channel: any Channel,
        address: FaceAddress,
        direction: Face.Direction
    ) -> EventLoopFuture<Void> {
        let added = channel.eventLoop.makeCompletedFuture {
            let progress = FrameProgress()
            let framing = ByteToMessageHandler(
                PacketFrameDecoder(
                    maximumPacketLength: settings.maximumPacketLength,
                    progress: progress
                )
            )
            let handler = FaceHandler(
                table: self,
                address: address,
                direction: direction,
                progress: progress
            )
            try channel.pipeline.syncOperations.addHandlers([framing, handler])
        }
        guard case .tcp = address else { return added }
        // Packets are whole messages: waiting for more to send with them only costs time.
        return added.flatMap { channel.setOption(.tcpOption(.tcp_nodelay), value: 1) }
            .flatMap { channel.setOption(.socketOption(.so_keepalive), value: 1) }
    }
}

extension Int {
    /// Of a number above 0: the largest power of two that is not above it.
    fileprivate var largestPowerOfTwo: Int { 1 << (Int.bitWidth - 1 - leadingZeroBitCount) }
}
