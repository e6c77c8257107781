package import CCNx

/// SHA-256 in one call, without allocation: what every segment is checked with.
package enum SHA256 {
    package static func digest(of bytes: RawSpan) -> SHA256Digest {
        ThreadHasher.withHasher { hasher in
            hasher.update(bytes)
            return hasher.finalize()
        }
    }

    package static func digest(of bytes: Span<UInt8>) -> SHA256Digest {
        ThreadHasher.withHasher { hasher in
            hasher.update(bytes)
            return hasher.finalize()
        }
    }

    package static func digest(of bytes: [UInt8]) -> SHA256Digest {
        digest(of: bytes.span)
    }
}

extension DecodedPacket {
    /// Taken over the bytes as they were received (RFC 8569 section 5).
    package var contentObjectHash: ContentObjectHash {
        withMessage { ContentObjectHash(SHA256.digest(of: $0)) }
    }
}
