internal import Failures
internal import Glibc

extension Failure.Kind {
    /// What the kernel is told. The one table from kinds to errno; its mirror is
    /// `Files/Failure+Errno.swift`.
    var errno: Int32 {
        switch self {
        case .usage, .invalid, .configuration: EINVAL
        case .corrupt, .untrusted, .noSource, .timedOut, .io, .unavailable: EIO
        case .notFound: ENOENT
        case .exists: EEXIST
        case .notEmpty: ENOTEMPTY
        case .isDirectory: EISDIR
        case .notDirectory: ENOTDIR
        case .readOnly: EROFS
        case .notPermitted: EPERM
        case .busy: EBUSY
        case .unsupported: EOPNOTSUPP
        case .noSpace: ENOSPC
        case .tooLarge: EFBIG
        case .cancelled: EINTR
        }
    }
}
