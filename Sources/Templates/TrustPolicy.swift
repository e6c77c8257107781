package import CCNx
package import Failures
package import Signing
package import Store

/// Which keys may speak for which names.
///
/// A key that is trusted for a prefix may sign everything under it. Nobody is trusted by default.
package struct TrustPolicy: Sendable {
    package let entries: [TrustEntry]

    package init(_ entries: [TrustEntry]) { self.entries = entries }

    /// The key with this id, if it may speak for `name`.
    package func key(_ id: KeyId, speakingFor name: Name) throws(Failure) -> PublicKey? {
        let entry = entries.first { $0.keyId == id && name.hasPrefix($0.prefix) }
        guard let entry else { return nil }
        return try PublicKey(der: entry.publicKeyDER)
    }

    /// Checks that a signed packet speaks for `name`: its key may, and its signature verifies.
    ///
    /// - Throws: `.untrusted` with the line that would trust the key, or `.corrupt`.
    package func check(_ packet: DecodedPacket, speaksFor name: Name) throws(Failure) {
        guard let keyId = packet.validation?.keyId else {
            throw Failure(.untrusted, "it is not signed")
        }
        guard let key = try key(keyId, speakingFor: name) else {
            throw Failure(
                .untrusted,
                "key \(keyId) is not trusted for \(name)",
                hint: "if it should be: ccnfs trust add \(name.prefix(1).uri) PUBLIC-KEY-FILE"
            )
        }
        try ValidationCheck.verify(packet, expecting: key)
    }
}
