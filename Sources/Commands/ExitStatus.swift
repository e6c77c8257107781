internal import Failures
internal import Glibc

extension Failure.Kind {
    /// The exit status, one of sysexits.h. The one table from kinds to it.
    var exitStatus: Int32 {
        switch self {
        case .usage: 64  // EX_USAGE
        case .invalid, .corrupt, .unsupported, .tooLarge: 65  // EX_DATAERR
        case .notFound, .isDirectory, .notDirectory: 66  // EX_NOINPUT
        case .unavailable, .noSource: 69  // EX_UNAVAILABLE
        case .exists, .notEmpty: 73  // EX_CANTCREAT
        case .io, .noSpace: 74  // EX_IOERR
        case .busy, .timedOut, .cancelled: 75  // EX_TEMPFAIL
        case .untrusted, .notPermitted, .readOnly: 77  // EX_NOPERM
        case .configuration: 78  // EX_CONFIG
        }
    }
}
