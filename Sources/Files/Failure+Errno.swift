package import Failures
internal import Glibc

extension Failure {
    /// Turns `errno` into a kind and, where an administrator can do something, a hint.
    ///
    /// The one table from errno to `Failure`; its mirror is `FUSE/Errno.swift`.
    package init(errno code: Int32, _ what: String) {
        let reason = "\(what): \(unsafe String(cString: strerror(code)))"
        switch code {
        case ENOENT: self.init(.notFound, reason)
        case EEXIST: self.init(.exists, reason)
        case ENOTEMPTY: self.init(.notEmpty, reason)
        case EISDIR: self.init(.isDirectory, reason)
        case ENOTDIR: self.init(.notDirectory, reason)
        case EACCES, EPERM:
            self.init(.notPermitted, reason, hint: "run as the owner of it, or as root")
        case EROFS: self.init(.readOnly, reason)
        case EBUSY, ETXTBSY: self.init(.busy, reason)
        case EAGAIN: self.init(.busy, reason)
        case ENOSPC, EDQUOT:
            self.init(.noSpace, reason, hint: "free space on that filesystem; nothing was lost")
        case EFBIG: self.init(.tooLarge, reason)
        case EINVAL, ENAMETOOLONG, ELOOP: self.init(.invalid, reason)
        case EOPNOTSUPP, ENOSYS, ENOTTY: self.init(.unsupported, reason)
        case EMFILE, ENFILE:
            self.init(.unavailable, reason, hint: "raise the limit of open files (ulimit -n)")
        case ETIMEDOUT: self.init(.timedOut, reason)
        case ECONNREFUSED, ENOTCONN, ENXIO, ENODEV: self.init(.unavailable, reason)
        default: self.init(.io, reason)
        }
    }
}
