import COpenSSL

/// Owns one EVP_PKEY, public or private.
///
/// Sendable because the key is never changed after `init`, and OpenSSL permits any number of threads
/// to use one unchanging EVP_PKEY at once, each with its own context.
@safe
final class KeyHandle: @unchecked Sendable {
    private let handle: OpaquePointer

    private init(owning handle: OpaquePointer) {
        unsafe self.handle = handle
    }

    deinit {
        unsafe EVP_PKEY_free(handle)
    }

    // MARK: Making

    static func generateRSA(bits: Int) -> KeyHandle? {
        unsafe generate("RSA") { context in
            unsafe EVP_PKEY_CTX_set_rsa_keygen_bits(context, CInt(clamping: bits))
        }
    }

    static func generateEC(group: String) -> KeyHandle? {
        unsafe generate("EC") { unsafe EVP_PKEY_CTX_set_group_name($0, group) }
    }

    private static func generate(
        _ type: String,
        _ configure: (OpaquePointer) -> CInt
    ) -> KeyHandle? {
        guard let context = unsafe EVP_PKEY_CTX_new_from_name(nil, type, nil) else { return nil }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard unsafe EVP_PKEY_keygen_init(context) == 1, unsafe configure(context) == 1,
            unsafe EVP_PKEY_generate(context, &key) == 1, let key = unsafe key
        else { return nil }
        return unsafe KeyHandle(owning: key)
    }

    /// A PEM private key that is not encrypted: no passphrase is ever asked for.
    static func privateKey(pem: [UInt8]) -> KeyHandle? {
        let key = unsafe MemoryBIO(pem).withHandle { bio in
            unsafe PEM_read_bio_PrivateKey(bio, nil, { _, _, _, _ in -1 }, nil)
        }
        guard let key = unsafe key else { return nil }
        return unsafe KeyHandle(owning: key)
    }

    static func publicKey(pem: [UInt8]) -> KeyHandle? {
        let key = unsafe MemoryBIO(pem).withHandle { bio in
            unsafe PEM_read_bio_PUBKEY(bio, nil, { _, _, _, _ in -1 }, nil)
        }
        guard let key = unsafe key else { return nil }
        return unsafe KeyHandle(owning: key)
    }

    /// From a DER SubjectPublicKeyInfo.
    static func publicKey(der: [UInt8]) -> KeyHandle? {
        let key: OpaquePointer? = unsafe der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return unsafe d2i_PUBKEY(nil, &position, buffer.count)
        }
        guard let key = unsafe key else { return nil }
        return unsafe KeyHandle(owning: key)
    }

    // MARK: Asking

    func isA(_ type: String) -> Bool { unsafe EVP_PKEY_is_a(handle, type) == 1 }

    var bits: Int { Int(unsafe EVP_PKEY_get_bits(handle)) }

    /// The curve of an EC key; nil for other keys and for curves spelt out as numbers.
    var groupName: String? {
        guard text(of: OSSL_PKEY_PARAM_EC_ENCODING) == "named_curve" else { return nil }
        return text(of: OSSL_PKEY_PARAM_GROUP_NAME)
    }

    private func text(of parameter: String) -> String? {
        var count = 0
        var buffer = [CChar](repeating: 0, count: 80)
        let status = unsafe EVP_PKEY_get_utf8_string_param(
            handle,
            parameter,
            &buffer,
            buffer.count,
            &count
        )
        guard status == 1, count < buffer.count else { return nil }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// DER SubjectPublicKeyInfo.
    var publicDER: [UInt8]? {
        var output: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_PUBKEY(handle, &output)
        guard count > 0, let bytes = unsafe output else { return nil }
        defer { unsafe CRYPTO_free(bytes, #file, #line) }
        return unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: Int(count)))
    }

    var publicPEM: [UInt8]? {
        let bio = MemoryBIO()
        guard unsafe bio.withHandle({ unsafe PEM_write_bio_PUBKEY($0, handle) }) == 1 else {
            return nil
        }
        return bio.contents()
    }

    /// PKCS#8, not encrypted.
    var privatePEM: [UInt8]? {
        let bio = MemoryBIO()
        let status = unsafe bio.withHandle {
            unsafe PEM_write_bio_PKCS8PrivateKey($0, handle, nil, nil, 0, nil, nil)
        }
        guard status == 1 else { return nil }
        return bio.contents()
    }

    // MARK: Signing

    func sign(_ bytes: Span<UInt8>, digest: MessageDigest) -> [UInt8]? {
        guard let context = unsafe EVP_MD_CTX_new() else { return nil }
        defer { unsafe EVP_MD_CTX_free(context) }
        let status = unsafe digest.withHandle {
            unsafe EVP_DigestSignInit(context, nil, $0, nil, handle)
        }
        guard status == 1 else { return nil }
        return unsafe bytes.withUnsafeBufferPointer { message -> [UInt8]? in
            let start = message.baseAddress
            var count = 0
            guard unsafe EVP_DigestSign(context, nil, &count, start, message.count) == 1 else {
                return nil
            }
            var signature = [UInt8](repeating: 0, count: count)
            guard unsafe EVP_DigestSign(context, &signature, &count, start, message.count) == 1
            else { return nil }
            return Array(signature.prefix(count))
        }
    }

    func verify(_ signature: [UInt8], of bytes: Span<UInt8>, digest: MessageDigest) -> Bool {
        guard let context = unsafe EVP_MD_CTX_new() else { return false }
        defer { unsafe EVP_MD_CTX_free(context) }
        let status = unsafe digest.withHandle {
            unsafe EVP_DigestVerifyInit(context, nil, $0, nil, handle)
        }
        guard status == 1 else { return false }
        let isGenuine = unsafe bytes.withUnsafeBufferPointer { message in
            let start = message.baseAddress
            return unsafe EVP_DigestVerify(
                context,
                signature,
                signature.count,
                start,
                message.count
            ) == 1
        }
        if !isGenuine { ERR_clear_error() }
        return isGenuine
    }

    /// What an RSA signature with PKCS#1 v1.5 padding was made of, without looking for a DigestInfo;
    /// nil if the padding is not right.
    func recoverRSA(_ signature: [UInt8]) -> [UInt8]? {
        guard isA("RSA"), let context = unsafe EVP_PKEY_CTX_new(handle, nil) else { return nil }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        guard unsafe EVP_PKEY_verify_recover_init(context) == 1,
            unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1
        else { return nil }
        var count = (bits + 7) / 8
        var recovered = [UInt8](repeating: 0, count: count)
        guard
            unsafe EVP_PKEY_verify_recover(
                context,
                &recovered,
                &count,
                signature,
                signature.count
            ) == 1
        else {
            ERR_clear_error()
            return nil
        }
        return Array(recovered.prefix(count))
    }
}
