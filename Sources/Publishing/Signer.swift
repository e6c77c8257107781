package import CCNx
package import Failures
package import Signing

/// Who signs: holds a publisher's private key, which need not be on the node.
package protocol Signer: Sendable {
    var publicKey: PublicKey { get }
    /// The whole signed packet.
    func sign(_ object: ContentObject, signatureTimeMilliseconds: UInt64) async throws(Failure)
        -> [UInt8]
}

/// A key at hand.
package struct KeySigner: Signer {
    private let key: PrivateKey

    package init(_ key: PrivateKey) { self.key = key }

    package var publicKey: PublicKey { key.publicKey }

    package func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        try SignedContentObject.sign(
            object,
            with: key,
            signatureTimeMilliseconds: signatureTimeMilliseconds
        )
    }
}
