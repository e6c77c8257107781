package import CCNx
import COpenSSL
import Glibc

/// Computes one SHA-256 digest after another, each from any number of pieces.
///
/// Owns one EVP_MD_CTX and reuses it, so no digest allocates. Belongs to one thread at a time.
@safe
package final class SHA256Hasher {
    private let context: OpaquePointer

    package init() {
        guard let context = unsafe EVP_MD_CTX_new() else { preconditionFailure("out of memory") }
        unsafe self.context = context
        start()
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
    }

    package func update(_ bytes: RawSpan) {
        let status = unsafe bytes.withUnsafeBytes { buffer in
            unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
        }
        precondition(status == 1, "SHA-256 cannot take more bytes")
    }

    package func update(_ bytes: Span<UInt8>) {
        unsafe update(bytes.bytes)
    }

    /// The digest of everything since the last one; starts afresh.
    package func finalize() -> SHA256Digest {
        let digest = unsafe withUnsafeTemporaryAllocation(
            byteCount: SHA256Digest.byteCount,
            alignment: MemoryLayout<UInt64>.alignment
        ) { output in
            let bytes = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            let status = unsafe EVP_DigestFinal_ex(context, bytes, nil)
            precondition(status == 1, "SHA-256 does not come to an end")
            return unsafe SHA256Digest(
                word0: UInt64(bigEndian: output.load(fromByteOffset: 0, as: UInt64.self)),
                word1: UInt64(bigEndian: output.load(fromByteOffset: 8, as: UInt64.self)),
                word2: UInt64(bigEndian: output.load(fromByteOffset: 16, as: UInt64.self)),
                word3: UInt64(bigEndian: output.load(fromByteOffset: 24, as: UInt64.self))
            )
        }
        start()
        return digest
    }

    private func start() {
        let status = unsafe MessageDigest.sha256.withHandle { md in
            unsafe EVP_DigestInit_ex2(context, md, nil)
        }
        precondition(status == 1, "SHA-256 does not start")
    }
}

/// One hasher a thread, made at the thread's first digest and freed when it ends.
enum ThreadHasher {
    static func withHasher<Result>(_ body: (SHA256Hasher) -> Result) -> Result {
        if let stored = unsafe pthread_getspecific(key) {
            return unsafe Unmanaged<SHA256Hasher>.fromOpaque(stored)._withUnsafeGuaranteedRef(body)
        }
        let hasher = SHA256Hasher()
        let status = unsafe pthread_setspecific(key, Unmanaged.passRetained(hasher).toOpaque())
        precondition(status == 0, "no memory for a thread's hasher")
        return body(hasher)
    }

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let status = unsafe pthread_key_create(&key) { stored in
            guard let stored = unsafe stored else { return }
            unsafe Unmanaged<SHA256Hasher>.fromOpaque(stored).release()
        }
        precondition(status == 0, "no thread-specific key is left")
        return key
    }()
}
