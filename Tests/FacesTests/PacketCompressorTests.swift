import CCNx
import Failures
import TestSupport
import Testing

@testable import Faces

/// Envelopes, and what is in them. The seed is in the message of what fails.
struct PacketCompressorTests {
    private static let seed = SplitMix.seed()
    private static let limit = 65_535

    private let compressor = PacketCompressor(maximumPacketLength: limit)

    /// Bytes of which a part is words, so that they can be compressed more or less.
    private func payload(_ random: inout SplitMix, count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let part = Int.random(in: 1...4_000, using: &random)
            if random.chance(1, in: 2) {
                bytes += random.bytes(part)
            } else {
                bytes += repeatElement(Array("all of it again; ".utf8), count: part / 17 + 1)
                    .joined()
            }
        }
        return Array(bytes.prefix(count))
    }

    /// An envelope around `frame`, whatever that is.
    private func envelope(_ frame: [UInt8], headerLength: UInt8 = 8) -> [UInt8] {
        let length = frame.count + 8
        return [
            1, PacketCompressor.packetType, UInt8(length >> 8), UInt8(length & 0xFF), 0, 0, 0,
            headerLength,
        ] + frame
    }

    private func kind(of wire: [UInt8]) async -> Failure.Kind? {
        await failure { try compressor.packet(in: wire) }?.kind
    }

    // MARK: There and back

    @Test func givesBackThePacketThatWasPutIn() throws {
        var random = SplitMix(seed: Self.seed)
        var envelopes = 0
        for _ in 0..<150 {
            let count = Int.random(in: 0..<65_000, using: &random)
            let packet = try PacketEncoder.encode(
                ContentObject(
                    name: try Name(uri: "ccnx:/n"),
                    payload: payload(&random, count: count)
                )
            )
            guard let wire = compressor.envelope(of: packet) else { continue }
            envelopes += 1
            #expect(wire.count <= packet.count - packet.count / 16, "seed \(Self.seed)")
            #expect(PacketCompressor.isEnvelope(wire))
            #expect(try PacketFraming.packetLength(firstBytes: wire) == wire.count)
            #expect(try compressor.packet(in: wire) == packet, "seed \(Self.seed)")
        }
        #expect(envelopes > 40, "seed \(Self.seed)")
    }

    @Test func takesThePacketsOfAnyLengthThatCompressesWell() throws {
        for count in [256, 257, 1_000, 32_768, 65_534, 65_535] {
            let packet = [UInt8](repeating: 7, count: count)
            let wire = try #require(compressor.envelope(of: packet))
            #expect(wire.count < 100)
            #expect(try compressor.packet(in: wire) == packet)
        }
    }

    @Test func leavesAloneWhatIsSmallOrCannotBeCompressed() throws {
        #expect(compressor.envelope(of: [UInt8](repeating: 7, count: 255)) == nil)
        #expect(compressor.envelope(of: try interestWire("ccnx:/a/b/c")) == nil)
        var random = SplitMix(seed: Self.seed)
        let noise = (0..<4_096).flatMap { _ in random.next().bigEndian.bytes }
        #expect(compressor.envelope(of: noise) == nil, "seed \(Self.seed)")
        #expect(!PacketCompressor.isEnvelope(try interestWire("ccnx:/a")))
        #expect(!PacketCompressor.isEnvelope([1, PacketCompressor.packetType, 0, 8, 0, 0, 0, 8]))
    }

    // MARK: What strangers send

    @Test func refusesWhatSaysToBeLargerThanAPacket() async throws {
        let codec = try ZstdCodec(maximumByteCount: 4 << 20)
        for count in [Self.limit + 1, 1 << 20, 4 << 20] {
            let zeros = [UInt8](repeating: 0, count: count)
            let frame = try #require(codec.frame(of: zeros, after: 0, limit: Self.limit - 8))
            #expect(await kind(of: envelope(frame)) == .invalid)
        }
        let short = PacketCompressor(maximumPacketLength: 1_000)
        let wire = try #require(compressor.envelope(of: [UInt8](repeating: 7, count: 1_001)))
        #expect(await failure { try short.packet(in: wire) }?.kind == .invalid)
    }

    /// RFC 8878 section 3.1.1: magic number, frame header, blocks of three bytes and their contents.
    @Test(
        arguments: [
            // No size is said: 8 bytes as they are.
            [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x00, 0x41, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            // It says 8 bytes and is of 4.
            [0x28, 0xB5, 0x2F, 0xFD, 0x20, 8, 0x21, 0, 0, 1, 2, 3, 4],
            // It says 8 bytes and is of 100,000, as one byte again and again.
            [0x28, 0xB5, 0x2F, 0xFD, 0x20, 8, 0x03, 0x35, 0x0C, 7],
            // It says 2^64 - 1, 2^63 and 2^32 bytes.
            [0x28, 0xB5, 0x2F, 0xFD, 0xE0] + [UInt8](repeating: 0xFF, count: 8) + [0x01, 0, 0],
            [0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x01, 0, 0],
            [0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 1, 0, 0, 0, 0x01, 0, 0],
            // 4,096 times one byte, in the format of zstd 0.7, before there was an RFC; sound there.
            [0x27, 0xB5, 0x2F, 0xFD, 0x60, 0x00, 0x0F, 0x80, 0x10, 0x00, 0x41, 0xC0, 0, 0],
            // A frame to skip, and nothing.
            [0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4],
            [0x28, 0xB5, 0x2F, 0xFD], [0],
        ] as [[UInt8]]
    )
    func refusesFramesThatItDoesNotMake(_ frame: [UInt8]) async {
        #expect(await kind(of: envelope(frame)) == .invalid)
    }

    @Test func refusesAnotherHeaderAndWhatStandsBehindTheFrame() async throws {
        let packet = [UInt8](repeating: 7, count: 1_000)
        let frame = Array(try #require(compressor.envelope(of: packet)).dropFirst(8))
        #expect(await kind(of: envelope(frame)) == nil)
        #expect(await kind(of: envelope(frame, headerLength: 9)) == .invalid)
        #expect(await kind(of: envelope(frame + [0])) == .invalid)
        #expect(await kind(of: envelope(frame + frame)) == .invalid)
        for count in 1..<frame.count {
            #expect(await kind(of: envelope(Array(frame.prefix(count)))) == .invalid)
        }
        // The contexts bear no grudge.
        #expect(try compressor.packet(in: envelope(frame)) == packet)
    }

    /// A frame that asks for 2 GiB of window has its bytes, and no window.
    @Test func anEnormousWindowIsNotMade() throws {
        let frame: [UInt8] =
            [0x28, 0xB5, 0x2F, 0xFD, 0x80, 0xA8, 0x2C, 0x01, 0, 0] + [0x63, 0x09, 0, 7]
        #expect(
            try compressor.packet(in: envelope(frame)) == [UInt8](repeating: 7, count: 300)
        )
    }

    @Test func damageIsRefusedOrGivesAsManyBytesAsItSaysButNeverTraps() throws {
        var random = SplitMix(seed: Self.seed)
        let packet = payload(&random, count: 20_000)
        let whole = try #require(compressor.envelope(of: packet), "seed \(Self.seed)")
        for _ in 0..<2_000 {
            var wire = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 8..<min(wire.count, 60), using: &random)
                let spot =
                    random.chance(1, in: 2)
                    ? place : Int.random(in: 8..<wire.count, using: &random)
                wire[spot] = UInt8.random(in: .min ... .max, using: &random)
            }
            if random.chance(1, in: 8) {
                wire.removeLast(Int.random(in: 0..<wire.count - 8, using: &random))
            }
            do throws(Failure) {
                let bytes = try compressor.packet(in: wire)
                #expect(bytes.count <= Self.limit, "seed \(Self.seed)")
            } catch { #expect(error.kind == .invalid, "seed \(Self.seed)") }
        }
        #expect(try compressor.packet(in: whole) == packet, "seed \(Self.seed)")
    }
}

extension UInt64 {
    fileprivate var bytes: [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: self >> (8 * $0)) } }
}
