import Glibc
import NIOCore

/// Sends datagrams to any address over one socket.
protocol DatagramSending {
    /// At once or not at all.
    func send(_ wire: [UInt8], to address: SocketAddress) -> DatagramOutcome
}

/// What became of a datagram.
enum DatagramOutcome {
    case sent
    /// The kernel has no room for it now.
    case full
    case failed(IOError)
}

/// The sending side of a bound UDP socket that many neighbours share.
///
/// NIO closes a socket on which one datagram could not be sent. Most of what goes wrong concerns one address (there is no
/// way to it, a firewall forbids it) or one moment, and the next datagram goes out. So NIO has the receiving side only,
/// and this sends by itself, over a second descriptor of the same socket.
///
/// Concurrency: one event loop.
final class DatagramSender: DatagramSending {
    private let descriptor: CInt

    private init(descriptor: CInt) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// - Returns: a descriptor of the bound socket, which is the caller's to close, and what sends over it.
    static func bind(
        to address: SocketAddress
    ) throws(IOError) -> (socket: CInt, sender: DatagramSender) {
        let kind = SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        let socket = Glibc.socket(CInt(address.protocol.rawValue), CInt(kind), 0)
        guard socket != -1 else { throw IOError(errnoCode: errno, reason: "socket") }
        let status = unsafe address.withSockAddr { (name, byteCount) in
            unsafe Glibc.bind(socket, name, socklen_t(byteCount))
        }
        guard status != -1 else { throw closing(socket, IOError(errnoCode: errno, reason: "bind")) }
        let second = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        guard second != -1 else { throw closing(socket, IOError(errnoCode: errno, reason: "dup")) }
        return (socket, DatagramSender(descriptor: second))
    }

    private static func closing(_ socket: CInt, _ error: IOError) -> IOError {
        close(socket)
        return error
    }

    func send(_ wire: [UInt8], to address: SocketAddress) -> DatagramOutcome {
        while true {
            let count = unsafe wire.withUnsafeBytes { bytes in
                unsafe address.withSockAddr { (name, byteCount) in
                    unsafe sendto(
                        descriptor,
                        bytes.baseAddress,
                        bytes.count,
                        CInt(MSG_NOSIGNAL),
                        name,
                        socklen_t(byteCount)
                    )
                }
            }
            guard count == -1 else { return .sent }
            let code = errno
            switch code {
            case EINTR: continue
            case EAGAIN: return .full
            default: return .failed(IOError(errnoCode: code, reason: "sendto"))
            }
        }
    }
}

extension IOError {
    /// Nothing will ever be sent on that socket again; every other error is that of a datagram.
    var isEndOfSocket: Bool { errnoCode == EBADF || errnoCode == ENOTSOCK }
}
