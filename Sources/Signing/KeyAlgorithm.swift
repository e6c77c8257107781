package import CCNx
import Failures

/// The kinds of key that sign here.
package enum KeyAlgorithm: Hashable, Sendable {
    /// RSASSA-PKCS1-v1_5 with SHA-256, the modulus having this many bits.
    case rsa(bits: Int)
    /// ECDSA over NIST P-384 (secp384r1) with SHA-384, the signature as a DER ECDSA-Sig-Value.
    /// RFC 8609 section 3.6.4.1 registers the algorithm by its curve; used here with the hash of
    /// matching strength (RFC 5758 section 3.2) and the encoding of RFC 3279 section 2.2.3.
    case ecP384

    package static let standard = KeyAlgorithm.rsa(bits: 3_072)
    /// Below this an RSA key is too weak; above it, one signature takes too long to check.
    package static let permittedRSABits = 2_048...8_192

    package var validationAlgorithm: ValidationAlgorithm {
        switch self {
        case .rsa: .rsaSHA256
        case .ecP384: .ecSecp384R1
        }
    }

    var digest: MessageDigest {
        switch self {
        case .rsa: .sha256
        case .ecP384: .sha384
        }
    }

    /// What kind of key `handle` is, if it is one that may be used.
    static func of(_ handle: KeyHandle) throws(Failure) -> KeyAlgorithm {
        if handle.isA("RSA") {
            let bits = handle.bits
            guard permittedRSABits.contains(bits) else {
                throw Failure(
                    .unsupported,
                    "RSA key has \(bits) bits; \(permittedRSABits.lowerBound) to "
                        + "\(permittedRSABits.upperBound) are accepted"
                )
            }
            return .rsa(bits: bits)
        }
        if handle.isA("EC") {
            guard let curve = handle.groupName else {
                throw Failure(.unsupported, "EC key spells its curve out; name secp384r1 instead")
            }
            guard curve == "secp384r1" || curve == "P-384" else {
                throw Failure(
                    .unsupported,
                    "EC key is on curve \(curve); only secp384r1 is accepted"
                )
            }
            return .ecP384
        }
        throw Failure(.unsupported, "key is neither RSA nor EC")
    }
}

extension KeyAlgorithm: CustomStringConvertible {
    package var description: String {
        switch self {
        case .rsa(let bits): "RSA \(bits)"
        case .ecP384: "EC secp384r1"
        }
    }
}
