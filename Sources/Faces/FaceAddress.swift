package import CCNx
package import Failures

/// Where a neighbour is, or where this node listens.
///
///     tcp:HOST            tcp:HOST:PORT       tcp:[::1]:9695        unix:/run/ccnfs/node.sock
///     udp:HOST            udp:HOST:PORT       udp:[::1]:9695
///
/// HOST is a name or an address; one with colons stands in brackets. Without PORT it is 9695, the port
/// other CCNx 1.0 implementations use. Port 0, for listening, is any free one.
package enum FaceAddress: Hashable, Sendable {
    case tcp(host: String, port: Int)
    case udp(host: String, port: Int)
    case unix(path: String)

    package static let defaultPort = 9_695
    /// The kernel keeps 108 bytes for the path of a socket, one of which ends it.
    package static let maximumPathByteCount = 107

    package init(_ text: String) throws(Failure) {
        func refusal(_ reason: String) -> Failure {
            Failure(
                .invalid,
                "face address '\(text)' \(reason)",
                hint: "addresses look like tcp:host:9695, udp:[::1]:9695 or unix:/path"
            )
        }
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst("unix:".count))
            guard path.hasPrefix("/") else { throw refusal("has no absolute path") }
            guard path.utf8.count <= Self.maximumPathByteCount else {
                throw refusal("has a path of more than \(Self.maximumPathByteCount) bytes")
            }
            guard !path.utf8.contains(0) else { throw refusal("has a zero byte in its path") }
            self = .unix(path: path)
            return
        }
        let isDatagram = text.hasPrefix("udp:")
        guard isDatagram || text.hasPrefix("tcp:") else {
            throw refusal("begins with none of tcp:, udp: and unix:")
        }
        func address(_ host: Substring, _ port: Int) -> FaceAddress {
            let host = String(host)
            return isDatagram ? .udp(host: host, port: port) : .tcp(host: host, port: port)
        }
        let rest = text.dropFirst("tcp:".count)
        let host: Substring
        let after: Substring
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { throw refusal("has '[' without ']'") }
            host = rest[rest.index(after: rest.startIndex)..<end]
            after = rest[rest.index(after: end)...]
        } else {
            let end = rest.firstIndex(of: ":") ?? rest.endIndex
            host = rest[..<end]
            after = rest[end...]
        }
        guard !host.isEmpty else { throw refusal("has no host") }
        guard !host.contains(where: { $0.isWhitespace || "/[]@".contains($0) }) else {
            throw refusal("has a host that cannot be")
        }
        guard !after.isEmpty else {
            self = address(host, Self.defaultPort)
            return
        }
        guard after.first == ":" else { throw refusal("has something after its host") }
        guard !after.dropFirst().contains(":") else {
            throw refusal("has several colons; write an IPv6 address in brackets")
        }
        guard let port = UInt16(after.dropFirst()), after.dropFirst().first != "+" else {
            throw refusal("has a port that is not a number up to 65535")
        }
        self = address(host, Int(port))
    }

    /// Nil for a Unix socket.
    package var host: String? {
        switch self {
        case .tcp(let host, _), .udp(let host, _): host
        case .unix: nil
        }
    }

    /// The same place at another port; a Unix socket has none.
    func withPort(_ port: Int) -> FaceAddress {
        host.map { at(host: $0, port: port) } ?? self
    }

    /// Another place over the same transport; a Unix socket stays where it is.
    func at(host: String, port: Int) -> FaceAddress {
        switch self {
        case .tcp: .tcp(host: host, port: port)
        case .udp: .udp(host: host, port: port)
        case .unix: self
        }
    }

    /// One packet in each datagram, which may be lost, come twice or late, and has a size that it must
    /// not pass.
    package var isDatagram: Bool {
        if case .udp = self { true } else { false }
    }

    /// Unix sockets are for applications on this machine. TCP and UDP are for neighbours, even over
    /// loopback: who is at the other end cannot be seen.
    package var scope: FaceScope {
        switch self {
        case .tcp, .udp: .remote
        case .unix: .local
        }
    }
}

extension FaceAddress: CustomStringConvertible {
    package var description: String {
        func text(_ transport: String, _ host: String, _ port: Int) -> String {
            host.contains(":") ? "\(transport):[\(host)]:\(port)" : "\(transport):\(host):\(port)"
        }
        return switch self {
        case .tcp(let host, let port): text("tcp", host, port)
        case .udp(let host, let port): text("udp", host, port)
        case .unix(let path): "unix:\(path)"
        }
    }
}
