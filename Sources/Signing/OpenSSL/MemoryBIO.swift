import COpenSSL

/// A BIO in memory: what OpenSSL reads PEM from and writes PEM to.
@safe
final class MemoryBIO {
    private let handle: OpaquePointer

    init() {
        guard let handle = unsafe BIO_new(BIO_s_mem()) else { preconditionFailure("out of memory") }
        unsafe self.handle = handle
    }

    deinit {
        unsafe BIO_free_all(handle)
    }

    convenience init(_ bytes: [UInt8]) {
        self.init()
        let written = unsafe BIO_write(handle, bytes, CInt(clamping: bytes.count))
        precondition(Int(written) == bytes.count, "a BIO in memory takes all bytes")
    }

    /// Everything written so far and not yet read.
    func contents() -> [UInt8] {
        let count = unsafe BIO_ctrl_pending(handle)
        return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            let read = unsafe BIO_read(handle, buffer.baseAddress, CInt(clamping: count))
            initialized = max(0, Int(read))
        }
    }

    func withHandle<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        unsafe body(handle)
    }
}
