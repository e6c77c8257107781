/// Names one Content Object to the bit: the SHA-256 from the first byte of its message TLV to the end
/// of the packet, signature included and headers excluded (RFC 8569 section 5).
package struct ContentObjectHash: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let digest: SHA256Digest

    package init(_ digest: SHA256Digest) {
        self.digest = digest
    }

    package static func < (left: ContentObjectHash, right: ContentObjectHash) -> Bool {
        left.digest < right.digest
    }

    package var description: String { digest.hex }
}
