package import CCNx
package import Failures

/// Makes Content Objects that a stranger can check: signed, with KeyId and public key in them.
package enum SignedContentObject {
    /// The whole packet. The signature covers the message and the validation algorithm, not the
    /// hop-by-hop recommended cache time (RFC 8609 section 3.6.4).
    /// - Parameter signatureTimeMilliseconds: since 1970 UTC; nil leaves the field out.
    package static func sign(
        _ object: ContentObject,
        with key: PrivateKey,
        signatureTimeMilliseconds: UInt64?,
        chunkCodes: ChunkCodes = .standard
    ) throws(Failure) -> [UInt8] {
        try packet(
            object,
            with: key,
            signatureTimeMilliseconds: signatureTimeMilliseconds,
            chunkCodes: chunkCodes
        ).wire
    }

    /// The same, as decoding it would give it: for who answers with it at once.
    package static func packet(
        _ object: ContentObject,
        with key: PrivateKey,
        signatureTimeMilliseconds: UInt64?,
        chunkCodes: ChunkCodes = .standard
    ) throws(Failure) -> DecodedPacket {
        let validation = Validation(
            algorithm: key.algorithm.validationAlgorithm,
            keyId: key.publicKey.keyId,
            publicKeyDER: key.publicKey.derBytes,
            signatureTimeMilliseconds: signatureTimeMilliseconds
        )
        let unsigned = try PacketEncoder(chunkCodes: chunkCodes)
            .prepare(.contentObject(object), validation: validation)
        let signature = try unsigned.withValidatedBytes { (bytes) throws(Failure) in
            try key.sign(bytes)
        }
        return try unsigned.validated(by: signature)
    }
}
