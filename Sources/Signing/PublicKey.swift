package import CCNx
package import Failures

/// A key that verifies, known by its ``keyId``.
package struct PublicKey: Sendable {
    package let algorithm: KeyAlgorithm
    /// DER SubjectPublicKeyInfo, in the one form OpenSSL writes it.
    package let derBytes: [UInt8]
    package let keyId: KeyId
    private let handle: KeyHandle

    init(_ handle: KeyHandle) throws(Failure) {
        algorithm = try KeyAlgorithm.of(handle)
        guard let der = handle.publicDER else {
            throw Failure(.invalid, "public key cannot be written: \(OpenSSLErrors.take())")
        }
        derBytes = der
        keyId = KeyId(SHA256.digest(of: der))
        self.handle = handle
    }

    /// From a DER SubjectPublicKeyInfo, which must be exactly as it would be written again: the KeyId
    /// is a hash of it, so one key with two spellings would have two names.
    package init(der: [UInt8]) throws(Failure) {
        guard der.count <= KeyFile.maximumByteCount else {
            throw Failure(.tooLarge, "public key has \(der.count) bytes")
        }
        guard let handle = KeyHandle.publicKey(der: der) else {
            throw Failure(.invalid, "public key cannot be read: \(OpenSSLErrors.take())")
        }
        try self.init(handle)
        guard derBytes == der else {
            throw Failure(.invalid, "public key is not in canonical DER or has bytes after it")
        }
    }

    /// From a PEM public key, or the public half of a PEM private key.
    package init(pem: [UInt8]) throws(Failure) {
        let content = try KeyFile.content(of: pem)
        switch content {
        case .privateKey:
            self = try PrivateKey(pem: pem).publicKey
        case .publicKey:
            guard let handle = KeyHandle.publicKey(pem: pem) else {
                throw Failure(.invalid, "public key cannot be read: \(OpenSSLErrors.take())")
            }
            try self.init(handle)
        case .encryptedPrivateKey, .certificate, .somethingElse:
            throw KeyFile.refusal(content, wanted: "a public key")
        }
    }

    package func pem() throws(Failure) -> [UInt8] {
        guard let pem = handle.publicPEM else {
            throw Failure(.invalid, "public key cannot be written: \(OpenSSLErrors.take())")
        }
        return pem
    }

    package func verify(_ signature: [UInt8], of bytes: Span<UInt8>) -> Bool {
        handle.verify(signature, of: bytes, digest: algorithm.digest)
    }

    package func verify(_ signature: [UInt8], of bytes: [UInt8]) -> Bool {
        verify(signature, of: bytes.span)
    }

    /// As ``verify(_:of:)`` for the signatures Cefore 0.12 makes: PKCS#1 v1.5 padding around the bare
    /// SHA-256, without the DigestInfo that says which hash it is.
    package func verifyCeforeRSA(_ signature: [UInt8], of bytes: Span<UInt8>) -> Bool {
        guard case .rsa = algorithm else { return false }
        return handle.recoverRSA(signature) == SHA256.digest(of: bytes).bytes
    }
}

extension PublicKey: Hashable {
    package static func == (left: PublicKey, right: PublicKey) -> Bool {
        left.derBytes == right.derBytes
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(keyId)
    }
}

extension PublicKey: CustomStringConvertible {
    package var description: String { "\(algorithm) key \(keyId)" }
}
