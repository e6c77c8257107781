// The type codes of RFC 8609 that this project reads or writes. A code means something only inside
// its container.

/// Fixed header, RFC 8609 section 3.2:
///
///      0         1            2..3           4          5            6       7
///     +---------+------------+--------------+----------+------------+-------+--------------+
///     | version | PacketType | PacketLength | HopLimit | ReturnCode | flags | HeaderLength |
///     +---------+------------+--------------+----------+------------+-------+--------------+
///
/// HopLimit and ReturnCode are zero where the packet type has none.
package enum FixedHeader {
    package static let byteCount = 8
    package static let version: UInt8 = 1
    package static let packetTypeOffset = 1
    package static let packetLengthOffset = 2
    static let hopLimitOffset = 4
    static let returnCodeOffset = 5
    package static let headerLengthOffset = 7
}

enum PacketType {
    static let interest: UInt8 = 0
    static let contentObject: UInt8 = 1
    static let interestReturn: UInt8 = 2
}

/// RFC 8609 section 3.4.
enum HopByHopType {
    static let interestLifetime: UInt16 = 0x0001
    static let recommendedCacheTime: UInt16 = 0x0002
    static let messageHash: UInt16 = 0x0003
}

/// RFC 8609 section 3.5.
enum TopLevelType {
    static let interest: UInt16 = 0x0001
    static let contentObject: UInt16 = 0x0002
    static let validationAlgorithm: UInt16 = 0x0003
    static let validationPayload: UInt16 = 0x0004
}

/// RFC 8609 section 3.6. The field with the number of the last chunk is in ``ChunkCodes``.
enum FieldType {
    static let name: UInt16 = 0x0000
    static let payload: UInt16 = 0x0001
    static let keyIdRestriction: UInt16 = 0x0002
    static let contentObjectHashRestriction: UInt16 = 0x0003
    static let payloadType: UInt16 = 0x0005
    static let expiryTime: UInt16 = 0x0006
    /// Padding, in every container but a name (section 3.3.1).
    static let pad: UInt16 = 0x0FFE
}

/// RFC 8609 section 3.6.1.
package enum NameSegmentType {
    package static let name: UInt16 = 0x0001
    package static let ipid: UInt16 = 0x0002
    package static let application: ClosedRange<UInt16> = 0x1000...0x1FFF
}

/// RFC 8609 section 3.3.3; no other is computed here.
enum HashType {
    static let sha256: UInt16 = 0x0001
}

/// What a validation algorithm carries with it, RFC 8609 section 3.6.4.1.4.
enum ValidationDataType {
    static let keyId: UInt16 = 0x0009
    static let publicKey: UInt16 = 0x000B
    static let keyLink: UInt16 = 0x000E
    static let signatureTime: UInt16 = 0x000F
}
