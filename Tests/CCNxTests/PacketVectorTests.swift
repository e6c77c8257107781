import CCNx
import Testing

@Suite struct PacketVectorTests {
    private func name(_ kind: String, chunk: UInt64) -> Name {
        Name(segments: ["mycorp.com", "app1", "linuxvm", kind].map { .name($0) })
            .appending(.chunk(chunk))
    }

    private func decode(_ vector: String) throws -> DecodedPacket {
        try PacketDecoder.decode(try PacketVectors.bytes(vector))
    }

    @Test(arguments: PacketVectors.canonical)
    func reencodesToTheSameBytes(_ vector: String) throws {
        let wire = try PacketVectors.bytes(vector)
        let decoded = try PacketDecoder.decode(wire)
        let again = try PacketEncoder.encode(decoded.packet, validation: decoded.validation)
        #expect(again == wire)
        let whole: DecodedPacket = try PacketEncoder()
            .encode(decoded.packet, validation: decoded.validation)
        #expect(whole == decoded)
    }

    @Test(arguments: [("plain", "non"), ("crc32c", "crc"), ("rsa", "rsa")])
    func readsInterests(_ file: String, _ kind: String) throws {
        let decoded = try decode("cefore-interest-\(file)-chunk00")
        let expected = Interest(
            name: name(kind, chunk: 0),
            hopLimit: 32,
            lifetimeMilliseconds: 2_000
        )
        #expect(decoded.packet == .interest(expected))
    }

    @Test func readsThePlainObjects() throws {
        guard case .contentObject(let first) = try decode("cefore-object-plain-chunk00").packet,
            case .contentObject(let last) = try decode("cefore-object-plain-chunk01").packet
        else {
            Issue.record("not Content Objects")
            return
        }
        #expect(first.name == name("non", chunk: 0))
        #expect(first.payload == Array(0..<64))
        #expect(first.endChunkNumber == nil)
        #expect(first.expiryTimeMilliseconds == 0x01_A20A_34F3_6F)
        #expect(first.recommendedCacheTimeMilliseconds == 0x01_A20A_0298_CF)
        #expect(last.name == name("non", chunk: 1))
        #expect(last.payload == Array(64..<100))
        #expect(last.endChunkNumber == 1)
        #expect(last.payloadType == .data)
    }

    @Test(arguments: ["cefore-interest-crc32c-chunk00", "cefore-object-crc32c-chunk01"])
    func computesTheirChecksums(_ vector: String) throws {
        let decoded = try decode(vector)
        let validation = try #require(decoded.validation)
        #expect(validation.algorithm == .crc32c)
        let checksum = decoded.withValidatedBytes { CRC32C.checksum($0) }
        #expect(validation.payload == checksum.bigEndianBytes)
        #expect(try PacketEncoder.encodeWithChecksum(decoded.packet) == decoded.wire)
    }

    @Test(arguments: ["cefore-interest-rsa-chunk00", "cefore-object-rsa-chunk01"])
    func readsWhatIsSaidAboutTheKey(_ vector: String) throws {
        let validation = try #require(try decode(vector).validation)
        #expect(validation.algorithm == .rsaSHA256)
        #expect(validation.keyId?.digest.hex.hasPrefix("626e90e5b1f16d7a") == true)
        #expect(validation.publicKeyDER?.count == 294)
        #expect(validation.payload.count == 256)
    }

    @Test(arguments: [
        ("cefore-interest-return-01", ReturnCode.noRoute, UInt8(32)),
        ("cefore-interest-return-02", ReturnCode.hopLimitExceeded, UInt8(0)),
    ])
    func readsInterestReturns(_ vector: String, _ code: ReturnCode, _ hopLimit: UInt8) throws {
        guard case .interestReturn(let back) = try decode(vector).packet else {
            Issue.record("not an Interest Return")
            return
        }
        #expect(back.code == code)
        #expect(back.interest.hopLimit == hopLimit)
        #expect(back.interest.lifetimeMilliseconds == 2_000)
        #expect(back.interest.name.segments.first == .name("mycorp.com"))
    }

    @Test func anInterestReturnIsTheInterestWithTypeAndCodeChanged() throws {
        let returned = try decode("cefore-interest-return-01")
        guard case .interestReturn(let back) = returned.packet else { return }
        let interest: DecodedPacket = try PacketEncoder().encode(.interest(back.interest))
        #expect(interest.interestReturnWire(code: .noRoute) == returned.wire)
    }
}
