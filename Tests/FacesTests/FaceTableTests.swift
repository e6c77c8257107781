import CCNx
import Faces
import Failures
import Foundation
import NIOCore
import NIOPosix
import Testing

@Suite(.timeLimit(.minutes(1))) struct FaceTableTests {
    private let anyPort = FaceAddress.tcp(host: "127.0.0.1", port: 0)

    private func temporarySocket() -> String {
        "/tmp/ccnfs-faces-\(UInt64.random(in: 0...(.max))).sock"
    }

    private func exchange(over listening: FaceAddress) async throws {
        let (left, right) = (TestNode(), TestNode())
        let address = try await left.table.listen(on: listening)
        right.table.connect(to: address)
        await left.events.waitForUps(1)
        await right.events.waitForUps(1)
        let (there, back) = (
            try #require(left.events.ups.first), try #require(right.events.ups.first)
        )
        #expect(there.direction == .incoming && back.direction == .outgoing)
        #expect(back.address == address)
        #expect(there.scope == address.scope && back.scope == address.scope)
        let wires = try (0..<100).map {
            try interestWire("ccnx:/n/\($0)", payload: 1_000 * ($0 % 60))
        }
        for wire in wires {
            #expect(try await left.send(wire, on: there.id))
            #expect(try await right.send(wire, on: back.id))
        }
        await left.events.waitForPackets(wires.count)
        await right.events.waitForPackets(wires.count)
        #expect(left.events.received == wires)
        #expect(right.events.received == wires)
        await right.table.shutDown()
        await left.events.waitForDowns(1)
        #expect(left.events.downKinds == [nil])
        await left.table.shutDown()
    }

    @Test func exchangesPacketsOverTCP() async throws {
        try await exchange(over: anyPort)
    }

    @Test func exchangesPacketsOverAUnixSocket() async throws {
        let path = temporarySocket()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await exchange(over: .unix(path: path))
    }

    @Test func putsSplitPacketsTogetherAndTakesCoalescedOnesApart() async throws {
        let node = TestNode()
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        let wires = try ["ccnx:/a", "ccnx:/b/c", "ccnx:/d"].map { try interestWire($0) }
        for byte in wires[0] { try await peer.send([byte]) }
        try await peer.send(wires[1] + wires[2] + wires[0] + wires[1].prefix(9))
        try await peer.send(wires[1].dropFirst(9))
        await node.events.waitForPackets(5)
        #expect(node.events.received == [wires[0], wires[1], wires[2], wires[0], wires[1]])
        await node.table.shutDown()
    }

    @Test(
        arguments: [
            [0x02, 0, 0, 20, 0, 0, 0, 8], [1, 0, 0, 7, 0, 0, 0, 8],
            Array("GET / HTTP/1.1\r\n\r\n".utf8),
            [1, 0, 0, 12, 32, 0, 0, 8, 0, 1, 0, 9], [1, 0, 0, 9, 32, 0, 0, 8, 0],
        ] as [[UInt8]]
    )
    func closesOnlyTheFaceThatSendsGarbage(_ garbage: [UInt8]) async throws {
        let node = TestNode()
        let address = try await node.table.listen(on: anyPort)
        let good = try await RawPeer(to: address)
        await node.events.waitForUps(1)
        let bad = try await RawPeer(to: address)
        await node.events.waitForUps(2)
        let wire = try interestWire("ccnx:/a")
        try await bad.send(wire + garbage + wire)
        try await bad.waitForClose()
        await node.events.waitForDowns(1)
        #expect(node.events.downKinds == [.invalid])
        #expect(node.events.received == [wire])
        try await good.send(wire)
        await node.events.waitForPackets(2)
        #expect(node.events.downKinds.count == 1)
        await node.table.shutDown()
    }

    @Test func dropsPacketsOfAnotherTypeWithoutClosing() async throws {
        let node = TestNode()
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        let wire = try interestWire("ccnx:/a")
        var ping = wire
        ping[1] = 5
        try await peer.send(ping + wire)
        await node.events.waitForPackets(1)
        #expect(node.events.received == [wire])
        await node.table.shutDown()
    }

    @Test func refusesPacketsAboveAConfiguredLength() async throws {
        let node = TestNode { $0.maximumPacketLength = 100 }
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        try await peer.send(try interestWire("ccnx:/a", payload: 200))
        await node.events.waitForDowns(1)
        #expect(node.events.downKinds == [.invalid])
        await node.table.shutDown()
    }

    @Test func takesHalfAPacketAtTheEndForAnEnd() async throws {
        let node = TestNode()
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        await node.events.waitForUps(1)
        try await peer.send(try interestWire("ccnx:/a").dropLast())
        try await peer.channel.close()
        await node.events.waitForDowns(1)
        #expect(node.events.received == [])
        await node.table.shutDown()
    }

    @Test func connectsAgainWithANewFaceAfterThePeerWasAway() async throws {
        let (left, right) = (TestNode(), TestNode())
        let address = try await left.table.listen(on: anyPort)
        right.table.connect(to: address)
        right.table.connect(to: address)
        await right.events.waitForUps(1)
        await left.table.shutDown()
        await right.events.waitForDowns(1)
        let again = TestNode()
        #expect(try await again.table.listen(on: address) == address)
        await right.events.waitForUps(2)
        #expect(Set(right.events.ups.map(\.id)).count == 2)
        #expect(right.events.ups.allSatisfy { $0.address == address })
        right.table.disconnect(from: address)
        await right.events.waitForDowns(2)
        await right.table.shutDown()
        await again.table.shutDown()
    }

    @Test func keepsTryingUntilThePeerIsThere() async throws {
        let path = temporarySocket()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let (left, right) = (TestNode(), TestNode())
        right.table.connect(to: .unix(path: path))
        _ = try await left.table.listen(on: .unix(path: path))
        await right.events.waitForUps(1)
        await right.table.shutDown()
        await left.table.shutDown()
    }

    @Test func takesOverASocketThatAKilledProcessLeftBehind() async throws {
        let path = temporarySocket()
        defer { try? FileManager.default.removeItem(atPath: path) }
        // Moving the file away while its owner closes keeps it, as a kill would.
        let killed = TestNode()
        _ = try await killed.table.listen(on: .unix(path: path))
        try FileManager.default.moveItem(atPath: path, toPath: path + ".away")
        await killed.table.shutDown()
        try FileManager.default.moveItem(atPath: path + ".away", toPath: path)
        let node = TestNode()
        _ = try await node.table.listen(on: .unix(path: path))
        await node.table.shutDown()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func doesNotTakeOverASocketInUse() async throws {
        let path = temporarySocket()
        let (first, second) = (TestNode(), TestNode())
        _ = try await first.table.listen(on: .unix(path: path))
        await #expect { try await second.table.listen(on: .unix(path: path)) } throws: {
            ($0 as? Failure)?.kind == .busy
        }
        second.table.connect(to: .unix(path: path))
        await second.events.waitForUps(1)
        await second.table.shutDown()
        await first.table.shutDown()
    }

    @Test func leavesAFileThatIsNoSocketAlone() async throws {
        let path = temporarySocket()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data("precious".utf8).write(to: URL(filePath: path))
        let node = TestNode()
        await #expect(throws: Failure.self) { try await node.table.listen(on: .unix(path: path)) }
        #expect(try Data(contentsOf: URL(filePath: path)) == Data("precious".utf8))
        await node.table.shutDown()
    }

    @Test func cannotListenTwiceOnOnePort() async throws {
        let node = TestNode()
        let address = try await node.table.listen(on: anyPort)
        await #expect { try await node.table.listen(on: address) } throws: {
            ($0 as? Failure)?.kind == .busy
        }
        await node.table.shutDown()
    }

    @Test func dropsWhatAPeerDoesNotTakeInsteadOfKeepingIt() async throws {
        let node = TestNode { $0.queuedByteCount = 200_000 }
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        try await peer.channel.setOption(.autoRead, value: false).get()
        await node.events.waitForUps(1)
        let face = try #require(node.events.ups.first?.id)
        let wire = try interestWire("ccnx:/a", payload: 60_000)
        var droppedCount = 0
        for _ in 0..<500 where try await !node.send(wire, on: face) { droppedCount += 1 }
        #expect(droppedCount > 0)
        let table = node.table
        let queued = try await table.eventLoop.submit { table.queuedByteCount(of: face) }.get()
        #expect(queued <= 200_000)
        await node.table.shutDown()
        #expect(try await !node.send(wire, on: face))
    }

    @Test func smallPacketsCountWithWhatKeepingThemTakes() async throws {
        let limit = 100_000
        let node = TestNode { $0.queuedByteCount = limit }
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        try await peer.channel.setOption(.autoRead, value: false).get()
        await node.events.waitForUps(1)
        let face = try #require(node.events.ups.first?.id)
        let wire = try interestWire("ccnx:/a")
        let largest = try interestWire("ccnx:/a", payload: 65_500)
        let table = node.table
        // In one turn of the loop nothing goes out.
        let sent = try await table.eventLoop.submit {
            let sent = (0..<limit).prefix { _ in table.send(wire, on: face) }.count
            #expect(table.queuedByteCount(of: face) <= limit)
            return sent
        }.get()
        #expect(sent > 100 && sent < limit / 500)
        await node.table.shutDown()

        let small = TestNode { $0.queuedByteCount = 64 << 10 }
        _ = try await RawPeer(to: try await small.table.listen(on: anyPort))
        await small.events.waitForUps(1)
        let other = try #require(small.events.ups.first?.id)
        #expect(try await small.send(largest, on: other))
        await small.table.shutDown()
    }

    @Test func closesAPeerThatTakesNothingForTooLong() async throws {
        let node = TestNode {
            $0.queuedByteCount = 100_000
            $0.stallMilliseconds = 1
        }
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        try await peer.channel.setOption(.autoRead, value: false).get()
        await node.events.waitForUps(1)
        let face = try #require(node.events.ups.first?.id)
        let wire = try interestWire("ccnx:/a", payload: 60_000)
        while node.events.downKinds.isEmpty { _ = try await node.send(wire, on: face) }
        #expect(node.events.downKinds == [.timedOut])
        await node.table.shutDown()
    }

    @Test func turnsAwayPeersAboveTheLimit() async throws {
        let node = TestNode { $0.faceCount = 1 }
        let address = try await node.table.listen(on: anyPort)
        let first = try await RawPeer(to: address)
        await node.events.waitForUps(1)
        let second = try await RawPeer(to: address)
        try await second.waitForClose()
        try await first.send(try interestWire("ccnx:/a"))
        await node.events.waitForPackets(1)
        #expect(node.events.ups.count == 1)
        await node.table.shutDown()
    }

    @Test func turnsAwayMorePeersOfOneAddressThanMayBe() async throws {
        let node = TestNode { $0.faceCountPerAddress = 2 }
        let address = try await node.table.listen(on: anyPort)
        let first = try await RawPeer(to: address)
        _ = try await RawPeer(to: address)
        await node.events.waitForUps(2)
        let third = try await RawPeer(to: address)
        try await third.waitForClose()
        // A place that becomes free is given again.
        first.channel.close(promise: nil)
        await node.events.waitForDowns(1)
        _ = try await RawPeer(to: address)
        await node.events.waitForUps(3)
        await node.table.shutDown()
    }

    @Test func idlePeersMakeRoomWhenThereAreAsManyAsMayBe() async throws {
        let node = TestNode {
            $0.faceCount = 2
            $0.crowdedStreamIdleMilliseconds = 10
        }
        let address = try await node.table.listen(on: anyPort)
        let first = try await RawPeer(to: address)
        await node.events.waitForUps(1)
        // There is room: whoever says nothing is left alone.
        try await Task.sleep(for: .milliseconds(1_500))
        #expect(node.events.downKinds.isEmpty)
        _ = try await RawPeer(to: address)
        try await first.waitForClose()
        await node.events.waitForDowns(1)
        #expect(node.events.downKinds.first == .some(nil))
        _ = try await RawPeer(to: address)
        await node.events.waitForUps(3)
        await node.table.shutDown()
    }

    @Test func connectsWhateverNumberOfPeersHasConnected() async throws {
        let server = TestNode()
        let node = TestNode { $0.faceCount = 1 }
        _ = try await RawPeer(to: try await node.table.listen(on: anyPort))
        await node.events.waitForUps(1)
        node.table.connect(to: try await server.table.listen(on: anyPort))
        await node.events.waitForUps(2)
        await node.table.shutDown()
        await server.table.shutDown()
    }

    @Test(arguments: [5, 20])
    func closesAPeerThatBeginsAPacketAndDoesNotEndIt(_ byteCount: Int) async throws {
        let node = TestNode { $0.packetMilliseconds = 100 }
        let address = try await node.table.listen(on: anyPort)
        let idle = try await RawPeer(to: address)
        let peer = try await RawPeer(to: address)
        await node.events.waitForUps(2)
        try await peer.send(Array(try interestWire("ccnx:/a").prefix(byteCount)))
        try await peer.waitForClose()
        await node.events.waitForDowns(1)
        #expect(node.events.downKinds == [.timedOut])
        // Whoever says nothing is left alone.
        try await idle.send(try interestWire("ccnx:/b"))
        await node.events.waitForPackets(1)
        await node.table.shutDown()
    }

    @Test func boundsWhatWaitsOnAllFacesTogether() async throws {
        let node = TestNode {
            $0.queuedByteCountOfAll = 400_000
            $0.reservedByteCount = 70_000
        }
        let address = try await node.table.listen(on: anyPort)
        var peers: [RawPeer] = []
        for _ in 0..<4 {
            let peer = try await RawPeer(to: address)
            try await peer.channel.setOption(.autoRead, value: false).get()
            peers.append(peer)
        }
        await node.events.waitForUps(4)
        let wire = try interestWire("ccnx:/a", payload: 60_000)
        let table = node.table
        var queued = 0
        for face in node.events.ups.map(\.id) {
            for _ in 0..<200 { _ = try await node.send(wire, on: face) }
        }
        for face in node.events.ups.map(\.id) {
            queued += try await table.eventLoop.submit { table.queuedByteCount(of: face) }.get()
        }
        // Each may have one packet whatever waits on the others.
        #expect(queued <= 400_000 + 4 * 70_000)
        let other = try await RawPeer(to: address)
        await node.events.waitForUps(5)
        let face = try #require(node.events.ups.last?.id)
        #expect(try await node.send(wire, on: face))
        // Once they are gone there is room for more.
        for peer in peers { peer.channel.close(promise: nil) }
        await node.events.waitForDowns(4)
        for _ in 0..<2 { #expect(try await node.send(wire, on: face)) }
        _ = other
        await node.table.shutDown()
    }

    @Test func closesAFaceOnDemandAndPausesReading() async throws {
        let node = TestNode()
        let peer = try await RawPeer(to: try await node.table.listen(on: anyPort))
        await node.events.waitForUps(1)
        let face = try #require(node.events.ups.first?.id)
        let table = node.table
        try await table.eventLoop.submit { table.setReading(false, on: face) }.get()
        try await peer.send(try interestWire("ccnx:/a"))
        try await table.eventLoop.submit { table.setReading(true, on: face) }.get()
        await node.events.waitForPackets(1)
        #expect(try await table.eventLoop.submit { table.faces.map(\.id) }.get() == [face])
        try await table.eventLoop.submit { table.close(face) }.get()
        await node.events.waitForDowns(1)
        try await peer.waitForClose()
        await node.table.shutDown()
    }
}
