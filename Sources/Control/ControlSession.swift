package import CCNx
package import Failures
package import Publishing
package import Signing

/// The side of a request that stays with the command while the node works on it.
package protocol ControlSession: Sendable {
    func report(_ progress: ControlProgress) async
    /// Signs with the private key that the command holds.
    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8]
    /// Raw image bytes; fewer than asked for only at the end.
    func read(byteCount: Int) async throws(Failure) -> [UInt8]
}

/// How far a long request is.
package enum ControlProgress: Sendable, Codable {
    case publish(PublishProgress)
    /// Bytes or segments done, and in all.
    case work(what: String, done: Int, total: Int)
}

/// Lets a publisher sign through the session.
package struct SessionSigner<Session: ControlSession>: Signer {
    package let publicKey: PublicKey
    private let session: Session

    package init(publicKey: PublicKey, session: Session) {
        self.publicKey = publicKey
        self.session = session
    }

    package func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        try await session.sign(object, signatureTimeMilliseconds: signatureTimeMilliseconds)
    }
}
