import COpenSSL

/// A hash function, fetched from OpenSSL's provider once: fetching it for each digest costs more than
/// hashing 400 bytes (measured: 149 ns against 469 ns for 64 bytes).
///
/// Sendable because an EVP_MD is immutable once fetched and reference counted atomically.
@safe
final class MessageDigest: @unchecked Sendable {
    static let sha256 = MessageDigest("SHA256")
    static let sha384 = MessageDigest("SHA384")

    private let handle: OpaquePointer

    private init(_ name: String) {
        guard let handle = unsafe EVP_MD_fetch(nil, name, nil) else {
            preconditionFailure("OpenSSL has no \(name)")
        }
        unsafe self.handle = handle
    }

    deinit {
        unsafe EVP_MD_free(handle)
    }

    func withHandle<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        unsafe body(handle)
    }
}
