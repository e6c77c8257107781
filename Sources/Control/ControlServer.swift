internal import CCNx
package import Failures
internal import Files
internal import Foundation
package import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// Answers the `ccnfs` commands of this machine over a Unix socket that only the owner may use.
package final class ControlServer: Sendable {
    package typealias Handler =
        @Sendable (ControlRequest, any ControlSession) async throws(Failure) -> ControlResponse

    private let listener: NIOAsyncChannel<NIOAsyncChannel<ControlFrame, ControlFrame>, Never>
    private let path: String
    private let logger: Logger
    private let group = MultiThreadedEventLoopGroup.singleton
    private let underWay = Atomic(0)

    /// With commands under way at the end, and how often it is looked at.
    private static let patience = (whole: Duration.seconds(1), pause: Duration.milliseconds(5))

    /// Begins to listen. The caller holds the lock of the state directory, so a socket that is there
    /// already was left behind.
    package init(path: String, logger: Logger) async throws(Failure) {
        self.path = path
        self.logger = logger
        do {
            listener = try await ServerBootstrap(group: group)
                .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true) { channel in
                    channel.wrapAsControl()
                }
        } catch {
            throw Failure(
                .unavailable,
                "cannot listen on \(path): \(error)",
                hint: path.utf8.count > 100 ? "the state directory's path is too long" : nil
            )
        }
        try FileTree.setPermissions(of: path, to: 0o600)
    }

    /// Serves until ``stop()``.
    package func serve(_ handler: @escaping Handler) async {
        do {
            try await listener.executeThenClose { connections in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await connection in connections {
                        underWay.add(1, ordering: .relaxed)
                        group.addTask {
                            await self.serve(connection, handler)
                            self.underWay.subtract(1, ordering: .relaxed)
                        }
                    }
                    // What was told a moment ago why it fails says so to its command.
                    await waitUntil(within: Self.patience.whole, every: Self.patience.pause) {
                        underWay.load(ordering: .relaxed) == 0
                    }
                    // A command that keeps its connection must not keep the node.
                    group.cancelAll()
                }
            }
        } catch {
            logger.debug("control socket closed", metadata: ["reason": "\(error)"])
        }
    }

    package func stop() async {
        try? await listener.channel.close()
        try? FileTree.remove(path)
    }

    private func serve(
        _ connection: NIOAsyncChannel<ControlFrame, ControlFrame>,
        _ handler: Handler
    ) async {
        do {
            try await connection.executeThenClose { inbound, outbound in
                var frames = inbound.makeAsyncIterator()
                guard case .message(.request(let request)) = try await frames.next() else { return }
                let conversation = Conversation(frames)
                let session = RemoteSession(conversation, outbound)
                let answer: ControlMessage
                do throws(Failure) {
                    answer = .response(try await handler(request, session))
                } catch {
                    answer = .failure(WireFailure(error))
                }
                try await outbound.write(.message(answer))
                // Closing here would drop what the socket has not taken yet: the command closes.
                while try await conversation.next() != nil {}
            }
        } catch {
            logger.debug("control connection ended", metadata: ["reason": "\(error)"])
        }
    }
}

/// The frames of one connection, read by one request at a time.
actor Conversation {
    private var frames: NIOAsyncChannelInboundStream<ControlFrame>.AsyncIterator

    init(_ frames: sending NIOAsyncChannelInboundStream<ControlFrame>.AsyncIterator) {
        self.frames = frames
    }

    func next() async throws -> ControlFrame? {
        // A mutating call cannot wait on the actor's own state; the iterator shares what it copies.
        var iterator = frames
        defer { frames = iterator }
        return try await iterator.next(isolation: self)
    }
}

/// A command at the other end of the socket.
struct RemoteSession: ControlSession {
    private let conversation: Conversation
    private let outbound: NIOAsyncChannelOutboundWriter<ControlFrame>

    init(
        _ conversation: Conversation,
        _ outbound: NIOAsyncChannelOutboundWriter<ControlFrame>
    ) {
        self.conversation = conversation
        self.outbound = outbound
    }

    func report(_ progress: ControlProgress) async {
        // A command that is gone is noticed where its answer is needed.
        try? await outbound.write(.message(.progress(progress)))
    }

    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        let question = ControlMessage.wantsSignature(
            name: object.name?.uri ?? "",
            payload: Data(object.payload),
            timeMilliseconds: signatureTimeMilliseconds
        )
        switch try await ask(question) {
        case .message(.signature(let signed)): return Array(signed)
        case .message(.refusal(let failure)): throw failure.failure
        default: throw Failure(.invalid, "the command answered something else than a signature")
        }
    }

    func read(byteCount: Int) async throws(Failure) -> [UInt8] {
        switch try await ask(.wantsBytes(byteCount)) {
        case .bytes(let bytes) where bytes.count <= byteCount: return bytes
        case .message(.refusal(let failure)): throw failure.failure
        default: throw Failure(.invalid, "the command answered something else than bytes")
        }
    }

    private func ask(_ question: ControlMessage) async throws(Failure) -> ControlFrame {
        do {
            try await outbound.write(.message(question))
            if let answer = try await conversation.next() { return answer }
        } catch {
            throw Failure(.cancelled, "the command is gone: \(error)")
        }
        throw Failure(.cancelled, "the command is gone")
    }
}
