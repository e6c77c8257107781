import CCNx
import Failures
import Glibc
import Logging
import NIOCore
import NIOPosix

/// Faces over UDP.
extension FaceTable {
    /// Datagrams taken from the kernel at once. Each has room for the largest.
    private static let readCount = 16
    private static let readByteCount = readCount << 16

    /// A socket whose pipeline is the one handler, made for it.
    func datagramBootstrap(
        handler: @escaping @Sendable (any Channel) -> any ChannelHandler
    ) -> DatagramBootstrap {
        let byteCount = settings.datagramBufferByteCount
        return DatagramBootstrap(group: eventLoop)
            .channelOption(.datagramVectorReadMessageCount, value: Self.readCount)
            .channelOption(
                .recvAllocator,
                value: FixedSizeRecvByteBufferAllocator(capacity: Self.readByteCount)
            )
            .channelInitializer { channel in
                Self.setBuffer(SO_RCVBUFFORCE, SO_RCVBUF, byteCount, of: channel)
                    .flatMap { Self.setBuffer(SO_SNDBUFFORCE, SO_SNDBUF, byteCount, of: channel) }
                    .flatMapThrowing {
                        try channel.pipeline.syncOperations.addHandler(handler(channel))
                    }
            }
    }

    /// More than the system's limit is for the privileged; others get what that limit is.
    private static func setBuffer(
        _ privileged: CInt,
        _ ordinary: CInt,
        _ byteCount: Int,
        of channel: any Channel
    ) -> EventLoopFuture<Void> {
        @Sendable func set(_ name: CInt) -> EventLoopFuture<Void> {
            let option = ChannelOptions.Types.SocketOption(
                level: .socket,
                name: NIOBSDSocket.Option(rawValue: name)
            )
            return channel.setOption(option, value: .init(byteCount))
        }
        return set(privileged).flatMapError { _ in set(ordinary) }
    }

    /// - Returns: the port that was bound.
    func listenForDatagrams(host: String, port: Int) -> EventLoopFuture<Int> {
        let listener = DatagramListener(table: self)
        return resolve(host, port: port)
            .flatMap { listener.bind(to: $0[0]) }
            .flatMapThrowing { bound in
                guard self.keep(listener) else {
                    listener.stop().whenFailure { _ in }
                    throw Failure(.cancelled, "the faces are shut down")
                }
                return bound.port ?? port
            }
    }

    /// - Parameter attempt: the addresses of a host take turns.
    func connectForDatagrams(
        host: String,
        port: Int,
        attempt: Int
    ) -> EventLoopFuture<any Channel> {
        resolve(host, port: port).flatMap { addresses in
            self.datagramBootstrap { _ in
                DatagramFaceHandler(table: self, address: .udp(host: host, port: port))
            }
            .connect(to: addresses[attempt % addresses.count])
        }
    }

    /// Never empty.
    func resolve(_ host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
            try HostAddresses.resolve(host, port: port)
        }
    }

    /// Bytes of the largest packet that is sent there.
    func packetLimit(at address: FaceAddress, _ direction: Face.Direction) -> Int {
        guard address.isDatagram else { return PacketFraming.maximumPacketLength }
        return switch direction {
        case .incoming: min(settings.datagramAnswerByteCount, Datagram.maximumByteCount)
        case .outgoing: Datagram.maximumByteCount
        }
    }

    // MARK: For handlers

    func count(_ datagram: Datagram, from sender: SocketAddress) {
        switch datagram {
        case .packet: return
        case .foreign: datagramCounters.foreign += 1
        case .malformed: datagramCounters.malformed += 1
        }
        logger.debug("datagram dropped", metadata: ["face.address": "\(sender)"])
    }

    func countTurnedAway() { datagramCounters.turnedAway += 1 }

    func countUnsent(to address: SocketAddress, because error: IOError) {
        datagramCounters.unsent += 1
        logger.debug(
            "datagram not sent",
            metadata: ["face.address": "\(address)", "reason": "\(error)"]
        )
    }
}
