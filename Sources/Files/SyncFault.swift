package import Failures
internal import Glibc

/// Makes an fdatasync of written blocks fail, in debug builds that were told to.
package enum SyncFault {
    #if DEBUG
    package static func check(_ path: String) throws(Failure) {
        guard let armed = ArmedFault.failedSync, armed.isDue() else { return }
        throw Failure(errno: EIO, "cannot make \(path) durable")
    }
    #else
    @inlinable @inline(__always)
    package static func check(_ path: String) throws(Failure) {}
    #endif
}
