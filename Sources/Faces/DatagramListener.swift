import CCNx
import Failures
import Logging
import NIOCore
import NIOPosix

/// A UDP socket that neighbours come to: each address that asks something is a face of its own.
///
/// What one neighbour's address leads to must not touch the others: a datagram that cannot be sent is lost, and
/// counted. A socket that is dead, without having been closed by us, is replaced by another one of the same
/// address, and the faces stay.
///
/// Concurrency: on the table's event loop, except for the initialiser.
final class DatagramListener: @unchecked Sendable {
    private let table: FaceTable
    private(set) var channel: (any Channel)?
    /// On the way to be bound.
    private var opening: (any Channel)?
    /// Nil while there is no socket.
    var sender: (any DatagramSending)?
    /// Datagrams that the kernel has no room for, in order; bounded by the queues of their faces.
    private var waiting = CircularBuffer<Waiting>()
    private var isRetryScheduled = false
    private var faces: [SocketAddress: FaceId] = [:]
    private var isStopped = false
    private var lastWarning: NIODeadline?

    private struct Waiting {
        let wire: [UInt8]
        let address: SocketAddress
        let sent: EventLoopPromise<Void>
    }

    /// The kernel's buffer holds what goes out in so long, many times over: nothing is won by hearing of room sooner.
    private static let retryPause = TimeAmount.milliseconds(1)
    private static let bindPause = TimeAmount.milliseconds(10)
    /// After it could not be bound.
    private static let longBindPause = TimeAmount.seconds(1)
    private static let warningInterval = TimeAmount.minutes(1)

    init(table: FaceTable) { self.table = table }

    /// - Returns: the address that was bound.
    func bind(to address: SocketAddress) -> EventLoopFuture<SocketAddress> {
        let socket: CInt
        do {
            (socket, sender) = try DatagramSender.bind(to: address)
        } catch {
            return table.eventLoop.makeFailedFuture(error)
        }
        let binding = table.datagramBootstrap { channel in
            self.opening = channel
            return DatagramListenerHandler(listener: self)
        }
        .withBoundSocket(socket)
        .hop(to: table.eventLoop)
        return
            binding
            .flatMapErrorThrowing { error in
                // A socket that could not be read from is still open.
                self.opening?.close(promise: nil)
                self.opening = nil
                self.sender = nil
                throw error
            }
            .flatMapThrowing { channel in
                guard !self.isStopped else {
                    channel.close(promise: nil)
                    self.sender = nil
                    throw Failure(.cancelled, "the faces are shut down")
                }
                let bound = channel.localAddress ?? address
                self.opening = nil
                self.channel = channel
                channel.closeFuture.whenComplete { _ in
                    self.channel = nil
                    self.sender = nil
                    self.bindAgain(to: bound, in: Self.bindPause)
                }
                return bound
            }
    }

    private func bindAgain(to address: SocketAddress, in pause: TimeAmount) {
        guard !isStopped else { return }
        warn(of: address)
        table.eventLoop.scheduleTask(in: pause) {
            guard !self.isStopped else { return }
            self.bind(to: address).whenFailure { _ in
                self.bindAgain(to: address, in: Self.longBindPause)
            }
        }
    }

    /// Now and then: whoever makes it fail could fill the log.
    private func warn(of address: SocketAddress) {
        let now = NIODeadline.now()
        if let lastWarning, lastWarning + Self.warningInterval > now { return }
        lastWarning = now
        table.logger.warning(
            "a listening socket is replaced: it is dead",
            metadata: ["face.address": "\(address)"]
        )
    }

    /// Stops listening, and ends all faces.
    func stop() -> EventLoopFuture<Void> {
        isStopped = true
        for address in Array(faces.keys) { end(address, because: nil) }
        sender = nil
        sendWaiting()
        guard let channel else { return table.eventLoop.makeSucceededVoidFuture() }
        channel.close(promise: nil)
        return channel.closeFuture
    }

    // MARK: For the face table

    func write(_ wire: [UInt8], to address: SocketAddress) -> EventLoopFuture<Void> {
        if waiting.isEmpty, let result = attempt(wire, to: address) {
            return table.eventLoop.makeCompletedFuture(result)
        }
        let sent = table.eventLoop.makePromise(of: Void.self)
        waiting.append(Waiting(wire: wire, address: address, sent: sent))
        scheduleRetry()
        return sent.futureResult
    }

    func end(_ address: SocketAddress, because failure: Failure?) {
        guard let face = faces.removeValue(forKey: address) else { return }
        table.remove(face, because: failure)
    }

    // MARK: Out

    /// - Returns: nil if there is no room for it now.
    private func attempt(
        _ wire: [UInt8],
        to address: SocketAddress
    ) -> Result<Void, any Error>? {
        guard let sender else { return .failure(ChannelError.ioOnClosedChannel) }
        switch sender.send(wire, to: address) {
        case .sent: return .success(())
        case .full: return nil
        case .failed(let error):
            table.countUnsent(to: address, because: error)
            if error.isEndOfSocket { channel?.close(promise: nil) }
            return .failure(error)
        }
    }

    private func scheduleRetry() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        table.eventLoop.scheduleTask(in: Self.retryPause) {
            self.isRetryScheduled = false
            self.sendWaiting()
        }
    }

    private func sendWaiting() {
        while let next = waiting.first {
            guard let result = attempt(next.wire, to: next.address) else { return scheduleRetry() }
            waiting.removeFirst()
            next.sent.completeWith(result)
        }
    }

    // MARK: For the handler

    func received(_ datagram: AddressedEnvelope<ByteBuffer>) {
        let content = Datagram(Array(datagram.data.readableBytesView))
        table.count(content, from: datagram.remoteAddress)
        guard !isStopped, case .packet(let packet) = content else { return }
        let sender = datagram.remoteAddress
        guard let face = faces[sender] ?? face(of: sender, content) else {
            return table.countTurnedAway()
        }
        table.received(packet, on: face)
    }

    /// Nil if nobody is to have one.
    private func face(of sender: SocketAddress, _ first: Datagram) -> FaceId? {
        // Nothing can be sent to port 0.
        guard first.opensFace, let host = sender.ipAddress, let port = sender.port, port > 0 else {
            return nil
        }
        let face = table.add(
            .shared(self, sender),
            address: .udp(host: host, port: port),
            direction: .incoming
        )
        faces[sender] = face
        return face
    }
}

private final class DatagramListenerHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let listener: DatagramListener

    init(listener: DatagramListener) { self.listener = listener }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        listener.received(unwrapInboundIn(data))
    }

    /// What went wrong with one neighbour; if it is the end of the socket, that is told by its closing.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
