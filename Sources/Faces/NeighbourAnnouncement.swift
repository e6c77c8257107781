package import CCNx
package import Failures

/// What a node says of itself on a local link: an Interest with HopLimit 1 and lifetime 0, which nobody passes on or
/// answers (RFC 8569 section 2.4.1, RFC 8609 section 3.4.1), so that a forwarder of any make can take it.
///
/// ```
///   ccnx:/neighborhood/@announce/<node>/<lifetime>/<transport>/<port>
///
///   node        16 bytes, drawn at random at each start of a node
///   lifetime    for how long this is good, in milliseconds, decimal; 0: the node leaves
///   transport   tcp or udp
///   port        where the node listens, decimal; the address is the one that the announcement came from
/// ```
package struct NeighbourAnnouncement: Hashable, Sendable {
    package static let nodeByteCount = 16
    /// Bytes of a packet: twice what one takes, for fields that are not known here.
    package static let byteLimit = 256
    /// Nodes that come and go more often would cost more than they give.
    package static let lifetimes = 1_000...3_600_000

    package let node: [UInt8]
    package let lifetimeMilliseconds: Int
    package let isDatagram: Bool
    package let port: Int

    private static let prefix = [NameSegment.name("neighborhood"), .name("@announce")]

    package init(node: [UInt8], lifetimeMilliseconds: Int, isDatagram: Bool, port: Int) {
        precondition(node.count == Self.nodeByteCount, "the id of a node has 16 bytes")
        self.node = node
        self.lifetimeMilliseconds = lifetimeMilliseconds
        self.isDatagram = isDatagram
        self.port = port
    }

    /// Reads a packet. Nil if it is anything else.
    package init?(_ packet: [UInt8]) {
        guard packet.count <= Self.byteLimit, let decoded = try? PacketDecoder.decode(packet),
            case .interest(let interest) = decoded.packet, interest.hopLimit == 1,
            interest.lifetimeMilliseconds == 0
        else { return nil }
        self.init(interest.name)
    }

    private init?(_ name: Name) {
        let segments = name.segments
        guard segments.count == 6, Array(segments.prefix(2)) == Self.prefix,
            segments[2].value.count == Self.nodeByteCount,
            let lifetime = segments[3].text.flatMap({ Int($0) }),
            lifetime == 0 || Self.lifetimes.contains(lifetime),
            let port = segments[5].text.flatMap({ UInt16($0) }), port > 0
        else { return nil }
        self.init(
            node: segments[2].value,
            lifetimeMilliseconds: lifetime,
            isDatagram: segments[4] == .name("udp"),
            port: Int(port)
        )
        // One spelling only.
        guard self.name == name else { return nil }
    }

    package var name: Name {
        Name(
            segments: Self.prefix + [
                .name(bytes: node), .name(String(lifetimeMilliseconds)),
                .name(isDatagram ? "udp" : "tcp"), .name(String(port)),
            ]
        )
    }

    package func encoded() throws(Failure) -> [UInt8] {
        try PacketEncoder.encode(Interest(name: name, hopLimit: 1, lifetimeMilliseconds: 0))
    }

    /// Where the node is if it announced this from `host`.
    package func address(at host: String) -> FaceAddress {
        isDatagram ? .udp(host: host, port: port) : .tcp(host: host, port: port)
    }

    package static func randomNode() -> [UInt8] {
        (0..<nodeByteCount).map { _ in UInt8.random(in: .min ... .max) }
    }
}
