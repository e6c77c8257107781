import Faces
import Failures
import NIOCore
import NIOPosix
import Synchronization
import TestSupport

/// Takes connections and never says anything.
final class SilentListener: Sendable {
    private let channel: any Channel
    private let connected: AsyncStream<any Channel>
    private let accepted = Mutex<[any Channel]>([])
    let address: FaceAddress

    init() async throws {
        let (connected, continuation) = AsyncStream.makeStream(of: (any Channel).self)
        self.connected = connected
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                continuation.yield(channel)
                return channel.eventLoop.makeSucceededVoidFuture()
            }
            .bind(host: "127.0.0.1", port: 0).get()
        guard let port = channel.localAddress?.port else {
            throw Failure(.unavailable, "the listener has no port")
        }
        address = .tcp(host: "127.0.0.1", port: port)
    }

    func waitForConnection() async throws {
        for await channel in connected {
            accepted.withLock { $0.append(channel) }
            return
        }
    }

    func stop() async {
        for channel in accepted.withLock(\.self) { try? await channel.close() }
        try? await channel.close()
    }
}
