package import Failures

/// Writes packets in one canonical form (RFC 8609 section 3).
///
/// - Interest: T_INTLIFE in 2 bytes, or 4 if it does not fit; name, KeyIdRestriction,
///   ContentObjectHashRestriction, payload.
/// - Content Object: T_CACHETIME; name, payload type unless it is data, expiry time, end chunk number
///   in minimal form, payload unless it is empty.
/// - Validation: KeyId, public key, KeyLink, signature time.
///
/// Throws `.tooLarge` if the packet would pass 65,535 bytes, and `.invalid` for a message that no
/// decoder would take.
package struct PacketEncoder: Sendable {
    /// Enough for every header and field but the payload, in the usual case.
    private static let overhead = 1_024

    package var chunkCodes: ChunkCodes

    package init(chunkCodes: ChunkCodes = .standard) {
        self.chunkCodes = chunkCodes
    }

    package static func encode(_ interest: Interest) throws(Failure) -> [UInt8] {
        try encode(.interest(interest))
    }

    package static func encode(_ object: ContentObject) throws(Failure) -> [UInt8] {
        try encode(.contentObject(object))
    }

    package static func encode(_ interestReturn: InterestReturn) throws(Failure) -> [UInt8] {
        try encode(.interestReturn(interestReturn))
    }

    /// `validation`, if any, is written as it stands, its payload included.
    package static func encode(
        _ packet: Packet,
        validation: Validation? = nil
    ) throws(Failure) -> [UInt8] {
        try PacketEncoder().encode(packet, validation: validation).wire
    }

    /// The packet with the CRC32C of its message, which guards against accidents only.
    package static func encodeWithChecksum(_ packet: Packet) throws(Failure) -> [UInt8] {
        let unvalidated = try PacketEncoder().prepare(
            packet,
            validation: Validation(algorithm: .crc32c)
        )
        let checksum = unvalidated.withValidatedBytes { CRC32C.checksum($0) }
        return try unvalidated.validated(by: checksum.bigEndianBytes).wire
    }

    /// The first of two steps to a signed packet: everything up to what is to be signed.
    /// The payload of `validation` is ignored; it is what the second step adds.
    package func prepare(
        _ packet: Packet,
        validation: Validation
    ) throws(Failure) -> UnvalidatedPacket {
        var writer = try write(packet, validation: validation)
        let headerLength = Int(writer.bytes[FixedHeader.headerLengthOffset])
        let validatedRange = headerLength..<writer.count
        try finish(&writer)
        return UnvalidatedPacket(
            packet: packet,
            validation: validation,
            wire: writer.bytes,
            validatedRange: validatedRange
        )
    }

    /// The packet as decoding its encoding would give it, without decoding it.
    package func encode(
        _ packet: Packet,
        validation: Validation? = nil
    ) throws(Failure) -> DecodedPacket {
        var writer = try write(packet, validation: validation)
        let headerLength = Int(writer.bytes[FixedHeader.headerLengthOffset])
        let validatedEnd = writer.count
        if let validation {
            try writer.field(TopLevelType.validationPayload, validation.payload)
        }
        try finish(&writer)
        return DecodedPacket(
            packet: packet,
            validation: validation,
            wire: writer.bytes,
            messageRange: headerLength..<writer.count,
            validatedRange: headerLength..<validatedEnd
        )
    }

    // MARK: Leaves

    /// Fixed header with PacketLength 0, hop-by-hop headers, message, validation algorithm.
    private func write(_ packet: Packet, validation: Validation?) throws(Failure) -> PacketWriter {
        let writer: PacketWriter
        switch packet {
        case .interest(let interest):
            writer = try write(interest, type: PacketType.interest, returnCode: 0)
        case .interestReturn(let back):
            let type = PacketType.interestReturn
            writer = try write(back.interest, type: type, returnCode: back.code.code)
        case .contentObject(let object):
            writer = try write(object)
        }
        guard let validation else { return writer }
        return try appending(validation, to: writer)
    }

    private func write(
        _ interest: Interest,
        type: UInt8,
        returnCode: UInt8
    ) throws(Failure) -> PacketWriter {
        guard !interest.hasUnsupportedHashRestriction else {
            throw Failure(.invalid, "Interest for \(interest.name) has a restriction unknown here")
        }
        var writer = PacketWriter(reserving: Self.overhead + (interest.payload?.count ?? 0))
        writer.append([FixedHeader.version, type, 0, 0, interest.hopLimit, returnCode, 0, 0])
        if let lifetime = interest.lifetimeMilliseconds {
            // 2^32 ms are 49 days: whoever waits longer is not told apart.
            let bounded = min(lifetime, UInt64(UInt32.max))
            let byteCount = bounded <= UInt64(UInt16.max) ? 2 : 4
            try writer.field(HopByHopType.interestLifetime, bounded, byteCount: byteCount)
        }
        writer.put(UInt8(writer.count), at: FixedHeader.headerLengthOffset)
        try writer.container(TopLevelType.interest) { (message) throws(Failure) in
            try write(interest.name, to: &message)
            if let keyId = interest.keyIdRestriction {
                try message.field(FieldType.keyIdRestriction, keyId.digest)
            }
            if let hash = interest.contentObjectHashRestriction {
                try message.field(FieldType.contentObjectHashRestriction, hash.digest)
            }
            if let payload = interest.payload { try message.field(FieldType.payload, payload) }
        }
        return writer
    }

    private func write(_ object: ContentObject) throws(Failure) -> PacketWriter {
        var writer = PacketWriter(reserving: Self.overhead + object.payload.count)
        writer.append([FixedHeader.version, PacketType.contentObject, 0, 0, 0, 0, 0, 0])
        if let time = object.recommendedCacheTimeMilliseconds {
            try writer.field(HopByHopType.recommendedCacheTime, time, byteCount: 8)
        }
        writer.put(UInt8(writer.count), at: FixedHeader.headerLengthOffset)
        try writer.container(TopLevelType.contentObject) { (message) throws(Failure) in
            if let name = object.name { try write(name, to: &message) }
            if object.payloadType != .data {
                try message.field(FieldType.payloadType, [object.payloadType.code])
            }
            if let time = object.expiryTimeMilliseconds {
                try message.field(FieldType.expiryTime, time, byteCount: 8)
            }
            if let number = object.endChunkNumber {
                try message.field(chunkCodes.endChunkNumberField, number.minimalBytes)
            }
            if !object.payload.isEmpty { try message.field(FieldType.payload, object.payload) }
        }
        return writer
    }

    private func write(_ name: Name, to writer: inout PacketWriter) throws(Failure) {
        guard let first = name.segments.first, !first.value.isEmpty else {
            throw Failure(.invalid, "name \(name) cannot stand in a message")
        }
        try writer.container(FieldType.name) { (writer) throws(Failure) in
            for segment in name.segments { try writer.field(segment.type, segment.value) }
        }
    }

    private func appending(
        _ validation: Validation,
        to unvalidated: PacketWriter
    ) throws(Failure) -> PacketWriter {
        var writer = unvalidated
        try writer.container(TopLevelType.validationAlgorithm) { (writer) throws(Failure) in
            try writer.container(validation.algorithm.code) { (writer) throws(Failure) in
                if let keyId = validation.keyId {
                    try writer.field(ValidationDataType.keyId, keyId.digest)
                }
                if let key = validation.publicKeyDER {
                    try writer.field(ValidationDataType.publicKey, key)
                }
                if let link = validation.keyLink {
                    try writer.field(ValidationDataType.keyLink, link)
                }
                if let time = validation.signatureTimeMilliseconds {
                    try writer.field(ValidationDataType.signatureTime, time, byteCount: 8)
                }
            }
        }
        return writer
    }

    private func finish(_ writer: inout PacketWriter) throws(Failure) {
        guard let length = UInt16(exactly: writer.count) else {
            throw Failure(.tooLarge, "packet would have \(writer.count) bytes; the limit is 65535")
        }
        writer.put(length, at: FixedHeader.packetLengthOffset)
    }
}

extension UInt32 {
    package var bigEndianBytes: [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: self >> $0) }
    }
}
