import CCNx
import Failures
import Testing

/// Builds packets by hand, right and wrong ones.
struct RawPacket {
    var version: UInt8 = 1
    var type: UInt8 = 0
    var hopLimit: UInt8 = 32
    var returnCode: UInt8 = 0
    var headers: [UInt8] = []
    var body: [UInt8] = []
    var packetLength: Int?
    var headerLength: Int?

    var bytes: [UInt8] {
        let length = packetLength ?? 8 + headers.count + body.count
        return [
            version, type, UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF), hopLimit, returnCode, 0,
            UInt8(headerLength ?? 8 + headers.count),
        ] + headers + body
    }

    static func field(_ type: Int, _ value: [UInt8]) -> [UInt8] {
        [UInt8(type >> 8), UInt8(type & 0xFF), UInt8(value.count >> 8), UInt8(value.count & 0xFF)]
            + value
    }

    static let name = field(0, field(1, Array("a".utf8)))
    static func interest(_ message: [UInt8], headers: [UInt8] = [], after: [UInt8] = []) -> [UInt8]
    {
        RawPacket(headers: headers, body: field(1, message) + after).bytes
    }
    static func object(_ message: [UInt8], headers: [UInt8] = [], after: [UInt8] = []) -> [UInt8] {
        RawPacket(type: 1, hopLimit: 0, headers: headers, body: field(2, message) + after).bytes
    }
}

private let field = RawPacket.field
private let name = RawPacket.name
private let digest = [UInt8](repeating: 7, count: 32)
private let nestedHash = field(1, digest)

@Suite struct PacketDecoderTests {
    private func interest(_ wire: [UInt8]) throws -> Interest {
        guard case .interest(let interest) = try PacketDecoder.decode(wire).packet else {
            throw Failure(.invalid, "not an Interest")
        }
        return interest
    }

    private func object(_ wire: [UInt8]) throws -> ContentObject {
        guard case .contentObject(let object) = try PacketDecoder.decode(wire).packet else {
            throw Failure(.invalid, "not a Content Object")
        }
        return object
    }

    private func refuses(
        _ wire: [UInt8],
        as kind: Failure.Kind = .invalid,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do {
            let decoded = try PacketDecoder.decode(wire)
            Issue.record("accepted \(decoded.packet)", sourceLocation: sourceLocation)
        } catch {
            #expect(error.kind == kind, sourceLocation: sourceLocation)
        }
    }

    // MARK: What is let pass

    @Test func skipsUnknownFieldsPaddingAndOrganisationsOwn() throws {
        let noise = field(0x0FFE, [0, 0, 0]) + field(0x0FFF, [0, 0, 1, 9]) + field(0x1234, [1])
        let wire = RawPacket.interest(
            name + noise + field(1, [5]),
            headers: noise + field(1, [1, 0]) + noise,
            after: noise
        )
        let interest = try interest(wire)
        #expect(interest.payload == [5])
        #expect(interest.lifetimeMilliseconds == 256)
    }

    @Test(arguments: 1...8)
    func readsLifetimesOfAnyWidth(_ byteCount: Int) throws {
        let value = [UInt8](repeating: 0, count: byteCount - 1) + [9]
        let interest = try interest(RawPacket.interest(name, headers: field(1, value)))
        #expect(interest.lifetimeMilliseconds == 9)
    }

    @Test func readsHopByHopFieldsInAnyOrder() throws {
        let cacheTime = field(2, [0, 0, 0, 0, 0, 0, 0, 5])
        let hash = field(3, nestedHash)
        #expect(
            try object(RawPacket.object(name, headers: hash + cacheTime))
                .recommendedCacheTimeMilliseconds
                == 5
        )
        #expect(
            try object(RawPacket.object(name, headers: cacheTime + hash))
                .recommendedCacheTimeMilliseconds
                == 5
        )
    }

    @Test func readsRestrictions() throws {
        let wire = RawPacket.interest(name + field(3, nestedHash) + field(2, nestedHash))
        let interest = try interest(wire)
        #expect(interest.keyIdRestriction?.digest.bytes == digest)
        #expect(interest.contentObjectHashRestriction?.digest.bytes == digest)
    }

    @Test func tellsThatARestrictionUsesAnotherHash() throws {
        let sha512 = field(2, [UInt8](repeating: 1, count: 64))
        let organisationsOwn = field(0x0FFF, [0, 0, 1, 9])
        let registeredLater = field(9, digest)
        for hash in [sha512, organisationsOwn, registeredLater] {
            for restriction in [2, 3] {
                let wire = RawPacket.interest(name + field(restriction, hash))
                #expect(try interest(wire).hasUnsupportedHashRestriction)
            }
        }
    }

    @Test func readsEmptyAndOrganisationsOwnSegmentsOfANameAsTheyAre() throws {
        let own: [UInt8] = [0, 0, 1, 9]
        let segments = field(1, [65]) + field(1, []) + field(0x0FFF, own)
        let name = try interest(RawPacket.interest(field(0, segments))).name
        #expect(
            name.segments == [
                .name("A"), .name(""), NameSegment(type: 0x0FFF, value: own),
            ]
        )
    }

    @Test func readsANamelessObject() throws {
        let object = try object(RawPacket.object(field(1, [1, 2])))
        #expect(object.name == nil)
        #expect(object.payload == [1, 2])
    }

    @Test func readsAnObjectWithoutPayload() throws {
        #expect(try object(RawPacket.object(name)).payload == [])
    }

    @Test func readsAPaddedEndChunkNumber() throws {
        #expect(try object(RawPacket.object(name + field(8, [0, 0, 0, 3]))).endChunkNumber == 3)
    }

    @Test func readsTheEndChunkNumberUnderAnotherCode() throws {
        var decoder = PacketDecoder(
            chunkCodes: ChunkCodes(segmentType: 0x10, endChunkNumberField: 0x0C)
        )
        let decoded = try decoder.decode(RawPacket.object(name + field(0x0C, [7])))
        guard case .contentObject(let object) = decoded.packet else { return }
        #expect(object.endChunkNumber == 7)
    }

    @Test func readsPayloadTypes() throws {
        #expect(try object(RawPacket.object(name + field(5, [1]))).payloadType == .key)
        #expect(try object(RawPacket.object(name + field(5, [3]))).payloadType == .other(3))
    }

    @Test func readsLentBytes() throws {
        let wire = RawPacket.interest(name)
        #expect(try PacketDecoder.decode(wire).wire == wire)
    }

    @Test func placesTheRangesThatAreHashedAndSigned() throws {
        let algorithm = field(3, field(2, []))
        let payload = field(4, [1, 2, 3, 4])
        let wire = RawPacket.object(name, headers: field(3, nestedHash), after: algorithm + payload)
        let decoded = try PacketDecoder.decode(wire)
        #expect(decoded.messageRange == (8 + 40)..<wire.count)
        #expect(decoded.validatedRange == (8 + 40)..<(wire.count - 8))
    }

    // MARK: What is refused

    @Test func refusesTruncatedPacketsAtEveryLength() throws {
        let wire = try PacketVectors.bytes("cefore-object-rsa-chunk01")
        for count in 0..<wire.count { refuses(Array(wire.prefix(count))) }
    }

    @Test func refusesAPacketWithBytesAfterIt() throws {
        refuses(RawPacket.interest(name) + [0])
    }

    @Test func refusesAnotherVersion() {
        refuses(RawPacket(version: 2, body: field(1, name)).bytes)
        refuses(RawPacket(version: 0, body: field(1, name)).bytes)
    }

    @Test func refusesAHeaderLengthThatCannotBe() {
        refuses(RawPacket(body: field(1, name), headerLength: 7).bytes)
        refuses(RawPacket(body: field(1, name), headerLength: 9).bytes)
        refuses(RawPacket(body: field(1, name), headerLength: 255).bytes)
        refuses(RawPacket(body: field(1, name), packetLength: 7).bytes)
    }

    @Test func refusesOtherPacketTypesAsUnsupportedOnly() {
        for type in UInt8(3)...8 {
            refuses(RawPacket(type: type, body: field(1, name)).bytes, as: .unsupported)
        }
    }

    @Test func refusesAMessageOfAnotherKindThanThePacket() {
        refuses(RawPacket(type: 1, body: field(1, name)).bytes)
        refuses(RawPacket(type: 0, body: field(2, name)).bytes)
        refuses(RawPacket(type: 0).bytes)
    }

    @Test func refusesReturnCodeZero() {
        refuses(RawPacket(type: 2, returnCode: 0, body: field(1, name)).bytes)
    }

    @Test func refusesASecondOne() {
        let lifetime = field(1, [1])
        refuses(RawPacket.interest(name, headers: lifetime + lifetime))
        refuses(RawPacket.interest(name + name))
        refuses(RawPacket.interest(name + field(1, []) + field(1, [])))
        refuses(RawPacket.interest(name + field(2, nestedHash) + field(2, nestedHash)))
        refuses(RawPacket.interest(name + field(3, nestedHash) + field(3, nestedHash)))
        refuses(RawPacket.interest(name, after: field(1, name)))
        let expiry = field(6, [0, 0, 0, 0, 0, 0, 0, 1])
        refuses(RawPacket.object(name + expiry + expiry))
        refuses(RawPacket.object(name + field(8, [1]) + field(8, [1])))
        refuses(RawPacket.object(name + field(5, [1]) + field(5, [1])))
    }

    @Test func refusesNumbersOfAWrongWidth() {
        refuses(RawPacket.interest(name, headers: field(1, [])))
        refuses(RawPacket.interest(name, headers: field(1, [UInt8](repeating: 0, count: 9))))
        refuses(RawPacket.object(name, headers: field(2, [1, 2, 3, 4])))
        refuses(RawPacket.object(name + field(6, [1, 2, 3, 4, 5, 6, 7])))
        refuses(RawPacket.object(name + field(5, [])))
        refuses(RawPacket.object(name + field(5, [0, 0])))
        refuses(RawPacket.object(name + field(8, [])))
        refuses(RawPacket.object(name + field(8, [UInt8](repeating: 0, count: 9))))
    }

    @Test func refusesBareAndBrokenHashes() {
        refuses(RawPacket.interest(name + field(2, digest)))
        refuses(RawPacket.interest(name + field(3, digest)))
        refuses(RawPacket.interest(name + field(3, [])))
        refuses(RawPacket.interest(name + field(3, field(1, Array(digest.dropLast())))))
        refuses(RawPacket.interest(name + field(3, nestedHash + [0])))
        refuses(RawPacket.interest(name + field(3, nestedHash + nestedHash)))
    }

    @Test func refusesNamesThatCannotBe() {
        refuses(RawPacket.interest([]))
        refuses(RawPacket.interest(field(0, [])))
        refuses(RawPacket.interest(field(0, field(1, []))))
        refuses(RawPacket.interest(field(0, field(1, [65]) + field(0x0FFE, [0]))))
        refuses(RawPacket.interest(field(1, [1]) + name))
        refuses(RawPacket.object(field(1, [1]) + name))
        refuses(RawPacket.interest(field(0, [0, 1, 0])))
        refuses(RawPacket.interest(field(0, [0, 1, 0, 2, 65])))
    }

    @Test func refusesValidationOutOfPlace() {
        let algorithm = field(3, field(2, []))
        let payload = field(4, [1, 2, 3, 4])
        refuses(RawPacket.object(name, after: algorithm))
        refuses(RawPacket.object(name, after: payload))
        refuses(RawPacket.object(name, after: payload + algorithm))
        refuses(RawPacket.object(name, after: algorithm + payload + payload))
        refuses(RawPacket.object(name, after: algorithm + algorithm + payload))
        refuses(RawPacket.object(name, after: field(0x99, []) + algorithm + payload))
        refuses(RawPacket.object(name, after: algorithm + field(0x99, []) + payload))
        refuses(RawPacket.object(name, after: field(3, []) + payload))
        refuses(RawPacket.object(name, after: field(3, field(2, []) + field(2, [])) + payload))
        refuses(RawPacket.object(name, after: field(3, field(5, field(9, digest))) + payload))
        refuses(RawPacket.object(name, after: field(3, field(5, field(15, [1, 2]))) + payload))
    }

    @Test func refusesAFieldLongerThanWhatHoldsIt() {
        refuses(RawPacket.interest(name + [0, 1, 0, 2, 9]))
        refuses(RawPacket.interest(name, headers: [0, 1, 0, 9, 1]))
        refuses(RawPacket.interest(name, after: [0, 9]))
    }

    // MARK: Work

    /// Names, unknown fields and headers of one byte each are the most fields a packet can have.
    @Test func looksAtEachFieldOnce() throws {
        let segments = Array([[UInt8]](repeating: field(1, [65]), count: 6_000).joined())
        let unknown = Array([[UInt8]](repeating: field(0x77, []), count: 8_000).joined())
        var decoder = PacketDecoder()
        let wire = RawPacket.interest(field(0, segments) + unknown)
        _ = try decoder.decode(wire)
        #expect(decoder.fieldsRead == 1 + 1 + 6_000 + 8_000)
        #expect(decoder.fieldsRead <= wire.count / 4)
    }
}
