/// What vouches for a message: an algorithm, what it needs to know about the key, and the checksum
/// or signature itself (RFC 8609 section 3.6.4).
package struct Validation: Hashable, Sendable {
    package var algorithm: ValidationAlgorithm
    package var keyId: KeyId?
    /// DER SubjectPublicKeyInfo. Says nothing about trust.
    package var publicKeyDER: [UInt8]?
    /// The value of the KeyLink field, unread.
    package var keyLink: [UInt8]?
    /// Milliseconds since 1970 UTC.
    package var signatureTimeMilliseconds: UInt64?
    /// The checksum or signature.
    package var payload: [UInt8]

    package init(
        algorithm: ValidationAlgorithm,
        keyId: KeyId? = nil,
        publicKeyDER: [UInt8]? = nil,
        keyLink: [UInt8]? = nil,
        signatureTimeMilliseconds: UInt64? = nil,
        payload: [UInt8] = []
    ) {
        self.algorithm = algorithm
        self.keyId = keyId
        self.publicKeyDER = publicKeyDER
        self.keyLink = keyLink
        self.signatureTimeMilliseconds = signatureTimeMilliseconds
        self.payload = payload
    }
}

/// RFC 8609 section 3.6.4.1.
package enum ValidationAlgorithm: Hashable, Sendable {
    case crc32c
    case hmacSHA256
    case rsaSHA256
    case ecSecp256K1
    case ecSecp384R1
    case other(UInt16)

    package init(code: UInt16) {
        switch code {
        case 0x0002: self = .crc32c
        case 0x0004: self = .hmacSHA256
        case 0x0005: self = .rsaSHA256
        case 0x0006: self = .ecSecp256K1
        case 0x0007: self = .ecSecp384R1
        default: self = .other(code)
        }
    }

    package var code: UInt16 {
        switch self {
        case .crc32c: 0x0002
        case .hmacSHA256: 0x0004
        case .rsaSHA256: 0x0005
        case .ecSecp256K1: 0x0006
        case .ecSecp384R1: 0x0007
        case .other(let code): code
        }
    }
}

extension ValidationAlgorithm: CustomStringConvertible {
    package var description: String {
        switch self {
        case .crc32c: "CRC32C"
        case .hmacSHA256: "HMAC-SHA256"
        case .rsaSHA256: "RSA-SHA256"
        case .ecSecp256K1: "EC-SECP-256K1"
        case .ecSecp384R1: "EC-SECP-384R1"
        case .other(let code): "validation algorithm \(code)"
        }
    }
}
