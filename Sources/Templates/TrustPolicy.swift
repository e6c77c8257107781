package import CCNx
package import Failures
package import Signing
package import Store

/// Which keys may speak for which names.
///
/// A key that is trusted for a prefix may do what its rights say with everything under it; to speak for
/// a name is to publish. Nobody is trusted by default.
package struct TrustPolicy: Sendable {
    package let entries: [TrustEntry]

    package init(_ entries: [TrustEntry]) { self.entries = entries }

    /// What the settings file says and what commands have added, together: a key that both name for a prefix has
    /// the rights of both.
    package init(configured: [TrustEntry], added: [TrustEntry]) {
        var merged: [Place: TrustEntry] = [:]
        for entry in configured + added {
            let place = Place(prefix: entry.prefix, keyId: entry.keyId)
            merged[place] = TrustEntry(
                prefix: entry.prefix,
                publicKeyDER: entry.publicKeyDER,
                keyId: entry.keyId,
                rights: entry.rights.union(merged[place]?.rights ?? [])
            )
        }
        entries = merged.values.sorted { ($0.prefix, $0.keyId) < ($1.prefix, $1.keyId) }
    }

    private struct Place: Hashable {
        let prefix: Name
        let keyId: KeyId
    }

    /// The key with this id, if it may speak for `name`.
    package func key(_ id: KeyId, speakingFor name: Name) throws(Failure) -> PublicKey? {
        try key(id, with: .publish) { name.hasPrefix($0) }
    }

    /// The key with this id, if it has all these rights for `name`.
    package func key(
        _ id: KeyId,
        with rights: TrustRights,
        for name: Name
    ) throws(Failure) -> PublicKey? {
        try key(id, with: rights) { name.hasPrefix($0) }
    }

    /// The key with this id, if it has all these rights for something at, under or above `prefix`.
    package func key(
        _ id: KeyId,
        with rights: TrustRights,
        around prefix: Name
    ) throws(Failure) -> PublicKey? {
        try key(id, with: rights) { prefix.hasPrefix($0) || $0.hasPrefix(prefix) }
    }

    package func knows(_ id: KeyId) -> Bool { entries.contains { $0.keyId == id } }

    private func key(
        _ id: KeyId,
        with rights: TrustRights,
        where isMeant: (_ prefix: Name) -> Bool
    ) throws(Failure) -> PublicKey? {
        let entry = entries.first {
            $0.keyId == id && $0.rights.isSuperset(of: rights) && isMeant($0.prefix)
        }
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
