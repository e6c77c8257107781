import CCNx
import Failures
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Faces

/// What comes from strangers, in any pieces and any order. The seed is in the message of what fails.
struct RandomInputTests {
    private static let seed = SplitMix.seed()

    private static func packet(_ random: inout SplitMix) throws -> [UInt8] {
        let name = try Name(uri: "ccnx:/n/\(Int.random(in: 0..<1_000, using: &random))")
        let payload = random.bytes(Int.random(in: 0..<600, using: &random))
        return random.chance(1, in: 2)
            ? try PacketEncoder.encode(Interest(name: name, payload: payload))
            : try PacketEncoder.encode(ContentObject(name: name, payload: payload))
    }

    /// Bytes that no packet begins with, or a packet with another byte somewhere.
    private static func garbage(_ random: inout SplitMix) throws -> [UInt8] {
        guard random.chance(1, in: 2) else {
            return random.bytes(Int.random(in: 0..<40, using: &random))
        }
        var bytes = try packet(&random)
        let place = Int.random(in: bytes.indices, using: &random)
        bytes[place] = UInt8.random(in: .min ... .max, using: &random)
        return random.chance(1, in: 4) ? Array(bytes.prefix(place)) : bytes
    }

    @Test func streamsAreCutIntoTheirPacketsHoweverTheyCome() throws {
        var random = SplitMix(seed: Self.seed)
        let framer = PacketFramer(maximumPacketLength: 65_535)
        for _ in 0..<300 {
            let packets = try (0..<Int.random(in: 0..<20, using: &random)).map { _ in
                try Self.packet(&random)
            }
            // A header that cannot be followed, or a packet without its end.
            let tail: [UInt8] =
                random.chance(1, in: 2)
                ? [9, 9, 9, 9, 9, 9, 9, 9, 9] : Array(try Self.packet(&random).dropLast())
            let stream = packets.joined() + tail
            var buffer = ByteBuffer()
            var found: [[UInt8]] = []
            var isBroken = false
            var place = 0
            while place < stream.count, !isBroken {
                let end = min(place + Int.random(in: 1...900, using: &random), stream.count)
                buffer.writeBytes(stream[place..<end])
                place = end
                do throws(Failure) {
                    while let packet = try framer.nextPacket(from: &buffer) { found.append(packet) }
                } catch { isBroken = true }
                #expect(buffer.readableBytes < 65_535)
            }
            #expect(found == packets, "seed \(Self.seed)")
            #expect(isBroken == (tail.first == 9), "seed \(Self.seed)")
        }
    }

    @Test func garbageOnAStreamIsRefusedOrCutButNeverTraps() throws {
        var random = SplitMix(seed: Self.seed)
        let framer = PacketFramer(maximumPacketLength: 2_000)
        for _ in 0..<3_000 {
            var buffer = ByteBuffer(bytes: try Self.garbage(&random) + Self.garbage(&random))
            do throws(Failure) {
                while let packet = try framer.nextPacket(from: &buffer) {
                    #expect(packet.count <= 2_000, "seed \(Self.seed)")
                    _ = Datagram(packet)
                }
            } catch { #expect(error.kind == .invalid, "seed \(Self.seed)") }
        }
    }

    @Test func admissionCountsWhoIsThere() {
        var random = SplitMix(seed: Self.seed)
        var settings = FaceSettings()
        settings.faceCount = 40
        settings.faceCountPerAddress = 6
        settings.datagramFaceCount = 15
        var admission = FaceAdmission(settings)
        var there: [FaceAddress] = []
        for _ in 0..<20_000 {
            if random.chance(9, in: 20), !there.isEmpty {
                admission.forget(there.remove(at: Int.random(in: there.indices, using: &random)))
            } else {
                let host = "10.0.0.\(Int.random(in: 0..<12, using: &random))"
                let address: FaceAddress =
                    switch Int.random(in: 0..<5, using: &random) {
                    case 0: .unix(path: "/x")
                    case 1, 2: .tcp(host: host, port: 1)
                    default: .udp(host: host, port: 1)
                    }
                let ofHost = there.count { $0.host != nil && $0.host == address.host }
                let fits =
                    there.count < 40 && ofHost < 6
                    && (!address.isDatagram || there.count { $0.isDatagram } < 15)
                #expect(admission.admit(address) == fits, "seed \(Self.seed)")
                if fits { there.append(address) }
            }
            #expect(admission.count == there.count, "seed \(Self.seed)")
            #expect(admission.datagramCount == there.count { $0.isDatagram })
            #expect(admission.addressCount == Set(there.compactMap(\.host)).count)
        }
    }

    @Test(.timeLimit(.minutes(1))) func datagramsOfManyMakeNoMoreFacesThanMayBe() async throws {
        let node = TestNode {
            $0.datagramFaceCount = 20
            $0.faceCountPerAddress = 3
        }
        let table = node.table
        try await table.eventLoop.submit {
            var random = SplitMix(seed: Self.seed)
            let listener = DatagramListener(table: table)
            var accounted = DatagramCounters()
            var packets = 0
            for _ in 0..<6_000 {
                let host = "10.0.0.\(Int.random(in: 1...12, using: &random))"
                let sender = try SocketAddress(
                    ipAddress: host,
                    port: Int.random(in: 0..<6, using: &random)
                )
                let bytes =
                    random.chance(1, in: 2)
                    ? try Self.packet(&random) : try Self.garbage(&random)
                let before = table.datagramCounters
                listener.received(
                    AddressedEnvelope(remoteAddress: sender, data: ByteBuffer(bytes: bytes))
                )
                let after = table.datagramCounters
                switch Datagram(bytes) {
                case .malformed: accounted.malformed += 1
                case .foreign: accounted.foreign += 1
                case .packet:
                    packets += 1
                    accounted.turnedAway += after.turnedAway - before.turnedAway
                }
                #expect(table.faces.count <= 20, "seed \(Self.seed)")
                if random.chance(1, in: 10), let face = table.faces.randomElement(using: &random) {
                    table.close(face.id)
                }
            }
            #expect(table.datagramCounters == accounted, "seed \(Self.seed)")
            #expect(node.events.received.count == packets - accounted.turnedAway)
            _ = listener.stop()
        }.get()
        #expect(node.events.ups.count == node.events.downKinds.count, "seed \(Self.seed)")
        await node.table.shutDown()
    }
}
