/// Which signatures besides the standard ones are let pass.
package struct VerificationPolicy: Hashable, Sendable {
    /// Accept RSA signatures without a DigestInfo, as Cefore 0.12 makes them. Off unless an operator
    /// turns it on: such a signature does not say which hash was signed.
    package var acceptCeforeRSA: Bool

    package init(acceptCeforeRSA: Bool = false) {
        self.acceptCeforeRSA = acceptCeforeRSA
    }

    package static let standard = VerificationPolicy()
}
