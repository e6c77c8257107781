import Failures
import Glibc
import NIOCore

extension Failure {
    /// What went wrong below a face, in our words.
    init(transport error: any Error, _ message: String) {
        switch error {
        case let failure as Failure:
            self = failure.wrapped(message)
        case let error as IOError:
            self.init(
                Self.kind(errno: error.errnoCode),
                "\(message): \(unsafe String(cString: strerror(error.errnoCode)))",
                hint: error.errnoCode == EADDRINUSE ? "another process listens there" : nil
            )
        case let error as ChannelError:
            if case .connectTimeout = error {
                self.init(.timedOut, "\(message): no answer in time")
            } else {
                self.init(.io, "\(message): \(error)")
            }
        default:
            self.init(.unavailable, "\(message): \(error)")
        }
    }

    private static func kind(errno: CInt) -> Kind {
        switch errno {
        case ECONNREFUSED, ECONNRESET, EPIPE, EHOSTUNREACH, ENETUNREACH, ENOENT: .unavailable
        case EADDRINUSE: .busy
        case EACCES, EPERM: .notPermitted
        case EADDRNOTAVAIL: .configuration
        case ETIMEDOUT: .timedOut
        default: .io
        }
    }
}
