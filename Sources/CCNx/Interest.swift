/// Asks for one Content Object (RFC 8569 section 2.1, RFC 8609 section 3.6.2.1).
package struct Interest: Hashable, Sendable {
    package static let defaultHopLimit: UInt8 = 32

    package var name: Name
    /// How many more forwarders may pass it on.
    package var hopLimit: UInt8
    /// How long the sender will wait; nil leaves it to the forwarder, 0 expects no answer.
    package var lifetimeMilliseconds: UInt64?
    package var keyIdRestriction: KeyId?
    package var contentObjectHashRestriction: ContentObjectHash?
    package var payload: [UInt8]?
    /// True if it came with a restriction whose hash function is not SHA-256. Such an Interest can be
    /// neither matched nor encoded here; a forwarder returns it with code 8.
    package internal(set) var hasUnsupportedHashRestriction = false

    package init(
        name: Name,
        hopLimit: UInt8 = Interest.defaultHopLimit,
        lifetimeMilliseconds: UInt64? = nil,
        keyIdRestriction: KeyId? = nil,
        contentObjectHashRestriction: ContentObjectHash? = nil,
        payload: [UInt8]? = nil
    ) {
        self.name = name
        self.hopLimit = hopLimit
        self.lifetimeMilliseconds = lifetimeMilliseconds
        self.keyIdRestriction = keyIdRestriction
        self.contentObjectHashRestriction = contentObjectHashRestriction
        self.payload = payload
    }
}
