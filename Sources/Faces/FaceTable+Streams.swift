import Failures
import Glibc
import NIOCore
import NIOPosix

/// Faces over TCP and Unix sockets.
extension FaceTable {
    // MARK: Listening

    func bind(
        to path: String,
        _ address: FaceAddress
    ) -> EventLoopFuture<any Channel> {
        // A socket nobody answers on was left behind by a process that was killed.
        ClientBootstrap(group: eventLoop).connect(unixDomainSocketPath: path)
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

    func serverBootstrap(for address: FaceAddress) -> ServerBootstrap {
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
        guard case .tcp = listening else {
            return addHandlers(to: channel, address: listening, direction: .incoming)
        }
        let peer = channel.remoteAddress
        let host = peer?.ipAddress ?? "unknown"
        let address = FaceAddress.tcp(host: host, port: peer?.port ?? 0)
        return addHandlers(to: channel, address: address, direction: .incoming)
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
                    framer: PacketFramer(maximumPacketLength: settings.maximumPacketLength),
                    progress: progress
                )
            )
            let handler = FaceHandler(
                table: self,
                address: address,
                direction: direction,
                progress: progress,
                compression: try compression(of: address, direction)
            )
            try channel.pipeline.syncOperations.addHandlers([framing, handler])
        }
        guard case .tcp = address else { return added }
        // Packets are whole messages: waiting for more to send with them only costs time.
        return added.flatMap { channel.setOption(.tcpOption(.tcp_nodelay), value: 1) }
            .flatMap { channel.setOption(.socketOption(.so_keepalive), value: 1) }
    }
}
