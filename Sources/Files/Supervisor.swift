package import Failures
internal import Glibc

/// The program that started this one as a service and wants to know how it is: systemd, or another
/// that speaks the protocol of sd_notify(3).
///
/// A message is one datagram of lines `NAME=VALUE` to the Unix socket that `NOTIFY_SOCKET` names. Sent
/// by hand: libsystemd would be a dependency for these lines.
package struct Supervisor: Sendable {
    /// A path, or `@` and a name of the abstract namespace; nil if nobody wants to know.
    private let socket: String?

    /// The supervisor that the environment names, if any.
    package init() {
        self.init(socket: unsafe getenv("NOTIFY_SOCKET").map { unsafe String(cString: $0) })
    }

    package init(socket: String?) {
        self.socket = socket?.isEmpty == true ? nil : socket
    }

    /// What came to pass.
    package enum Event: Sendable {
        /// What waits for this service may start; `status` is one line for people.
        case ready(status: String)
        /// The end has begun.
        case stopping(status: String)

        fileprivate var message: String {
            switch self {
            case .ready(let status): "READY=1\nSTATUS=\(Self.line(status))"
            case .stopping(let status): "STOPPING=1\nSTATUS=\(Self.line(status))"
            }
        }

        private static func line(_ text: String) -> String {
            String(text.map { $0.isNewline ? " " : $0 })
        }
    }

    /// Tells it; does nothing if nobody wants to know.
    ///
    /// Waits, as sd_notify does, while the supervisor's queue is full: one that never looks into it
    /// ends this process at its own deadline (`TimeoutStartSec=`).
    package func tell(_ event: Event) throws(Failure) {
        guard let socket else { return }
        let what = "cannot tell the service manager at \(socket)"
        let target = try Self.address(of: socket)
        let descriptor = try systemCall(what) {
            // glibc's enumeration, as the numbers that socket takes.
            Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        }
        defer { _ = close(descriptor) }
        let message = Array(event.message.utf8)
        var address = target.address
        // A sockaddr_un is passed as the sockaddr it begins with, for the length of the closure.
        _ = try unsafe withUnsafePointer(to: &address) { (pointer) throws(Failure) -> Int in
            let bytes = unsafe UnsafeRawPointer(pointer)
            return try systemCall(what) {
                unsafe sendto(
                    descriptor,
                    message,
                    message.count,
                    0,
                    bytes.assumingMemoryBound(to: sockaddr.self),
                    target.byteCount
                )
            }
        }
    }

    /// The address of a socket, and how many bytes of it count: an abstract name ends where they end.
    private static func address(
        of socket: String
    ) throws(Failure) -> (address: sockaddr_un, byteCount: socklen_t) {
        var name = Array(socket.utf8)
        guard socket.hasPrefix("/") || socket.hasPrefix("@") else {
            throw Failure(
                .unsupported,
                "the service manager's socket \(socket) is neither a path nor an abstract one"
            )
        }
        if socket.hasPrefix("@") { name[0] = 0 } else { name.append(0) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard name.count <= MemoryLayout.size(ofValue: address.sun_path) else {
            throw Failure(.tooLarge, "the service manager's socket \(socket) has too long a name")
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        return (address, socklen_t(MemoryLayout<sa_family_t>.size + name.count))
    }
}
