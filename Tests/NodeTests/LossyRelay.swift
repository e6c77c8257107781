import Faces
import Failures
import NIOCore
import NIOPosix
import Synchronization
import TestSupport

/// Passes the datagrams of one neighbour on to a node, and its answers back; loses some, and sends some twice
/// or late.
final class LossyRelay: Sendable {
    private struct State {
        var random: SplitMix
        var neighbour: SocketAddress?
        var passed = 0
        var lost = 0
    }

    private let state: Mutex<State>
    private let loss: Int
    private let front: any Channel
    private let back: any Channel
    let address: FaceAddress

    /// - Parameter loss: of datagrams each way, in percent; as many come twice, and as many late.
    init(to node: FaceAddress, loss: Int, seed: UInt64) async throws {
        guard case .udp(let host, let port) = node else {
            throw Failure(.invalid, "not a UDP address")
        }
        self.loss = loss
        state = Mutex(State(random: SplitMix(seed: seed)))
        let target = try SocketAddress(ipAddress: host, port: port)
        front = try await Self.socket()
        back = try await Self.socket()
        guard let port = front.localAddress?.port else {
            throw Failure(.unavailable, "the relay has no port")
        }
        address = .udp(host: "127.0.0.1", port: port)
        try await front.pipeline.addHandler(
            DatagramReader { datagram in
                self.state.withLock { $0.neighbour = datagram.remoteAddress }
                self.pass(datagram.data, on: self.back, to: target)
            }
        ).get()
        try await back.pipeline.addHandler(
            DatagramReader { datagram in
                guard let neighbour = self.state.withLock(\.neighbour) else { return }
                self.pass(datagram.data, on: self.front, to: neighbour)
            }
        ).get()
    }

    private static func socket() async throws -> any Channel {
        try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(
                .recvAllocator,
                value: FixedSizeRecvByteBufferAllocator(capacity: 1 << 16)
            )
            .bind(host: "127.0.0.1", port: 0).get()
    }

    private func pass(_ data: ByteBuffer, on channel: any Channel, to address: SocketAddress) {
        let delays = state.withLock { state -> [Int64] in
            guard !state.random.chance(loss, in: 100) else {
                state.lost += 1
                return []
            }
            state.passed += 1
            let isLate = state.random.chance(loss, in: 100)
            let isTwice = state.random.chance(loss, in: 100)
            return (isTwice ? [0, 3] : [0]).map { $0 + (isLate ? 5 : 0) }
        }
        for delay in delays {
            channel.eventLoop.scheduleTask(in: .milliseconds(delay)) {
                channel.writeAndFlush(
                    AddressedEnvelope(remoteAddress: address, data: data),
                    promise: nil
                )
            }
        }
    }

    var lostCount: Int { state.withLock(\.lost) }
    var passedCount: Int { state.withLock(\.passed) }

    func stop() async {
        try? await front.close()
        try? await back.close()
    }
}

private final class DatagramReader: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let received: @Sendable (AddressedEnvelope<ByteBuffer>) -> Void

    init(_ received: @escaping @Sendable (AddressedEnvelope<ByteBuffer>) -> Void) {
        self.received = received
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received(unwrapInboundIn(data))
    }
}
