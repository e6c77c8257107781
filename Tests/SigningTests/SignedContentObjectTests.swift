import CCNx
import Failures
import Foundation
import Signing
import Testing

@Suite struct SignedContentObjectTests {
    private let object = ContentObject(
        name: Name(segments: [.name("mycorp.com"), .name("app1"), .chunk(0)]),
        payload: Array("record".utf8),
        expiryTimeMilliseconds: 5
    )

    private func kind(_ body: () throws -> Void) -> Failure.Kind? {
        do {
            try body()
            return nil
        } catch { return (error as? Failure)?.kind }
    }

    private func vector(_ name: String) throws -> DecodedPacket {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/vectors/\(name).hex")
        let text = try String(contentsOf: file, encoding: .utf8).filter { !$0.isWhitespace }
        return try PacketDecoder.decode(try #require(Hex.bytes(text)))
    }

    @Test func isBelievedByWhoExpectsItsKey() throws {
        for key in [try TestKeys.rsa.get(), try TestKeys.ec.get()] {
            let wire = try SignedContentObject.sign(
                object,
                with: key,
                signatureTimeMilliseconds: 77
            )
            let packet = try PacketDecoder.decode(wire)
            #expect(packet.packet == .contentObject(object))
            let made = try SignedContentObject.packet(
                object,
                with: key,
                signatureTimeMilliseconds: 77
            )
            // Signatures of EC keys differ each time.
            #expect(try PacketDecoder.decode(made.wire) == made)
            #expect(packet.validation?.keyId == key.publicKey.keyId)
            #expect(packet.validation?.signatureTimeMilliseconds == 77)
            #expect(try ValidationCheck.embeddedKey(of: packet) == key.publicKey)
            try ValidationCheck.verify(packet, expecting: key.publicKey)
            try ValidationCheck.verifyChecksum(packet)
        }
    }

    @Test func isNotBelievedByWhoExpectsAnotherKey() throws {
        let keys = [try TestKeys.rsa.get(), try TestKeys.otherRSA.get(), try TestKeys.ec.get()]
        for key in keys {
            let packet = try PacketDecoder.decode(
                try SignedContentObject.sign(object, with: key, signatureTimeMilliseconds: nil)
            )
            for other in keys where other.publicKey != key.publicKey {
                #expect(
                    kind { try ValidationCheck.verify(packet, expecting: other.publicKey) }
                        == .untrusted
                )
            }
        }
    }

    /// Every byte from the message on is vouched for; the hop-by-hop header is not.
    @Test func isNotBelievedAfterAnyByteChanged() throws {
        let key = try TestKeys.ec.get()
        var dated = object
        dated.recommendedCacheTimeMilliseconds = 1
        let wire = try SignedContentObject.sign(dated, with: key, signatureTimeMilliseconds: 9)
        let start = try PacketDecoder.decode(wire).messageRange.lowerBound
        for index in start..<wire.count {
            var damaged = wire
            damaged[index] ^= 0x10
            guard let packet = try? PacketDecoder.decode(damaged) else { continue }
            let kind = kind { try ValidationCheck.verify(packet, expecting: key.publicKey) }
            #expect(kind == .untrusted || kind == .corrupt, "byte \(index)")
        }
        var recached = wire
        recached[start - 1] ^= 0x10
        try ValidationCheck.verify(try PacketDecoder.decode(recached), expecting: key.publicKey)
    }

    @Test func isNotBelievedWithoutASignature() throws {
        let key = try TestKeys.ec.get().publicKey
        let plain = try PacketDecoder.decode(try PacketEncoder.encode(object))
        #expect(kind { try ValidationCheck.verify(plain, expecting: key) } == .untrusted)
        let checksum = try PacketDecoder.decode(
            try PacketEncoder.encodeWithChecksum(.contentObject(object))
        )
        #expect(kind { try ValidationCheck.verify(checksum, expecting: key) } == .untrusted)
    }

    @Test func refusesAKeyThatIsNotTheOneItNames() throws {
        let key = try TestKeys.ec.get()
        let other = try TestKeys.rsa.get().publicKey
        let validation = Validation(
            algorithm: .ecSecp384R1,
            keyId: other.keyId,
            publicKeyDER: key.publicKey.derBytes
        )
        let unsigned = try PacketEncoder().prepare(.contentObject(object), validation: validation)
        let signature = try unsigned.withValidatedBytes { (bytes) throws(Failure) in
            try key.sign(bytes)
        }
        let packet = try PacketDecoder.decode(try unsigned.validated(by: signature).wire)
        #expect(kind { try ValidationCheck.verify(packet, expecting: key.publicKey) } == .corrupt)
        #expect(kind { _ = try ValidationCheck.embeddedKey(of: packet) } == .corrupt)
    }

    @Test func acceptsASignatureThatNamesNoKey() throws {
        let key = try TestKeys.ec.get()
        let unsigned = try PacketEncoder()
            .prepare(.contentObject(object), validation: Validation(algorithm: .ecSecp384R1))
        let signature = try unsigned.withValidatedBytes { (bytes) throws(Failure) in
            try key.sign(bytes)
        }
        let packet = try PacketDecoder.decode(try unsigned.validated(by: signature).wire)
        try ValidationCheck.verify(packet, expecting: key.publicKey)
        #expect(try ValidationCheck.embeddedKey(of: packet) == nil)
    }

    @Test func refusesSignaturesThatDoNotSayTheirHashUnlessTold() throws {
        for name in ["cefore-object-rsa-chunk01", "cefore-interest-rsa-chunk00"] {
            let packet = try vector(name)
            let key = try #require(try ValidationCheck.embeddedKey(of: packet))
            #expect(kind { try ValidationCheck.verify(packet, expecting: key) } == .untrusted)
            let lenient = VerificationPolicy(acceptCeforeRSA: true)
            try ValidationCheck.verify(packet, expecting: key, policy: lenient)
            var damaged = packet.wire
            damaged[packet.messageRange.lowerBound + 20] ^= 1
            let altered = try PacketDecoder.decode(damaged)
            #expect(
                kind { try ValidationCheck.verify(altered, expecting: key, policy: lenient) }
                    == .untrusted
            )
        }
    }

    @Test(arguments: [
        (
            "cefore-object-plain-chunk00",
            "c9dbc8e9e40e1c6b89635614aada661ddeae9eaa2c3103735eaf3e70efc10a9d"
        ),
        (
            "cefore-object-plain-chunk01",
            "07d4aff81014a562876591d6749330430e876b2df994b0354a96a68f574f8e58"
        ),
        (
            "cefore-object-crc32c-chunk01",
            "4e0329151bb9a0a881871251edceb8780cf9b83f8b0a4cc489b6e7d99d5a7a31"
        ),
        (
            "cefore-object-rsa-chunk01",
            "c9ec52770e9404ff773daf1ddfad4e95b85b99d78599c34107c32690e9054493"
        ),
    ])
    func hasTheContentObjectHash(_ name: String, _ hex: String) throws {
        #expect(try vector(name).contentObjectHash.description == hex)
    }

    @Test(arguments: ["cefore-object-crc32c-chunk01", "cefore-interest-crc32c-chunk00"])
    func seesDamageByItsChecksum(_ name: String) throws {
        let packet = try vector(name)
        try ValidationCheck.verifyChecksum(packet)
        for index in [packet.messageRange.lowerBound + 12, packet.wire.count - 1] {
            var damaged = packet.wire
            damaged[index] ^= 1
            let altered = try PacketDecoder.decode(damaged)
            #expect(kind { try ValidationCheck.verifyChecksum(altered) } == .corrupt)
        }
    }
}
