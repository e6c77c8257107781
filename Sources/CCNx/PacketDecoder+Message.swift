import Failures

/// The inside of a message, RFC 8609 section 3.6.
extension PacketDecoder {
    /// HopLimit and lifetime are in the headers; the caller adds them.
    mutating func interest(_ wire: [UInt8], in range: Range<Int>) throws(Failure) -> Interest {
        var name: Name?
        var keyIdRestriction: HashField?
        var hashRestriction: HashField?
        var payload: Range<Int>?
        var reader = TLVReader(wire, in: range)
        while let field = try next(&reader) {
            switch field.type {
            case FieldType.name:
                try fill(&name, with: try self.name(wire, field, first: range.lowerBound), "name")
            case FieldType.keyIdRestriction:
                let hash = try hash(wire, field, "KeyIdRestriction")
                try fill(&keyIdRestriction, with: hash, "KeyIdRestriction")
            case FieldType.contentObjectHashRestriction:
                let hash = try hash(wire, field, "ContentObjectHashRestriction")
                try fill(&hashRestriction, with: hash, "ContentObjectHashRestriction")
            case FieldType.payload:
                try fill(&payload, with: field.value, "payload")
            default:
                continue
            }
        }
        guard let name else { throw Failure(.invalid, "Interest has no name") }
        var interest = Interest(name: name, payload: payload.map { Array(wire[$0]) })
        switch keyIdRestriction {
        case .sha256(let digest): interest.keyIdRestriction = KeyId(digest)
        case .unsupported: interest.hasUnsupportedHashRestriction = true
        case nil: break
        }
        switch hashRestriction {
        case .sha256(let digest):
            interest.contentObjectHashRestriction = ContentObjectHash(digest)
        case .unsupported: interest.hasUnsupportedHashRestriction = true
        case nil: break
        }
        return interest
    }

    mutating func contentObject(
        _ wire: [UInt8],
        in range: Range<Int>
    ) throws(Failure) -> ContentObject {
        var name: Name?
        var payloadType: PayloadType?
        var payload: Range<Int>?
        var expiryTime: UInt64?
        var endChunkNumber: UInt64?
        var reader = TLVReader(wire, in: range)
        while let field = try next(&reader) {
            switch field.type {
            case FieldType.name:
                try fill(&name, with: try self.name(wire, field, first: range.lowerBound), "name")
            case FieldType.payloadType:
                let code = try number(wire, field, "payload type", byteCounts: 1...1)
                let type = PayloadType(code: UInt8(truncatingIfNeeded: code))
                try fill(&payloadType, with: type, "payload type")
            case FieldType.payload:
                try fill(&payload, with: field.value, "payload")
            case FieldType.expiryTime:
                let time = try number(wire, field, "expiry time", byteCounts: 8...8)
                try fill(&expiryTime, with: time, "expiry time")
            case chunkCodes.endChunkNumberField:
                let number = try number(wire, field, "end chunk number", byteCounts: 1...8)
                try fill(&endChunkNumber, with: number, "end chunk number")
            default:
                continue
            }
        }
        return ContentObject(
            name: name,
            payloadType: payloadType ?? .data,
            payload: payload.map { Array(wire[$0]) } ?? [],
            expiryTimeMilliseconds: expiryTime,
            endChunkNumber: endChunkNumber
        )
    }

    /// `first` is where the message's first field begins: a name stands nowhere else.
    private mutating func name(
        _ wire: [UInt8],
        _ field: TLV,
        first: Int
    ) throws(Failure) -> Name {
        guard field.start == first else {
            throw Failure(.invalid, "name is not the first field of its message")
        }
        var segments: [NameSegment] = []
        var reader = TLVReader(wire, in: field.value)
        while let segment = try next(&reader) {
            guard segment.type != FieldType.pad else {
                throw Failure(.invalid, "name has padding in it")
            }
            segments.append(NameSegment(type: segment.type, value: Array(wire[segment.value])))
        }
        guard let firstSegment = segments.first else {
            throw Failure(.invalid, "message has a name without segments")
        }
        guard !firstSegment.value.isEmpty else {
            throw Failure(.invalid, "name has an empty first segment")
        }
        return Name(segments: segments)
    }
}
