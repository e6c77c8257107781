internal import Foundation

/// A small generator whose seed makes a test repeatable (SplitMix64).
package struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    /// The seed that `CCNFS_SEED` names, or a new one.
    package static func seed() -> UInt64 {
        ProcessInfo.processInfo.environment["CCNFS_SEED"].flatMap { UInt64($0) }
            ?? UInt64.random(in: 0..<1 << 32)
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    package mutating func chance(_ part: Int, in whole: Int) -> Bool {
        Int.random(in: 0..<whole, using: &self) < part
    }

    /// Bytes that no other call gives and that are not zero throughout.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        let start = Int.random(in: 0...Self.pool.count / 2, using: &self)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + Self.pool.count)
        while bytes.count < count {
            bytes.append(contentsOf: Self.pool[start..<start + Self.pool.count / 2])
        }
        bytes.removeLast(bytes.count - count)
        let stamp = next()
        for index in 0..<min(count, 8) {
            bytes[index] = UInt8(truncatingIfNeeded: stamp >> (index * 8)) | 1
        }
        return bytes
    }

    /// Made once: a byte at a time is slow without optimisation.
    private static let pool: [UInt8] = {
        var random = SplitMix(seed: 1)
        return (0..<65_536).map { _ in UInt8(truncatingIfNeeded: random.next() >> 24) }
    }()
}
