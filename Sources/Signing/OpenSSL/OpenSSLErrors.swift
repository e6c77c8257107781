import COpenSSL

/// OpenSSL keeps a queue of errors for each thread.
enum OpenSSLErrors {
    /// Empties this thread's queue and returns the oldest entry's text, which is nearest to the cause.
    static func take() -> String {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0 else { return "OpenSSL gives no reason" }
        guard let reason = unsafe ERR_reason_error_string(code) else {
            return "OpenSSL error \(code)"
        }
        return unsafe String(cString: reason)
    }
}
