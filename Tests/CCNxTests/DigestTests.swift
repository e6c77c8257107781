import CCNx
import Testing

@Suite struct DigestTests {
    @Test func keepsItsBytes() throws {
        let bytes = (0..<32).map { UInt8($0 * 7) }
        let digest = try #require(SHA256Digest(bytes: bytes))
        #expect(digest.bytes == bytes)
        #expect(digest.hex == Hex.string(bytes))
        #expect(SHA256Digest(hex: digest.hex.uppercased()) == digest)
        var output: [UInt8] = [1]
        digest.append(to: &output)
        #expect(output == [1] + bytes)
        #expect(SHA256Digest(in: ([9, 9] + bytes + [9]).span, at: 2) == digest)
    }

    @Test func refusesAnotherNumberOfBytes() {
        for count in [0, 31, 33] {
            #expect(SHA256Digest(bytes: [UInt8](repeating: 0, count: count)) == nil)
        }
        for hex in ["", "zz", String(repeating: "0", count: 63), String(repeating: "g", count: 64)]
        {
            #expect(SHA256Digest(hex: hex) == nil)
        }
        let bytes = [UInt8](repeating: 0, count: 40)
        for offset in [-1, 9, 40, Int.max] {
            #expect(SHA256Digest(in: bytes.span, at: offset) == nil)
        }
    }

    @Test func sortsByItsBytes() {
        let low = SHA256Digest(word0: 1, word1: .max, word2: 0, word3: 0)
        let high = SHA256Digest(word0: 2, word1: 0, word2: 0, word3: 0)
        #expect(low < high)
        #expect(SHA256Digest.zero < low)
        #expect(SHA256Digest.zero.isZero && !low.isZero)
    }
}

@Suite struct CRC32CTests {
    /// RFC 3720 section B.4 and the usual check value.
    @Test func matchesPublishedValues() {
        let descending = (0..<32).map { UInt8(31 - $0) }
        let cases: [([UInt8], UInt32)] = [
            ([], 0), (Array("123456789".utf8), 0xE306_9283),
            ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
            ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
            ((0..<32).map { UInt8($0) }, 0x46DD_794E),
            (descending, 0x113F_DB5C),
        ]
        for (bytes, checksum) in cases { #expect(CRC32C.checksum(bytes.span) == checksum) }
    }

    @Test func agreesWithItselfAtEveryLength() {
        func oneBitAtATime(_ bytes: [UInt8]) -> UInt32 {
            var crc: UInt32 = 0xFFFF_FFFF
            for byte in bytes {
                crc ^= UInt32(byte)
                for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : (crc >> 1) ^ 0x82F6_3B78 }
            }
            return ~crc
        }
        for count in 0..<40 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
            #expect(CRC32C.checksum(bytes.span) == oneBitAtATime(bytes))
        }
    }
}
