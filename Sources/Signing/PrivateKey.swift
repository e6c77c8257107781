package import Failures

/// A key that signs. Never printed, never logged.
package struct PrivateKey: Sendable {
    package let algorithm: KeyAlgorithm
    package let publicKey: PublicKey
    private let handle: KeyHandle

    private init(_ handle: KeyHandle) throws(Failure) {
        self.handle = handle
        publicKey = try PublicKey(handle)
        algorithm = publicKey.algorithm
    }

    /// A new key from the system's random numbers. RSA takes a good part of a second.
    package static func generate(
        _ algorithm: KeyAlgorithm = .standard
    ) throws(Failure) -> PrivateKey {
        let handle: KeyHandle?
        switch algorithm {
        case .rsa(let bits):
            guard KeyAlgorithm.permittedRSABits.contains(bits) else {
                throw Failure(.unsupported, "an RSA key of \(bits) bits is not made here")
            }
            handle = KeyHandle.generateRSA(bits: bits)
        case .ecP384:
            handle = KeyHandle.generateEC(group: "P-384")
        }
        guard let handle else {
            throw Failure(
                .unavailable,
                "no \(algorithm) key could be made: \(OpenSSLErrors.take())"
            )
        }
        return try PrivateKey(handle)
    }

    /// Reads PKCS#8 or the traditional RSA and EC forms; a passphrase is never asked for.
    package init(pem: [UInt8]) throws(Failure) {
        let content = try KeyFile.content(of: pem)
        guard content == .privateKey else {
            throw KeyFile.refusal(content, wanted: "a private key")
        }
        guard let handle = KeyHandle.privateKey(pem: pem) else {
            throw Failure(.invalid, "private key cannot be read: \(OpenSSLErrors.take())")
        }
        try self.init(handle)
    }

    /// PKCS#8, not encrypted: who writes it to a file sees to the file's mode.
    package func pem() throws(Failure) -> [UInt8] {
        guard let pem = handle.privatePEM else {
            throw Failure(.invalid, "private key cannot be written: \(OpenSSLErrors.take())")
        }
        return pem
    }

    /// The signature over `bytes` as it goes into a packet; see ``KeyAlgorithm`` for its form.
    package func sign(_ bytes: Span<UInt8>) throws(Failure) -> [UInt8] {
        guard let signature = handle.sign(bytes, digest: algorithm.digest) else {
            throw Failure(.unavailable, "\(algorithm) key cannot sign: \(OpenSSLErrors.take())")
        }
        return signature
    }

    package func sign(_ bytes: [UInt8]) throws(Failure) -> [UInt8] {
        try sign(bytes.span)
    }
}

extension PrivateKey: CustomStringConvertible {
    package var description: String { "\(algorithm) private key \(publicKey.keyId)" }
}
