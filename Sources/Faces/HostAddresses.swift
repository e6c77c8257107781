import Failures
import Glibc
import NIOCore

/// The addresses of a host in the order in which the system's resolver gives them.
enum HostAddresses {
    /// Blocking: may ask a name server.
    static func resolve(_ host: String, port: Int) throws(Failure) -> [SocketAddress] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = CInt(SOCK_DGRAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        let status = unsafe getaddrinfo(host, String(port), &hints, &first)
        guard status == 0 else {
            throw Failure(
                .unavailable,
                "host \(host) has no address: \(unsafe String(cString: gai_strerror(status)))"
            )
        }
        defer { unsafe freeaddrinfo(first) }
        var addresses: [SocketAddress] = []
        var next = unsafe first
        while let info = unsafe next?.pointee {
            if let address = unsafe address(of: info, host) { addresses.append(address) }
            unsafe next = info.ai_next
        }
        guard !addresses.isEmpty else {
            throw Failure(.unavailable, "host \(host) has no IPv4 or IPv6 address")
        }
        return addresses
    }

    private static func address(of info: addrinfo, _ host: String) -> SocketAddress? {
        guard let raw = unsafe UnsafeRawPointer(info.ai_addr) else { return nil }
        // The kernel's structures, as long as the family says.
        return switch unsafe info.ai_family {
        case AF_INET: SocketAddress(unsafe raw.loadUnaligned(as: sockaddr_in.self), host: host)
        case AF_INET6: SocketAddress(unsafe raw.loadUnaligned(as: sockaddr_in6.self), host: host)
        default: nil
        }
    }
}
