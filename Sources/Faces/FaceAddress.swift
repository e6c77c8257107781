package import CCNx
package import Failures

/// Where a neighbour is, or where this node listens.
///
///     tcp:HOST            tcp:HOST:PORT       tcp:[::1]:9695        unix:/run/ccnfs/node.sock
///
/// HOST is a name or an address; one with colons stands in brackets. Without PORT it is 9695, the port
/// other CCNx 1.0 implementations use. Port 0, for listening, is any free one.
package enum FaceAddress: Hashable, Sendable {
    case tcp(host: String, port: Int)
    case unix(path: String)

    package static let defaultPort = 9_695
    /// The kernel keeps 108 bytes for the path of a socket, one of which ends it.
    package static let maximumPathByteCount = 107

    package init(_ text: String) throws(Failure) {
        func refusal(_ reason: String) -> Failure {
            Failure(
                .invalid,
                "face address '\(text)' \(reason)",
                hint: "addresses look like tcp:host:9695, tcp:[::1]:9695 or unix:/path"
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
        guard text.hasPrefix("tcp:") else { throw refusal("begins with neither tcp: nor unix:") }
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
            self = .tcp(host: String(host), port: Self.defaultPort)
            return
        }
        guard after.first == ":" else { throw refusal("has something after its host") }
        guard !after.dropFirst().contains(":") else {
            throw refusal("has several colons; write an IPv6 address in brackets")
        }
        guard let port = UInt16(after.dropFirst()), after.dropFirst().first != "+" else {
            throw refusal("has a port that is not a number up to 65535")
        }
        self = .tcp(host: String(host), port: Int(port))
    }

    /// Nil for a Unix socket.
    package var host: String? {
        switch self {
        case .tcp(let host, _): host
        case .unix: nil
        }
    }

    /// Unix sockets are for applications on this machine. TCP is for neighbours, even over loopback:
    /// who is at the other end cannot be seen.
    package var scope: FaceScope {
        switch self {
        case .tcp: .remote
        case .unix: .local
        }
    }
}

extension FaceAddress: CustomStringConvertible {
    package var description: String {
        switch self {
        case .tcp(let host, let port):
            host.contains(":") ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}
