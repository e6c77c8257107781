/// Names a public key: the SHA-256 of its DER SubjectPublicKeyInfo (RFC 8609 section 3.6.4.1.4.1).
package struct KeyId: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let digest: SHA256Digest

    package init(_ digest: SHA256Digest) {
        self.digest = digest
    }

    package static func < (left: KeyId, right: KeyId) -> Bool { left.digest < right.digest }

    package var description: String { digest.hex }
}
