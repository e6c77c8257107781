import CCNx
import Testing

/// SplitMix64: small, seeded, the same everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

@Suite struct MutationTests {
    #if DEBUG
    static let roundsPerVector = 20_000
    #else
    static let roundsPerVector = 120_000
    #endif

    /// Damages each vector at random, mostly in small ways that leave much of it readable. What is
    /// still a packet must read the same after it was written again.
    @Test(arguments: PacketVectors.canonical)
    func survivesDamage(_ vector: String) throws {
        let original = try PacketVectors.bytes(vector)
        let seed: UInt64 = 0xCC9
        var generator = SeededGenerator(seed: seed)
        var acceptedCount = 0
        for round in 0..<Self.roundsPerVector {
            let damaged = Self.damage(original, using: &generator)
            guard let decoded = try? PacketDecoder.decode(damaged) else { continue }
            acceptedCount += 1
            guard
                let canonical = try? PacketEncoder.encode(
                    decoded.packet,
                    validation: decoded.validation
                )
            else { continue }
            let again = try? PacketDecoder.decode(canonical)
            if again?.validation != decoded.validation || again == nil {
                Issue.record("seed \(seed), round \(round): \(Hex.string(damaged))")
            }
            if case .contentObject(let object) = decoded.packet,
                again?.packet != .contentObject(object)
            {
                Issue.record("seed \(seed), round \(round): \(Hex.string(damaged))")
            }
        }
        #expect(acceptedCount > 0, "all damage was refused, so nothing was tried")
    }

    private static func damage(
        _ original: [UInt8],
        using generator: inout SeededGenerator
    ) -> [UInt8] {
        var bytes = original
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            let index = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 1: bytes[index] = UInt8.random(in: 0...255, using: &generator)
            case 2: bytes[index] = [0, 1, 4, 0x7F, 0xFF].randomElement(using: &generator) ?? 0
            case 3: bytes.removeSubrange(index..<min(bytes.count, index + 4))
            case 4: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 5)], at: index)
            default: bytes.append(UInt8.random(in: 0...255, using: &generator))
            }
            if bytes.count < 8 { bytes = original }
        }
        // Mostly with the right length, or damage that changes it would end at the first check.
        if Int.random(in: 0..<8, using: &generator) > 0 {
            bytes[2] = UInt8(bytes.count >> 8)
            bytes[3] = UInt8(bytes.count & 0xFF)
        }
        return bytes
    }
}
