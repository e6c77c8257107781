import CCNx
import Faces
import Failures
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A face table whose events are written down, and ways to wait for them with a deadline.
final class RecordedFaces: FaceEvents {
    enum Event: Sendable {
        case up(Face)
        case received([UInt8], FaceId)
        case down(FaceId, Failure?)
    }

    private struct State {
        var events: [Event] = []
        var waiters: [(isMet: ([Event]) -> Bool, met: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    func faceUp(_ face: Face) { record(.up(face)) }
    func received(_ packet: DecodedPacket, on face: FaceId) { record(.received(packet.wire, face)) }
    func faceDown(_ face: FaceId, because failure: Failure?) { record(.down(face, failure)) }

    private func record(_ event: Event) {
        let met = state.withLock { state in
            state.events.append(event)
            let events = state.events
            let met = state.waiters.filter { $0.isMet(events) }.map(\.met)
            state.waiters.removeAll { $0.isMet(events) }
            return met
        }
        for continuation in met { continuation.resume() }
    }

    /// Returns when the events so far are as wanted, or when the test's time limit is over.
    func wait(until isMet: @escaping @Sendable ([Event]) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if Task.isCancelled || isMet(state.events) { return true }
                    state.waiters.append((isMet, continuation))
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            let waiters = state.withLock { state in
                defer { state.waiters = [] }
                return state.waiters
            }
            for waiter in waiters { waiter.met.resume() }
        }
    }

    var events: [Event] { state.withLock(\.events) }
    var received: [[UInt8]] {
        events.compactMap { if case .received(let wire, _) = $0 { wire } else { nil } }
    }
    var ups: [Face] { events.compactMap { if case .up(let face) = $0 { face } else { nil } } }

    func waitForPackets(_ count: Int) async {
        await wait { $0.count { if case .received = $0 { true } else { false } } >= count }
    }
    func waitForUps(_ count: Int) async {
        await wait { $0.count { if case .up = $0 { true } else { false } } >= count }
    }
    func waitForDowns(_ count: Int) async {
        await wait { $0.count { if case .down = $0 { true } else { false } } >= count }
    }
    /// Of each face that went down, what kind of failure it was, if any.
    var downKinds: [Failure.Kind?] {
        events.reduce(into: []) { kinds, event in
            if case .down(_, let failure) = event { kinds.append(failure?.kind) }
        }
    }
}

/// One node's faces for a test.
struct TestNode {
    let events = RecordedFaces()
    let table: FaceTable

    init(_ change: (inout FaceSettings) -> Void = { _ in }) {
        var settings = FaceSettings()
        settings.reconnectMilliseconds = 10
        change(&settings)
        table = FaceTable(
            eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
            events: events,
            settings: settings,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            jitter: { 1 }
        )
    }

    func send(_ wire: [UInt8], on face: FaceId) async throws -> Bool {
        let table = table
        return try await table.eventLoop.submit { table.send(wire, on: face) }.get()
    }
}

/// A neighbour that sends any bytes in any pieces.
struct RawPeer {
    let channel: any Channel

    init(to address: FaceAddress) async throws {
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        guard case .tcp(let host, let port) = address else {
            throw Failure(.invalid, "not a TCP address")
        }
        channel = try await bootstrap.connect(host: host, port: port).get()
    }

    /// Until the node closes it. When the test's time limit is over it closes itself, and the test goes on to fail.
    func waitForClose() async throws {
        try await withTaskCancellationHandler {
            try await channel.closeFuture.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    func send(_ bytes: some Collection<UInt8> & Sendable) async throws {
        try await channel.writeAndFlush(channel.allocator.buffer(bytes: bytes))
    }
}

func interestWire(_ uri: String, payload: Int = 0) throws -> [UInt8] {
    let payload = payload == 0 ? nil : [UInt8](repeating: 7, count: payload)
    return try PacketEncoder.encode(Interest(name: try Name(uri: uri), payload: payload))
}
