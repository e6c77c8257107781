package import CCNx
package import Failures

/// Decides whether a packet is what its validation says.
package enum ValidationCheck {
    /// Passes if the packet is signed by `key`, which the caller trusts for the packet's name.
    ///
    /// A KeyId or public key in the packet must be that key's; a packet may also carry neither.
    /// - Throws: `.untrusted` if there is no signature by this key, `.corrupt` if the packet
    ///   contradicts itself.
    package static func verify(
        _ packet: DecodedPacket,
        expecting key: PublicKey,
        policy: VerificationPolicy = .standard
    ) throws(Failure) {
        let what = title(of: packet)
        guard let validation = packet.validation, validation.algorithm != .crc32c else {
            throw Failure(.untrusted, "\(what) is not signed")
        }
        try checkKeyId(of: validation, what)
        if let keyId = validation.keyId, keyId != key.keyId {
            throw Failure(.untrusted, "\(what) is signed by key \(keyId), not \(key.keyId)")
        }
        if let der = validation.publicKeyDER, der != key.derBytes {
            throw Failure(.untrusted, "\(what) carries another key than \(key.keyId)")
        }
        guard validation.algorithm == key.algorithm.validationAlgorithm else {
            throw Failure(
                .untrusted,
                "\(what) is signed with \(validation.algorithm), not by an \(key)"
            )
        }
        let isGenuine = packet.withValidatedBytes { bytes in
            key.verify(validation.payload, of: bytes)
                || policy.acceptCeforeRSA && key.verifyCeforeRSA(validation.payload, of: bytes)
        }
        guard isGenuine else {
            throw Failure(.untrusted, "\(what) has a signature that key \(key.keyId) did not make")
        }
    }

    /// Checks the CRC32C of a packet that has one; passes every other packet.
    package static func verifyChecksum(_ packet: DecodedPacket) throws(Failure) {
        guard let validation = packet.validation, validation.algorithm == .crc32c else { return }
        let checksum = packet.withValidatedBytes { CRC32C.checksum($0) }
        guard validation.payload == checksum.bigEndianBytes else {
            throw Failure(.corrupt, "\(title(of: packet)) does not match its CRC32C")
        }
    }

    /// The public key in a packet, which may be anyone's; nil if there is none.
    /// - Throws: `.corrupt` if it is not the key that the packet's KeyId names.
    package static func embeddedKey(of packet: DecodedPacket) throws(Failure) -> PublicKey? {
        guard let validation = packet.validation, let der = validation.publicKeyDER else {
            return nil
        }
        try checkKeyId(of: validation, title(of: packet))
        return try PublicKey(der: der)
    }

    private static func checkKeyId(of validation: Validation, _ what: String) throws(Failure) {
        guard let der = validation.publicKeyDER, let keyId = validation.keyId else { return }
        guard KeyId(SHA256.digest(of: der)) == keyId else {
            throw Failure(.corrupt, "\(what) carries a key that its KeyId does not name")
        }
    }

    private static func title(of packet: DecodedPacket) -> String {
        switch packet.packet {
        case .interest(let interest): "Interest for \(interest.name)"
        case .contentObject(let object): object.name.map(\.uri) ?? "nameless Content Object"
        case .interestReturn(let back): "Interest Return for \(back.interest.name)"
        }
    }
}
