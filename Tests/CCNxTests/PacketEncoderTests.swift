import CCNx
import Failures
import Testing

@Suite struct PacketEncoderTests {
    private let name = Name(segments: [.name("mycorp.com"), .name("app1"), .chunk(0)])
    private let digest = SHA256Digest(word0: 1, word1: 2, word2: 3, word3: 4)

    @Test func writesAHashInThirtySixBytes() throws {
        let hash = ContentObjectHash(digest)
        let plain = try PacketEncoder.encode(Interest(name: name))
        let restricted = try PacketEncoder.encode(
            Interest(name: name, contentObjectHashRestriction: hash)
        )
        #expect(restricted.count == plain.count + 40)
        #expect(Array(restricted.suffix(40).prefix(8)) == [0, 3, 0, 36, 0, 1, 0, 32])
    }

    @Test(
        arguments: [(0, 2), (1, 2), (65_535, 2), (65_536, 4), (4_294_967_295, 4)] as [(UInt64, Int)]
    )
    func writesLifetimesInTwoOrFourBytes(_ lifetime: UInt64, _ byteCount: Int) throws {
        let wire = try PacketEncoder.encode(Interest(name: name, lifetimeMilliseconds: lifetime))
        #expect(Int(wire[7]) == 8 + 4 + byteCount)
        guard case .interest(let interest) = try PacketDecoder.decode(wire).packet else { return }
        #expect(interest.lifetimeMilliseconds == lifetime)
    }

    @Test func boundsLifetimesThatNobodyWaits() throws {
        let wire = try PacketEncoder.encode(Interest(name: name, lifetimeMilliseconds: .max))
        guard case .interest(let interest) = try PacketDecoder.decode(wire).packet else { return }
        #expect(interest.lifetimeMilliseconds == UInt64(UInt32.max))
    }

    @Test func roundTripsEveryField() throws {
        let interest = Interest(
            name: name,
            hopLimit: 1,
            lifetimeMilliseconds: 70_000,
            keyIdRestriction: KeyId(digest),
            contentObjectHashRestriction: ContentObjectHash(digest),
            payload: []
        )
        let object = ContentObject(
            name: nil,
            payloadType: .link,
            payload: [1],
            expiryTimeMilliseconds: .max,
            endChunkNumber: 65_536,
            recommendedCacheTimeMilliseconds: 0
        )
        let validation = Validation(
            algorithm: .ecSecp384R1,
            keyId: KeyId(digest),
            publicKeyDER: [1, 2],
            keyLink: [3],
            signatureTimeMilliseconds: 77,
            payload: [9, 9]
        )
        let packets: [Packet] = [
            .interest(interest), .contentObject(object),
            .interestReturn(InterestReturn(code: .congested, interest: interest)),
        ]
        for packet in packets {
            let wire = try PacketEncoder.encode(packet, validation: validation)
            let decoded = try PacketDecoder.decode(wire)
            #expect(decoded.packet == packet)
            #expect(decoded.validation == validation)
            #expect(
                try PacketEncoder().encode(packet, validation: validation) as DecodedPacket
                    == decoded
            )
        }
    }

    @Test func signsInTwoSteps() throws {
        let object = ContentObject(name: name, payload: [1, 2, 3])
        let validation = Validation(algorithm: .rsaSHA256, keyId: KeyId(digest))
        let unvalidated = try PacketEncoder().prepare(
            .contentObject(object),
            validation: validation
        )
        let region = unvalidated.withValidatedBytes { CRC32C.checksum($0) }
        let validated = try unvalidated.validated(by: [8, 8, 8])
        let decoded = try PacketDecoder.decode(validated.wire)
        #expect(decoded == validated)
        #expect(decoded.validation?.payload == [8, 8, 8])
        #expect(decoded.withValidatedBytes { CRC32C.checksum($0) } == region)
    }

    @Test func refusesAPacketAboveTheLimit() throws {
        let frame = try PacketEncoder.encode(ContentObject(name: name, payload: [1])).count - 1
        let largest = ContentObject(
            name: name,
            payload: [UInt8](repeating: 1, count: 65_535 - frame)
        )
        #expect(try PacketEncoder.encode(largest).count == 65_535)
        for extra in [1, 100, 70_000] {
            let tooLarge = ContentObject(
                name: name,
                payload: largest.payload + [UInt8](repeating: 1, count: extra)
            )
            #expect { try PacketEncoder.encode(tooLarge) } throws: {
                ($0 as? Failure)?.kind == .tooLarge
            }
        }
        let unvalidated = try PacketEncoder().prepare(
            .contentObject(ContentObject(name: name, payload: [1])),
            validation: Validation(algorithm: .rsaSHA256)
        )
        #expect { try unvalidated.validated(by: [UInt8](repeating: 0, count: 70_000)) } throws: {
            ($0 as? Failure)?.kind == .tooLarge
        }
    }

    @Test func refusesNamesNoMessageCarries() {
        for name in [Name(), Name(segments: [.name("")])] {
            #expect { try PacketEncoder.encode(Interest(name: name)) } throws: {
                ($0 as? Failure)?.kind == .invalid
            }
        }
    }

    @Test func forwardsAnInterestWithOnlyItsHopLimitChanged() throws {
        let wire = RawPacket.interest(
            RawPacket.name + RawPacket.field(0x77, [1]),
            headers: RawPacket.field(0x1001, [4])
        )
        let forwarded = try PacketDecoder.decode(wire).interestWire(hopLimit: 3)
        #expect(forwarded[4] == 3)
        #expect(Array(forwarded.dropFirst(5)) == Array(wire.dropFirst(5)))
    }
}

@Suite struct PacketFramingTests {
    @Test func readsTheLengthFromTheFirstEightBytes() throws {
        let wire = try PacketVectors.bytes("cefore-object-plain-chunk00")
        #expect(try PacketFraming.packetLength(firstBytes: wire) == wire.count)
        #expect(try PacketFraming.packetLength(firstBytes: Array(wire.prefix(8))) == wire.count)
        #expect(try PacketFraming.packetLength(firstBytes: Array(wire.prefix(7))) == nil)
    }

    @Test(
        arguments: [
            0x0000_0020_0000_0008, 0x0200_0020_0000_0008, 0x0100_0007_0000_0008,
            0x0100_0000_0000_0000,
            0x0100_0020_0000_0007, 0x0100_0020_0000_0021,
        ] as [UInt64]
    )
    func refusesHeadersThatCannotBeFollowed(_ header: UInt64) {
        #expect { try PacketFraming.packetLength(header: header) } throws: {
            ($0 as? Failure)?.kind == .invalid
        }
    }

    @Test func refusesMoreThanAConfiguredLimit() throws {
        #expect(try PacketFraming.packetLength(header: 0x0100_0040_0000_0008, maximum: 64) == 64)
        #expect(throws: Failure.self) {
            try PacketFraming.packetLength(header: 0x0100_0041_0000_0008, maximum: 64)
        }
    }
}
