internal import Failures
internal import Glibc

/// Calls the system until it is not interrupted; the only place that knows EINTR.
///
/// `errno` is read on the line after the call that set it.
func systemCall<Value: FixedWidthInteger & SignedInteger>(
    _ what: @autoclosure () -> String,
    _ body: () -> Value
) throws(Failure) -> Value {
    while true {
        let value = body()
        if value != -1 { return value }
        let code = errno
        if code != EINTR { throw Failure(errno: code, what()) }
    }
}
