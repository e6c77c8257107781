/// An Interest that the next hop gives back because it cannot be answered there (RFC 8569 section
/// 10, RFC 8609 section 3.2.3). It concerns one hop and is never forwarded.
package struct InterestReturn: Hashable, Sendable {
    package var code: ReturnCode
    /// As it was received there: its HopLimit is the one before the decrement.
    package var interest: Interest

    package init(code: ReturnCode, interest: Interest) {
        self.code = code
        self.interest = interest
    }
}
