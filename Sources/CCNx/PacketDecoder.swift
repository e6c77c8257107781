package import Failures

/// Reads packets as RFC 8609 has them.
///
/// Lenient where other implementations differ: fields it does not know, padding and organisations'
/// own fields are skipped, hop-by-hop fields may come in any order, a lifetime or an end chunk number
/// may have one to eight bytes. Strict where two readings would be possible: lengths fit exactly,
/// nothing trails, a field that exists once comes once, the name comes first, and a hash is
/// type, length and value (36 bytes for SHA-256, section 3.6.4.1.4.1; the bare 32 bytes of the RFC's
/// Figures 30 and 31 are refused).
///
/// Throws `.invalid` for what is malformed and `.unsupported` for a whole packet of another type, such
/// as RFC 9508 ping, which a forwarder may drop without giving up its peer.
package struct PacketDecoder: Sendable {
    package var chunkCodes: ChunkCodes
    /// How many fields have been looked at: the decoder's work, for tests that it is linear.
    package private(set) var fieldsRead = 0

    package init(chunkCodes: ChunkCodes = .standard) {
        self.chunkCodes = chunkCodes
    }

    /// Decodes one whole packet. `wire` becomes part of the result; it is not copied.
    package static func decode(_ wire: [UInt8]) throws(Failure) -> DecodedPacket {
        var decoder = PacketDecoder()
        return try decoder.decode(wire)
    }

    /// The same for bytes that are only lent; they are copied once.
    package static func decode(_ bytes: RawSpan) throws(Failure) -> DecodedPacket {
        let span = Span<UInt8>(_bytes: bytes)
        return try decode(
            [UInt8](capacity: span.count) { output in
                for index in span.indices { output.append(span[index]) }
            }
        )
    }

    package mutating func decode(_ wire: [UInt8]) throws(Failure) -> DecodedPacket {
        guard let packetLength = try PacketFraming.packetLength(firstBytes: wire) else {
            throw Failure(
                .invalid,
                "packet of \(wire.count) bytes is shorter than its fixed header"
            )
        }
        guard packetLength == wire.count else {
            throw Failure(.invalid, "packet of \(wire.count) bytes says it has \(packetLength)")
        }
        let packetType = wire[FixedHeader.packetTypeOffset]
        guard packetType <= PacketType.interestReturn else {
            throw Failure(.unsupported, "packet has type \(packetType), which is not spoken here")
        }
        let headerLength = Int(wire[FixedHeader.headerLengthOffset])
        let headers = try hopByHopHeaders(wire, in: FixedHeader.byteCount..<headerLength)
        let parts = try topLevelParts(wire, in: headerLength..<wire.count, packetType: packetType)
        return DecodedPacket(
            packet: try packet(wire, type: packetType, message: parts.message, headers: headers),
            validation: try parts.algorithm.map { (algorithm) throws(Failure) in
                try validation(wire, in: algorithm, payload: parts.payload)
            },
            wire: wire,
            messageRange: headerLength..<wire.count,
            validatedRange: headerLength..<(parts.algorithm ?? parts.message).upperBound
        )
    }

    // MARK: Header and top level

    private struct HopByHopHeaders {
        var lifetimeMilliseconds: UInt64?
        var recommendedCacheTimeMilliseconds: UInt64?
        var messageHash: Range<Int>?
    }

    private mutating func hopByHopHeaders(
        _ wire: [UInt8],
        in range: Range<Int>
    ) throws(Failure) -> HopByHopHeaders {
        var headers = HopByHopHeaders()
        var reader = TLVReader(wire, in: range)
        while let field = try next(&reader) {
            switch field.type {
            case HopByHopType.interestLifetime:
                let lifetime = try number(wire, field, "lifetime", byteCounts: 1...8)
                try fill(&headers.lifetimeMilliseconds, with: lifetime, "lifetime")
            case HopByHopType.recommendedCacheTime:
                let time = try number(wire, field, "recommended cache time", byteCounts: 8...8)
                try fill(&headers.recommendedCacheTimeMilliseconds, with: time, "cache time")
            case HopByHopType.messageHash:
                try fill(&headers.messageHash, with: field.value, "message hash")
            default:
                continue
            }
        }
        return headers
    }

    private struct TopLevelParts {
        var message: Range<Int>
        var algorithm: Range<Int>?
        var payload: Range<Int>
    }

    /// The message, then optionally algorithm and payload in this order and side by side (what is
    /// signed must be one run of bytes), then fields nobody here knows.
    private mutating func topLevelParts(
        _ wire: [UInt8],
        in range: Range<Int>,
        packetType: UInt8
    ) throws(Failure) -> TopLevelParts {
        let expected =
            packetType == PacketType.contentObject
            ? TopLevelType.contentObject : TopLevelType.interest
        var reader = TLVReader(wire, in: range)
        guard let message = try next(&reader), message.type == expected else {
            throw Failure(.invalid, "packet of type \(packetType) does not begin with its message")
        }
        var parts = TopLevelParts(
            message: message.value,
            payload: range.upperBound..<range.upperBound
        )
        var isAwaitingPayload = false
        while let field = try next(&reader) {
            switch field.type {
            case TopLevelType.validationAlgorithm
            where parts.algorithm == nil && field.start == message.value.upperBound:
                parts.algorithm = field.value
                isAwaitingPayload = true
            case TopLevelType.validationPayload where isAwaitingPayload:
                parts.payload = field.value
                isAwaitingPayload = false
            case TopLevelType.interest...TopLevelType.validationPayload:
                throw Failure(.invalid, "part \(field.type) of a packet is out of place")
            case _ where isAwaitingPayload:
                throw Failure(
                    .invalid,
                    "validation algorithm of a packet is not followed by its payload"
                )
            default:
                continue
            }
        }
        guard !isAwaitingPayload else {
            throw Failure(
                .invalid,
                "validation algorithm of a packet is not followed by its payload"
            )
        }
        return parts
    }

    private mutating func packet(
        _ wire: [UInt8],
        type: UInt8,
        message: Range<Int>,
        headers: HopByHopHeaders
    ) throws(Failure) -> Packet {
        if type == PacketType.contentObject {
            var object = try contentObject(wire, in: message)
            object.recommendedCacheTimeMilliseconds = headers.recommendedCacheTimeMilliseconds
            return .contentObject(object)
        }
        var interest = try interest(wire, in: message)
        interest.hopLimit = wire[FixedHeader.hopLimitOffset]
        interest.lifetimeMilliseconds = headers.lifetimeMilliseconds
        guard type == PacketType.interestReturn else { return .interest(interest) }
        guard let code = ReturnCode(code: wire[FixedHeader.returnCodeOffset]) else {
            throw Failure(.invalid, "Interest Return has return code 0")
        }
        return .interestReturn(InterestReturn(code: code, interest: interest))
    }

    // MARK: What all containers share

    mutating func next(_ reader: inout TLVReader) throws(Failure) -> TLV? {
        guard let field = try reader.next() else { return nil }
        fieldsRead += 1
        return field
    }

    /// Fills a slot that a well-formed packet fills once.
    func fill<Value>(_ slot: inout Value?, with value: Value, _ what: String) throws(Failure) {
        guard slot == nil else { throw Failure(.invalid, "packet has more than one \(what)") }
        slot = value
    }

    func number(
        _ wire: [UInt8],
        _ field: TLV,
        _ what: String,
        byteCounts: ClosedRange<Int>
    ) throws(Failure) -> UInt64 {
        guard byteCounts.contains(field.value.count),
            let number = UInt64(bigEndianBytes: wire[field.value])
        else { throw Failure(.invalid, "\(what) has \(field.value.count) bytes") }
        return number
    }

    enum HashField {
        case sha256(SHA256Digest)
        /// A hash function that exists but is not computed here.
        case unsupported
    }

    /// A hash is itself a field inside the field that says what it is for.
    mutating func hash(_ wire: [UInt8], _ field: TLV, _ what: String) throws(Failure) -> HashField {
        var reader = TLVReader(wire, in: field.value)
        guard let inner = try next(&reader), inner.value.upperBound == field.value.upperBound else {
            throw Failure(.invalid, "\(what) does not hold exactly one hash")
        }
        switch inner.type {
        case HashType.sha256:
            guard let digest = SHA256Digest(bytes: wire.span.extracting(inner.value)) else {
                throw Failure(.invalid, "\(what) has \(inner.value.count) bytes of SHA-256")
            }
            return .sha256(digest)
        default:
            // Also what was registered after the RFC: the packet is well-formed, only nobody here can hash so.
            return .unsupported
        }
    }
}
