package import CCNx
package import Failures
package import Signing

/// The CCNx name of a public key: `ccnx:/<prefix>/@key/<32-byte key id>/chunk 0`.
///
/// A key is content like any other: its payload is the DER SubjectPublicKeyInfo, of payload type KEY (RFC
/// 8609 section 3.6.2.2.1), and its id is the SHA-256 of that, so that it needs no signature and may come
/// from anybody. That a key is had says nothing of whether it is trusted.
package struct KeyName: Hashable, Sendable {
    package let prefix: Name
    package let keyId: KeyId

    private static let marker = NameSegment.name("@key")

    package init(_ keyId: KeyId, under prefix: Name) {
        self.prefix = prefix
        self.keyId = keyId
    }

    package var name: Name {
        prefix.appending([Self.marker, .name(bytes: keyId.digest.bytes), .chunk(0)])
    }

    /// - Returns: nil for names of anything else, and for other spellings of a key's name.
    package init?(_ name: Name) {
        let segments = name.segments
        guard segments.count > 3, segments[segments.count - 3] == Self.marker,
            let digest = SHA256Digest(bytes: segments[segments.count - 2].value)
        else { return nil }
        self.init(KeyId(digest), under: name.prefix(segments.count - 3))
        guard self.name == name else { return nil }
    }

    /// Whether an object of this name is the key.
    package func isRight(_ object: ContentObject) -> Bool {
        object.payloadType == .key && KeyId(SHA256.digest(of: object.payload)) == keyId
    }

    /// The key in an object of this name.
    ///
    /// - Throws: `.corrupt` if it is another key, `.invalid` if it is none.
    package func key(in object: ContentObject) throws(Failure) -> PublicKey {
        guard isRight(object) else {
            throw Failure(.corrupt, "what came for key \(keyId) is not that key")
        }
        return try PublicKey(der: object.payload)
    }
}
