import CCNx
import Failures
import Foundation
import NIOCore
import Testing

@testable import Faces

/// Two ends of a connection that agree to compress, or do not. A table with none of the settings stands for a foreign
/// peer: it hands on whatever comes, and sends what the test says.
@Suite(.timeLimit(.minutes(1))) struct CompressedFaceTests {
    private static let anyPort = FaceAddress.tcp(host: "127.0.0.1", port: 0)

    /// `left` was connected to by `right`.
    private struct Pair {
        let left: TestNode
        let right: TestNode
        let there: FaceId
        let back: FaceId

        init(
            leftAccepts: Bool,
            rightAsks: Bool,
            over listening: FaceAddress = anyPort
        ) async throws {
            left = TestNode { $0.acceptsCompression = leftAccepts }
            let address = try await left.table.listen(on: listening)
            right = TestNode { if rightAsks { $0.compressedAddresses = [address] } }
            right.table.connect(to: address)
            await left.events.waitForUps(1)
            await right.events.waitForUps(1)
            there = try #require(left.events.ups.first).id
            back = try #require(right.events.ups.first).id
        }

        /// Once a packet went each way whatever was asked before it has had its answer.
        func settle() async throws {
            try await toLeft(try interestWire("ccnx:/settled"))
            try await toRight(try interestWire("ccnx:/settled"))
        }

        func toLeft(_ wire: [UInt8]) async throws {
            let count = left.events.received.count { $0 == wire }
            #expect(try await right.send(wire, on: back))
            await left.events.waitForPackets(wire, count: count + 1)
        }

        func toRight(_ wire: [UInt8]) async throws {
            let count = right.events.received.count { $0 == wire }
            #expect(try await left.send(wire, on: there))
            await right.events.waitForPackets(wire, count: count + 1)
        }

        /// Left, right.
        func areCompressed() async throws -> [Bool] {
            [try await left.isCompressed(there), try await right.isCompressed(back)]
        }

        /// What right asked, as a plain left gets it.
        func question() async throws -> Interest {
            await left.events.waitForPackets(1)
            let wire = try #require(left.events.received.first)
            guard case .interest(let interest) = try PacketDecoder.decode(wire).packet else {
                throw Failure(.invalid, "the question is no Interest")
            }
            return interest
        }

        /// A plain left agrees by hand.
        func agree() async throws {
            let name = try await question().name
            let answer = ContentObject(name: name, payload: Array("zstd 1".utf8))
            #expect(try await left.send(try PacketEncoder.encode(answer), on: there))
            try await toRight(try interestWire("ccnx:/agreed"))
            #expect(try await right.isCompressed(back))
        }

        func stop() async {
            await right.table.shutDown()
            await left.table.shutDown()
        }
    }

    private static func object(_ number: Int) throws -> [UInt8] {
        let words = repeatElement("segment \(number) of a disk; ", count: 1_000 + number).joined()
        return try PacketEncoder.encode(
            ContentObject(name: try Name(uri: "ccnx:/n/\(number)"), payload: Array(words.utf8))
        )
    }

    // MARK: Agreeing

    private func compresses(over listening: FaceAddress) async throws {
        let pair = try await Pair(leftAccepts: true, rightAsks: true, over: listening)
        try await pair.settle()
        #expect(try await pair.areCompressed() == [true, true])
        let objects = try (0..<50).map { try Self.object($0) }
        for object in objects {
            try await pair.toLeft(object)
            try await pair.toRight(object)
        }
        let settled = try interestWire("ccnx:/settled")
        #expect(pair.left.events.received == [settled] + objects)
        #expect(pair.right.events.received == [settled] + objects)
        for (node, face) in [(pair.left, pair.there), (pair.right, pair.back)] {
            let traffic = try #require(try await node.traffic(of: face))
            #expect(traffic.bytesSent > objects.joined().count)
            #expect(traffic.bytesReceived > objects.joined().count)
            #expect(traffic.linkBytesSent < traffic.bytesSent / 10)
            #expect(traffic.linkBytesReceived < traffic.bytesReceived / 10)
        }
        let (left, right) = (
            try #require(try await pair.left.traffic(of: pair.there)),
            try #require(try await pair.right.traffic(of: pair.back))
        )
        #expect(left.linkBytesSent == right.linkBytesReceived)
        #expect(left.linkBytesReceived == right.linkBytesSent)
        #expect(left.packetsReceived == right.packetsSent)
        #expect(left.packetsSent == right.packetsReceived)
        await pair.stop()
    }

    @Test func compressesWhatTheTwoSendOverTCP() async throws {
        try await compresses(over: Self.anyPort)
    }

    @Test func compressesWhatTheTwoSendOverAUnixSocket() async throws {
        let path = "/tmp/ccnfs-compressed-\(UInt64.random(in: 0...(.max))).sock"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await compresses(over: .unix(path: path))
    }

    @Test func asksAgainOnEachConnection() async throws {
        let pair = try await Pair(leftAccepts: true, rightAsks: true)
        try await pair.settle()
        let (table, face) = (pair.left.table, pair.there)
        try await table.eventLoop.submit { table.close(face) }.get()
        await pair.left.events.waitForUps(2)
        await pair.right.events.waitForUps(2)
        let there = try #require(pair.left.events.ups.last).id
        let back = try #require(pair.right.events.ups.last).id
        let wire = try interestWire("ccnx:/again")
        #expect(try await pair.right.send(wire, on: back))
        await pair.left.events.waitForPackets(wire, count: 1)
        #expect(try await pair.left.send(wire, on: there))
        await pair.right.events.waitForPackets(wire, count: 1)
        #expect(try await pair.left.isCompressed(there))
        #expect(try await pair.right.isCompressed(back))
        await pair.stop()
    }

    // MARK: Not agreeing

    @Test(arguments: [(true, false), (false, false)])
    func nothingIsAskedUnlessTheSettingsSaySo(leftAccepts: Bool, rightAsks: Bool) async throws {
        let pair = try await Pair(leftAccepts: leftAccepts, rightAsks: rightAsks)
        try await pair.settle()
        let object = try Self.object(1)
        try await pair.toLeft(object)
        try await pair.toRight(object)
        #expect(try await pair.areCompressed() == [false, false])
        #expect(pair.left.events.received == [try interestWire("ccnx:/settled"), object])
        let traffic = try #require(try await pair.right.traffic(of: pair.back))
        #expect(traffic.linkBytesSent == traffic.bytesSent)
        #expect(traffic.linkBytesReceived == traffic.bytesReceived)
        await pair.stop()
    }

    /// What a peer gets that knows nothing of this: one Interest that it can do nothing with but what it likes.
    @Test func aSilentPeerIsSentPlainPackets() async throws {
        let pair = try await Pair(leftAccepts: false, rightAsks: true)
        let question = try await pair.question()
        #expect(question.hopLimit == 1)
        #expect(question.lifetimeMilliseconds == 2_000)
        #expect(question.payload == nil)
        #expect(question.name.hasPrefix(try Name(uri: "ccnx:/localhost/ccnfs/link/zstd")))
        try await pair.settle()
        let object = try Self.object(1)
        try await pair.toLeft(object)
        try await pair.toRight(object)
        #expect(try await pair.areCompressed() == [false, false])
        await pair.stop()
    }

    @Test(arguments: [ReturnCode.noRoute, .hopLimitExceeded, .prohibited, .malformedInterest])
    func aPeerThatGivesTheQuestionBackIsSentPlainPackets(_ code: ReturnCode) async throws {
        let pair = try await Pair(leftAccepts: false, rightAsks: true)
        let back = InterestReturn(code: code, interest: try await pair.question())
        #expect(try await pair.left.send(try PacketEncoder.encode(back), on: pair.there))
        try await pair.settle()
        let object = try Self.object(1)
        try await pair.toLeft(object)
        #expect(try await pair.areCompressed() == [false, false])
        // Nobody else asked.
        #expect(pair.right.events.received == [try interestWire("ccnx:/settled")])
        await pair.stop()
    }

    @Test func whoAnswersWhateverIsAskedHasNotAgreed() async throws {
        let pair = try await Pair(leftAccepts: false, rightAsks: true)
        let name = try await pair.question().name
        let answer = ContentObject(name: name, payload: Array("an object".utf8))
        #expect(try await pair.left.send(try PacketEncoder.encode(answer), on: pair.there))
        try await pair.settle()
        let object = try Self.object(1)
        try await pair.toLeft(object)
        #expect(try await pair.areCompressed() == [false, false])
        await pair.stop()
    }

    @Test func anAnswerToAnotherQuestionIsNone() async throws {
        let pair = try await Pair(leftAccepts: false, rightAsks: true)
        let question = try await pair.question().name
        let other = question.prefix(question.segments.count - 1)
            .appending(.name(bytes: [UInt8](repeating: 1, count: 8)))
        let answer = ContentObject(name: other, payload: Array("zstd 1".utf8))
        // The owner of the table sees it, as any object that nobody asked for.
        try await pair.toRight(try PacketEncoder.encode(answer))
        #expect(try await pair.areCompressed() == [false, false])
        await pair.stop()
    }

    /// A forwarder that passes on what it must not would be sent envelopes that it did not ask for.
    @Test(arguments: [0, 2, 32] as [UInt8])
    func aQuestionThatWasPassedOnIsNotAnswered(_ hopLimit: UInt8) async throws {
        let node = TestNode { $0.acceptsCompression = true }
        let peer = try await RawPeer(to: try await node.table.listen(on: Self.anyPort))
        let name = try Name(uri: "ccnx:/localhost/ccnfs/link/zstd/12345678")
        let question = Interest(name: name, hopLimit: hopLimit, lifetimeMilliseconds: 2_000)
        let wire = try PacketEncoder.encode(question)
        try await peer.send(wire)
        await node.events.waitForPackets(1)
        #expect(node.events.received == [wire])
        let face = try #require(node.events.ups.first).id
        #expect(try await !node.isCompressed(face))
        await node.table.shutDown()
    }

    // MARK: Envelopes that must not be

    @Test(arguments: [true, false])
    func anEnvelopeThatNobodyAgreedToIsAPacketOfAnotherType(_ accepts: Bool) async throws {
        let node = TestNode { $0.acceptsCompression = accepts }
        let peer = try await RawPeer(to: try await node.table.listen(on: Self.anyPort))
        let compressor = PacketCompressor(maximumPacketLength: 65_535)
        let wire = try interestWire("ccnx:/a")
        let envelope = try #require(compressor.envelope(of: try Self.object(1)))
        try await peer.send(envelope + wire)
        await node.events.waitForPackets(1)
        #expect(node.events.received == [wire])
        #expect(node.events.downKinds == [])
        await node.table.shutDown()
    }

    @Test func takesEnvelopesAndPlainPacketsInAnyOrderOnceAgreed() async throws {
        let pair = try await Pair(leftAccepts: false, rightAsks: true)
        try await pair.agree()
        let compressor = PacketCompressor(maximumPacketLength: 65_535)
        let objects = try (0..<10).map { try Self.object($0) }
        for (number, object) in objects.enumerated() {
            let wire =
                number % 3 == 0 ? object : try #require(compressor.envelope(of: object))
            #expect(try await pair.left.send(wire, on: pair.there))
        }
        await pair.right.events.waitForPackets(11)
        #expect(pair.right.events.received.dropFirst() == objects[...])
        await pair.stop()
    }

    /// As a malformed packet does.
    @Test(arguments: ["cut", "two frames", "bomb", "no packet", "header"])
    func aBadEnvelopeClosesItsFace(_ what: String) async throws {
        let pair = try await Pair(leftAccepts: false, rightAsks: true)
        try await pair.agree()
        #expect(try await pair.left.send(try Self.bad(what), on: pair.there))
        await pair.right.events.waitForDowns(1)
        #expect(pair.right.events.downKinds == [.invalid])
        // It connects again, and asks again.
        await pair.left.events.waitForUps(2)
        await pair.stop()
    }

    private static func bad(_ what: String) throws -> [UInt8] {
        let compressor = PacketCompressor(maximumPacketLength: 65_535)
        let good = try #require(compressor.envelope(of: try object(1)))
        let frame = good[8...]
        let codec = try ZstdCodec(maximumByteCount: 1 << 20)
        return switch what {
        case "cut": envelope(frame.dropLast(3))
        case "two frames": envelope(frame + frame)
        case "bomb":
            envelope(
                try #require(
                    codec.frame(of: [UInt8](repeating: 0, count: 1 << 20), after: 0, limit: 60_000)
                )[...]
            )
        case "no packet":
            try #require(compressor.envelope(of: [UInt8](repeating: 7, count: 1_000)))
        default: good[..<7] + [9] + frame
        }
    }

    private static func envelope(_ frame: ArraySlice<UInt8>) -> [UInt8] {
        let length = frame.count + 8
        return [1, 0x80, UInt8(length >> 8), UInt8(length & 0xFF), 0, 0, 0, 8] + frame
    }
}

extension TestNode {
    fileprivate func isCompressed(_ face: FaceId) async throws -> Bool {
        let table = table
        return try await table.eventLoop.submit { table.isCompressed(face) }.get()
    }

    fileprivate func traffic(of face: FaceId) async throws -> FaceTraffic? {
        let table = table
        return try await table.eventLoop.submit { table.traffic(of: face) }.get()
    }
}

extension RecordedFaces {
    /// Until the same packet came so often.
    fileprivate func waitForPackets(_ wire: [UInt8], count: Int) async {
        await wait { events in
            events.count { event in
                if case .received(wire, _) = event { true } else { false }
            } >= count
        }
    }
}
