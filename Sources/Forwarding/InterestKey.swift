package import CCNx

/// What makes two Interests similar, so that one may wait for the other's answer (RFC 8569 section
/// 2.4.2): name and both restrictions.
package struct InterestKey: Hashable, Sendable {
    package let name: Name
    package let keyIdRestriction: KeyId?
    package let contentObjectHashRestriction: ContentObjectHash?

    package init(
        name: Name,
        keyIdRestriction: KeyId?,
        contentObjectHashRestriction: ContentObjectHash?
    ) {
        self.name = name
        self.keyIdRestriction = keyIdRestriction
        self.contentObjectHashRestriction = contentObjectHashRestriction
    }

    package init(_ interest: Interest) {
        self.init(
            name: interest.name,
            keyIdRestriction: interest.keyIdRestriction,
            contentObjectHashRestriction: interest.contentObjectHashRestriction
        )
    }
}
