import CCNx
import Faces
import TestSupport
import Testing

struct NeighbourAnnouncementTests {
    private static let seed = SplitMix.seed()
    private static let node = Array(UInt8(0)..<16)
    private static let announcement = NeighbourAnnouncement(
        node: node,
        lifetimeMilliseconds: 35_000,
        isDatagram: false,
        port: 9_695
    )

    /// Written by hand after RFC 8609.
    private static let wire: [UInt8] = [
        // Version 1, Interest, 95 bytes, HopLimit 1, a header of 14 bytes with the lifetime 0.
        [1, 0, 0, 95, 1, 0, 0, 14], [0, 1, 0, 2, 0, 0],
        // Interest, name.
        [0, 1, 0, 77], [0, 0, 0, 73],
        [0, 1, 0, 12], Array("neighborhood".utf8), [0, 1, 0, 9], Array("@announce".utf8),
        [0, 1, 0, 16], node, [0, 1, 0, 5], Array("35000".utf8),
        [0, 1, 0, 3], Array("tcp".utf8), [0, 1, 0, 4], Array("9695".utf8),
    ].flatMap(\.self)

    @Test func isAnInterestThatNobodyPassesOnOrAnswers() throws {
        #expect(try Self.announcement.encoded() == Self.wire)
        #expect(NeighbourAnnouncement(Self.wire) == Self.announcement)
        #expect(Self.announcement.address(at: "10.0.0.1") == .tcp(host: "10.0.0.1", port: 9_695))
    }

    @Test(arguments: [0, 1_000, 3_600_000], [false, true])
    func isReadAsItWasWritten(_ lifetime: Int, _ isDatagram: Bool) throws {
        let announcement = NeighbourAnnouncement(
            node: NeighbourAnnouncement.randomNode(),
            lifetimeMilliseconds: lifetime,
            isDatagram: isDatagram,
            port: 65_535
        )
        let packet = try announcement.encoded()
        #expect(NeighbourAnnouncement(packet) == announcement)
        #expect(packet.count <= NeighbourAnnouncement.byteLimit)
    }

    private static func name(
        _ first: String = "neighborhood",
        _ second: String = "@announce",
        node: [UInt8] = node,
        lifetime: String = "35000",
        transport: String = "tcp",
        port: String = "9695"
    ) -> Name {
        Name(
            segments: [
                .name(first), .name(second), .name(bytes: node), .name(lifetime), .name(transport),
                .name(port),
            ]
        )
    }

    private static let otherNames: [Name] = [
        name("elsewhere"), name("neighborhood", "@other"),
        name(node: Array(node.dropLast())), name(node: node + [16]), name(node: []),
        name(lifetime: "999"), name(lifetime: "3600001"), name(lifetime: "-1"),
        name(lifetime: "+35000"), name(lifetime: "035000"), name(lifetime: ""),
        name(lifetime: "9999999999999999999999"),
        name(transport: "unix"), name(transport: "TCP"), name(transport: ""),
        name(port: "0"), name(port: "65536"), name(port: "-1"), name(port: "09695"),
        name(port: "x"), name(port: ""),
        Name(segments: Array(name().segments.dropLast())),
        name().appending([.name("more")]),
        Name(segments: name().segments.dropLast() + [.chunk(9_695)]),
    ]

    @Test(arguments: otherNames)
    func refusesAnotherName(_ name: Name) throws {
        let interest = Interest(name: name, hopLimit: 1, lifetimeMilliseconds: 0)
        #expect(NeighbourAnnouncement(try PacketEncoder.encode(interest)) == nil)
    }

    @Test func refusesOtherPackets() throws {
        let name = Self.announcement.name
        let others = [
            // It came over a router, or could; it wants an answer.
            try PacketEncoder.encode(Interest(name: name, hopLimit: 2, lifetimeMilliseconds: 0)),
            try PacketEncoder.encode(Interest(name: name, hopLimit: 0, lifetimeMilliseconds: 0)),
            try PacketEncoder.encode(Interest(name: name, hopLimit: 1, lifetimeMilliseconds: 1)),
            try PacketEncoder.encode(Interest(name: name, hopLimit: 1)),
            try PacketEncoder.encode(ContentObject(name: name, payload: [])),
            try PacketEncoder.encode(
                Interest(
                    name: name,
                    hopLimit: 1,
                    lifetimeMilliseconds: 0,
                    payload: [UInt8](repeating: 0, count: NeighbourAnnouncement.byteLimit)
                )
            ),
            Self.wire + [0], Array(Self.wire.dropLast()), [],
        ]
        for packet in others { #expect(NeighbourAnnouncement(packet) == nil, "\(packet)") }
    }

    @Test func takesWhatLaterVersionsMayAdd() throws {
        let interest = Interest(
            name: Self.announcement.name,
            hopLimit: 1,
            lifetimeMilliseconds: 0,
            payload: Array("more".utf8)
        )
        #expect(NeighbourAnnouncement(try PacketEncoder.encode(interest)) == Self.announcement)
    }

    @Test func randomBytesNeverTrapAndWhatIsReadIsWithinBounds() throws {
        var random = SplitMix(seed: Self.seed)
        for _ in 0..<20_000 {
            var packet =
                random.chance(1, in: 4)
                ? random.bytes(Int.random(in: 0..<300, using: &random)) : Self.wire
            for _ in 0..<Int.random(in: 0..<4, using: &random) where !packet.isEmpty {
                let place = Int.random(in: packet.indices, using: &random)
                packet[place] = UInt8.random(in: .min ... .max, using: &random)
            }
            if random.chance(1, in: 8) {
                packet = Array(packet.prefix(Int.random(in: 0...packet.count, using: &random)))
            }
            guard let read = NeighbourAnnouncement(packet) else { continue }
            #expect(read.node.count == 16, "seed \(Self.seed)")
            #expect((1...65_535).contains(read.port), "seed \(Self.seed)")
            #expect((0...3_600_000).contains(read.lifetimeMilliseconds), "seed \(Self.seed)")
        }
    }
}
