import Failures

/// What the text of a key file is, told before OpenSSL is asked, because its own messages do not help.
enum KeyFile {
    /// Far above any key file.
    static let maximumByteCount = 65_536

    enum Content {
        case privateKey, encryptedPrivateKey, publicKey, certificate, somethingElse
    }

    static func content(of pem: [UInt8]) throws(Failure) -> Content {
        guard pem.count <= maximumByteCount else {
            throw Failure(
                .tooLarge,
                "key file has \(pem.count) bytes; the limit is \(maximumByteCount)"
            )
        }
        let text = String(decoding: pem, as: UTF8.self)
        let labels = text.split(whereSeparator: \.isNewline)
            .filter { $0.hasPrefix("-----BEGIN ") }
            .map { $0.dropFirst("-----BEGIN ".count) }
        let isEncrypted = text.contains("Proc-Type: 4,ENCRYPTED")
        for label in labels {
            switch label {
            case _ where label.hasPrefix("ENCRYPTED PRIVATE KEY"): return .encryptedPrivateKey
            case _ where label.contains("PRIVATE KEY"):
                return isEncrypted ? .encryptedPrivateKey : .privateKey
            case _ where label.hasPrefix("PUBLIC KEY"): return .publicKey
            case _ where label.contains("CERTIFICATE"): return .certificate
            default: continue  // such as EC PARAMETERS, which precedes an EC private key
            }
        }
        return .somethingElse
    }

    static func refusal(_ content: Content, wanted: String) -> Failure {
        switch content {
        case .encryptedPrivateKey:
            Failure(
                .unsupported,
                "private key is encrypted with a passphrase",
                hint: "decrypt it with 'openssl pkey -in KEY -out PLAINKEY'"
            )
        case .publicKey: Failure(.invalid, "file holds a public key where \(wanted) is wanted")
        case .certificate:
            Failure(
                .invalid,
                "file holds a certificate where \(wanted) is wanted",
                hint: "extract its key with 'openssl x509 -in CERTIFICATE -pubkey -noout'"
            )
        case .privateKey: Failure(.invalid, "file holds a private key where \(wanted) is wanted")
        case .somethingElse: Failure(.invalid, "file holds no key in PEM form")
        }
    }
}
