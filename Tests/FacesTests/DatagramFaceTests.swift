import CCNx
import Failures
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Testing

@testable import Faces

private let hasIPv6 =
    (try? String(contentsOfFile: "/proc/net/if_inet6", encoding: .utf8))?.isEmpty == false

@Suite(.timeLimit(.minutes(1))) struct DatagramFaceTests {
    private let anyPort = FaceAddress.udp(host: "127.0.0.1", port: 0)

    private func counters(of node: TestNode) async throws -> DatagramCounters {
        let table = node.table
        return try await table.eventLoop.submit { table.datagramCounters }.get()
    }

    // MARK: Two nodes

    private func exchange(over listening: FaceAddress) async throws {
        let (left, right) = (TestNode(), TestNode())
        let address = try await left.table.listen(on: listening)
        right.table.connect(to: address)
        await right.events.waitForUps(1)
        let back = try #require(right.events.ups.first)
        let wires = try (0..<50).map { try interestWire("ccnx:/n/\($0)", payload: 20 * $0) }
        for wire in wires { #expect(try await right.send(wire, on: back.id)) }
        await left.events.waitForPackets(wires.count)
        let there = try #require(left.events.ups.first)
        for wire in wires { #expect(try await left.send(wire, on: there.id)) }
        await right.events.waitForPackets(wires.count)
        #expect(left.events.received == wires)
        #expect(right.events.received == wires)
        #expect(left.events.ups.count == 1)
        #expect(there.direction == .incoming && back.direction == .outgoing)
        #expect(there.address.isDatagram && back.address == address)
        #expect(there.scope == .remote && back.scope == .remote)
        #expect(there.packetLimit == FaceSettings().datagramAnswerByteCount)
        #expect(back.packetLimit == Datagram.maximumByteCount)
        await right.table.shutDown()
        await left.table.shutDown()
        #expect(left.events.downKinds == [nil])
        #expect(right.events.downKinds == [nil])
    }

    @Test func exchangesPacketsOverIPv4() async throws { try await exchange(over: anyPort) }

    @Test(.enabled(if: hasIPv6)) func exchangesPacketsOverIPv6() async throws {
        try await exchange(over: .udp(host: "::1", port: 0))
    }

    @Test func carriesThePacketsOfOtherNamesOfAHost() async throws {
        let (left, right) = (TestNode(), TestNode())
        guard case .udp(_, let port) = try await left.table.listen(on: anyPort) else { return }
        // It may be [::1] first, where nobody listens.
        right.table.connect(to: .udp(host: "localhost", port: port))
        let wire = try interestWire("ccnx:/a")
        while left.events.received.isEmpty {
            if let face = right.events.ups.last?.id { _ = try await right.send(wire, on: face) }
            try await Task.sleep(for: .milliseconds(20))
        }
        await right.table.shutDown()
        await left.table.shutDown()
    }

    @Test func cannotListenTwiceOnOnePort() async throws {
        let node = TestNode()
        let address = try await node.table.listen(on: anyPort)
        await #expect { try await node.table.listen(on: address) } throws: {
            ($0 as? Failure)?.kind == .busy
        }
        await node.table.shutDown()
    }

    // MARK: Neighbours of one socket

    @Test func hasAFaceForEachAddressThatAsks() async throws {
        let node = TestNode()
        let address = try await node.table.listen(on: anyPort)
        let peers = [
            try await RawDatagramPeer(to: address), try await RawDatagramPeer(to: address),
        ]
        let wires = try (0..<2).map { try interestWire("ccnx:/n/\($0)") }
        for index in 0..<2 {
            try await peers[index].send(wires[index])
            await node.events.waitForPackets(index + 1)
        }
        let faces = node.events.ups
        #expect(Set(faces.map(\.id)).count == 2)
        #expect(Set(faces.map(\.address)).count == 2)
        for index in 0..<2 { #expect(try await node.send(wires[index], on: faces[index].id)) }
        for index in 0..<2 { #expect(try await peers[index].next() == wires[index]) }
        // One goes, the other stays.
        let table = node.table
        try await table.eventLoop.submit { table.close(faces[0].id) }.get()
        try await peers[1].send(wires[1])
        await node.events.waitForPackets(3)
        #expect(node.events.ups.count == 2)
        try await peers[0].send(wires[0])
        await node.events.waitForUps(3)
        await node.table.shutDown()
    }

    @Test func givesNoFaceToGarbageAndCountsIt() async throws {
        let node = TestNode()
        let peer = try await RawDatagramPeer(to: try await node.table.listen(on: anyPort))
        let wire = try interestWire("ccnx:/a", payload: 100)
        let garbage: [[UInt8]] = [
            [1], Array("GET / HTTP/1.1\r\n\r\n".utf8), [0x02, 0, 0, 20, 0, 0, 0, 8],
            wire.dropLast(), wire + [0], wire + wire, [UInt8](repeating: 0xFF, count: 9_000),
        ]
        let object = try PacketEncoder.encode(
            ContentObject(name: try Name(uri: "ccnx:/a"), payload: [1])
        )
        var ping = wire
        ping[1] = 5
        for datagram in garbage + [object, ping] { try await peer.send(datagram) }
        try await peer.send(wire)
        await node.events.waitForPackets(1)
        #expect(node.events.events.count == 2)
        let before = try await counters(of: node)
        #expect(before.malformed == garbage.count)
        #expect(before.turnedAway == 1)
        #expect(before.foreign == 1)
        // A face outlives what its address sends, which may be forged.
        for datagram in garbage { try await peer.send(datagram) }
        try await peer.send(object)
        await node.events.waitForPackets(2)
        #expect(node.events.received == [wire, object])
        #expect(node.events.downKinds.isEmpty)
        #expect(try await counters(of: node).malformed == 2 * garbage.count)
        await node.table.shutDown()
    }

    @Test func carriesDatagramsUpToTheLargest() async throws {
        let (left, right) = (TestNode(), TestNode())
        right.table.connect(to: try await left.table.listen(on: anyPort))
        await right.events.waitForUps(1)
        let face = try #require(right.events.ups.first?.id)
        let head = try interestWire("ccnx:/a", payload: 1).count - 1
        let largest = try interestWire("ccnx:/a", payload: Datagram.maximumByteCount - head)
        #expect(largest.count == Datagram.maximumByteCount)
        // What no datagram carries is lost, and nothing else.
        _ = try await right.send(try interestWire("ccnx:/a", payload: 65_530 - head), on: face)
        _ = try await right.send(largest, on: face)
        await left.events.waitForPackets(1)
        #expect(left.events.received == [largest])
        let table = right.table
        #expect(try await table.eventLoop.submit { table.queuedByteCount(of: face) }.get() == 0)
        #expect(right.events.downKinds.isEmpty)
        await right.table.shutDown()
        await left.table.shutDown()
    }

    @Test func goesOnAfterSendingToOneNeighbourFailed() async throws {
        let node = TestNode()
        let peer = try await RawDatagramPeer(to: try await node.table.listen(on: anyPort))
        let wire = try interestWire("ccnx:/a")
        try await peer.send(wire)
        await node.events.waitForPackets(1)
        let table = node.table
        // Of a socket on loopback: sending to all is refused to ordinary ones, and nowhere else is there a way to.
        let unreachable = [
            try SocketAddress(ipAddress: "255.255.255.255", port: 9),
            try SocketAddress(ipAddress: "192.0.2.1", port: 9),
        ]
        let before = try await table.eventLoop.submit {
            let listener = table.datagramListeners[0]
            for address in unreachable {
                listener.received(
                    AddressedEnvelope(remoteAddress: address, data: ByteBuffer(bytes: wire))
                )
            }
            return listener.channel
        }.get()
        let faces = node.events.ups.map(\.id)
        let good = try #require(faces.first)
        for bad in faces.dropFirst() {
            _ = try await node.send(wire, on: bad)
            // In between, and over the same socket.
            #expect(try await node.send(wire, on: good))
            #expect(try await peer.next() == wire)
        }
        #expect(try await counters(of: node).unsent == unreachable.count)
        #expect(node.events.downKinds.isEmpty)
        try await table.eventLoop.submit {
            #expect(before != nil && table.datagramListeners[0].channel === before)
            for face in faces { #expect(table.queuedByteCount(of: face) == 0) }
        }.get()
        await node.table.shutDown()
    }

    @Test func sendsInOrderWhatTheKernelHadNoRoomFor() async throws {
        let node = TestNode()
        let peer = try await RawDatagramPeer(to: try await node.table.listen(on: anyPort))
        let wires = try (0..<20).map { try interestWire("ccnx:/n/\($0)") }
        try await peer.send(wires[0])
        await node.events.waitForPackets(1)
        let face = try #require(node.events.ups.first?.id)
        let table = node.table
        let full = FullSocket(refusals: 5)
        try await table.eventLoop.submit {
            let listener = table.datagramListeners[0]
            full.socket = listener.sender
            listener.sender = full
        }.get()
        for wire in wires { #expect(try await node.send(wire, on: face)) }
        for wire in wires { #expect(try await peer.next() == wire) }
        try await table.eventLoop.submit {
            #expect(full.refusals == 0)
            #expect(table.queuedByteCount(of: face) == 0)
        }.get()
        #expect(try await counters(of: node).unsent == 0)
        // What still waits at the end leaves nothing behind.
        try await table.eventLoop.submit { full.refusals = .max }.get()
        #expect(try await node.send(wires[0], on: face))
        await node.table.shutDown()
    }

    @Test func replacesASocketThatIsDead() async throws {
        let node = TestNode()
        let peer = try await RawDatagramPeer(to: try await node.table.listen(on: anyPort))
        let wire = try interestWire("ccnx:/a")
        try await peer.send(wire)
        await node.events.waitForPackets(1)
        let table = node.table
        let good = try #require(node.events.ups.first?.id)
        let before = try await table.eventLoop.submit {
            let listener = table.datagramListeners[0]
            let channel = listener.channel
            listener.sender = DeadSocket()
            return channel
        }.get()
        _ = try await node.send(wire, on: good)
        func isReplaced() async throws -> Bool {
            try await table.eventLoop.submit {
                table.datagramListeners[0].channel.map { $0 !== before } ?? false
            }.get()
        }
        while try await !isReplaced() { try await Task.sleep(for: .milliseconds(5)) }
        try await peer.send(wire)
        await node.events.waitForPackets(2)
        #expect(node.events.downKinds.isEmpty)
        #expect(try await node.send(wire, on: good))
        #expect(try await peer.next() == wire)
        await node.table.shutDown()
    }

    // MARK: Bounds

    @Test func sendsAnAddressThatMayBeForgedLittleMoreThanCameFromThere() async throws {
        let node = TestNode()
        _ = try await node.table.listen(on: anyPort)
        let wire = try interestWire("ccnx:/a")
        let table = node.table
        let settings = node.table.settings
        let answer = [UInt8](repeating: 0, count: settings.datagramAnswerByteCount)
        let sent = try await table.eventLoop.submit {
            let listener = table.datagramListeners[0]
            let socket = CountingSocket()
            listener.sender = socket
            // One forger, many ports.
            for port in 1...10 {
                let victim = try SocketAddress(ipAddress: "192.0.2.1", port: port)
                for _ in 0..<10 {
                    listener.received(
                        AddressedEnvelope(remoteAddress: victim, data: ByteBuffer(bytes: wire))
                    )
                }
            }
            for face in node.events.ups { for _ in 0..<200 { table.send(answer, on: face.id) } }
            return socket.byteCount
        }.get()
        let earned = 100 * wire.count * settings.datagramAnswerRatio
        #expect(sent > settings.datagramAllowanceByteCount)
        // The loop may have taken longer than the first second.
        #expect(sent <= earned + 3 * settings.datagramAllowanceByteCount)
        #expect(try await counters(of: node).withheld == 2_000 - sent / answer.count)
        #expect(
            try await table.eventLoop.submit { table.traffic(of: node.events.ups[9].id) }.get()?
                .packetsDropped ?? 0 > 0
        )
        await node.table.shutDown()
    }

    @Test func sendsThisMachineWhatItAsksFor() async throws {
        let node = TestNode()
        let peer = try await RawDatagramPeer(to: try await node.table.listen(on: anyPort))
        try await peer.send(try interestWire("ccnx:/a"))
        await node.events.waitForPackets(1)
        let face = try #require(node.events.ups.first?.id)
        let answer = [UInt8](repeating: 0, count: 1_000)
        for _ in 0..<200 { #expect(try await node.send(answer, on: face)) }
        #expect(try await counters(of: node).withheld == 0)
        await node.table.shutDown()
    }

    @Test func forgetsWhoIsSilent() async throws {
        let node = TestNode { $0.idleMilliseconds = 10 }
        let peer = try await RawDatagramPeer(to: try await node.table.listen(on: anyPort))
        let wire = try interestWire("ccnx:/a")
        try await peer.send(wire)
        await node.events.waitForDowns(1)
        #expect(node.events.downKinds == [nil])
        try await peer.send(wire)
        await node.events.waitForUps(2)
        await node.table.shutDown()
    }

    @Test func turnsAwayMorePeersOfOneAddressThanMayBe() async throws {
        let node = TestNode { $0.faceCountPerAddress = 2 }
        let address = try await node.table.listen(on: anyPort)
        let wire = try interestWire("ccnx:/a")
        let peers = [
            try await RawDatagramPeer(to: address), try await RawDatagramPeer(to: address),
            try await RawDatagramPeer(to: address),
        ]
        for peer in peers { try await peer.send(wire) }
        try await peers[0].send(wire)
        await node.events.waitForPackets(3)
        #expect(node.events.ups.count == 2)
        #expect(try await counters(of: node).turnedAway == 1)
        await node.table.shutDown()
    }

    @Test func letsManyOverUDPKeepOutNeitherOthersNorNewcomers() async throws {
        let node = TestNode {
            $0.datagramFaceCount = 1
            $0.crowdedIdleMilliseconds = 10
        }
        let address = try await node.table.listen(on: anyPort)
        let stream = try await node.table.listen(on: .tcp(host: "127.0.0.1", port: 0))
        let wire = try interestWire("ccnx:/a")
        let first = try await RawDatagramPeer(to: address)
        try await first.send(wire)
        await node.events.waitForUps(1)
        _ = try await RawPeer(to: stream)
        await node.events.waitForUps(2)
        let second = try await RawDatagramPeer(to: address)
        while node.events.ups.count < 3 {
            try await second.send(wire)
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(node.events.downKinds == [nil])
        await node.table.shutDown()
    }

    // MARK: Neighbours that are asked

    @Test func losesAFaceThatIsRefusedAndComesBack() async throws {
        let away = TestNode()
        let address = try await away.table.listen(on: anyPort)
        await away.table.shutDown()
        let node = TestNode()
        node.table.connect(to: address)
        await node.events.waitForUps(1)
        let wire = try interestWire("ccnx:/a")
        while node.events.downKinds.isEmpty {
            if let face = node.events.ups.last?.id { _ = try await node.send(wire, on: face) }
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(node.events.downKinds.first == .unavailable)
        let again = TestNode()
        _ = try await again.table.listen(on: address)
        while again.events.received.isEmpty {
            if let face = node.events.ups.last?.id { _ = try await node.send(wire, on: face) }
            try await Task.sleep(for: .milliseconds(5))
        }
        await node.table.shutDown()
        await again.table.shutDown()
    }

    @Test func connectsAnewToWhoSaysNothingForLong() async throws {
        let silent = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(silent.localAddress?.port)
        let node = TestNode { $0.silenceMilliseconds = 10 }
        node.table.connect(to: .udp(host: "127.0.0.1", port: port))
        await node.events.waitForUps(1)
        let face = try #require(node.events.ups.first?.id)
        // Whoever is not asked has nothing to say.
        try await Task.sleep(for: .milliseconds(1_500))
        #expect(node.events.downKinds.isEmpty)
        _ = try await node.send(try interestWire("ccnx:/a"), on: face)
        await node.events.waitForDowns(1)
        #expect(node.events.downKinds == [.timedOut])
        await node.events.waitForUps(2)
        await node.table.shutDown()
        try await silent.close()
    }
}

/// Has no room, so often, before it sends. On the loop of the table.
private final class FullSocket: DatagramSending, @unchecked Sendable {
    var socket: (any DatagramSending)?
    var refusals: Int

    init(refusals: Int) { self.refusals = refusals }

    func send(_ wire: [UInt8], to address: SocketAddress) -> DatagramOutcome {
        guard refusals == 0 else {
            refusals -= 1
            return .full
        }
        return socket?.send(wire, to: address)
            ?? .failed(IOError(errnoCode: EBADF, reason: "sendto"))
    }
}

/// Counts what would be sent. On the loop of the table.
private final class CountingSocket: DatagramSending, @unchecked Sendable {
    private(set) var byteCount = 0

    func send(_ wire: [UInt8], to address: SocketAddress) -> DatagramOutcome {
        byteCount += wire.count
        return .sent
    }
}

/// On which nothing can be sent any more.
private struct DeadSocket: DatagramSending {
    func send(_ wire: [UInt8], to address: SocketAddress) -> DatagramOutcome {
        .failed(IOError(errnoCode: EBADF, reason: "sendto"))
    }
}

/// A neighbour that sends any datagrams.
private struct RawDatagramPeer {
    let channel: any Channel
    private let received: AsyncStream<[UInt8]>

    init(to address: FaceAddress) async throws {
        guard case .udp(let host, let port) = address else {
            throw Failure(.invalid, "not a UDP address")
        }
        let (received, continuation) = AsyncStream.makeStream(of: [UInt8].self)
        self.received = received
        channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Receiver(continuation))
                }
            }
            .connect(to: try SocketAddress(ipAddress: host, port: port)).get()
    }

    func send(_ bytes: some Collection<UInt8> & Sendable) async throws {
        try await channel.writeAndFlush(channel.allocator.buffer(bytes: bytes))
    }

    func next() async throws -> [UInt8] {
        for await datagram in received { return datagram }
        throw Failure(.cancelled, "the socket is closed")
    }

    private final class Receiver: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        private let continuation: AsyncStream<[UInt8]>.Continuation

        init(_ continuation: AsyncStream<[UInt8]>.Continuation) { self.continuation = continuation }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            continuation.yield(Array(unwrapInboundIn(data).data.readableBytesView))
        }
    }
}
