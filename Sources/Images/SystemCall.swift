internal import Failures
internal import Glibc

/// The errno of a system call that failed.
struct SystemError: Error {
    let number: Int32

    /// `doing` is a phrase such as `cannot open /images/a.raw`.
    func failure(_ doing: String) -> Failure {
        // strerror answers with text that glibc keeps per thread; it is copied here.
        let reason = unsafe strerror(number).map { unsafe String(cString: $0) }
        return Failure(kind, "\(doing): \(reason ?? "error \(number)")")
    }

    private var kind: Failure.Kind {
        switch number {
        case ENOENT, ENXIO, ENODEV: .notFound
        case EACCES, EPERM: .notPermitted
        case EEXIST: .exists
        case EROFS: .readOnly
        case EISDIR: .isDirectory
        case ENOTDIR: .notDirectory
        case EBUSY, ETXTBSY: .busy
        case ENOSPC, EDQUOT: .noSpace
        case EFBIG: .tooLarge
        case EMFILE, ENFILE, ENOMEM: .unavailable
        default: .io
        }
    }
}

/// Every system call of this target that can fail passes here: it is made again while a signal
/// interrupts it, and errno is read on the line after it.
func systemCall<Result: SignedInteger>(
    _ call: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = call()
        let number = errno
        if result >= 0 { return result }
        guard number == EINTR else { throw SystemError(number: number) }
    }
}

/// As above, with the phrase that becomes the message of the failure.
func systemCall<Result: SignedInteger>(
    _ doing: @autoclosure () -> String,
    _ call: () -> Result
) throws(Failure) -> Result {
    do throws(SystemError) {
        return try systemCall(call)
    } catch {
        throw error.failure(doing())
    }
}

/// A system call would take such a path for the one that ends at the zero byte.
func requirePath(_ path: String) throws(Failure) {
    guard !path.utf8.contains(0) else {
        throw Failure(.invalid, "a path may not contain a zero byte")
    }
}

/// lseek's two questions of Linux, which the C library shows only to GNU sources.
let seekData: Int32 = 3
let seekHole: Int32 = 4
