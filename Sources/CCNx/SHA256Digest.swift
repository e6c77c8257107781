/// The 32 bytes of a SHA-256 digest.
///
/// Kept as four big-endian words, so that a digest lives in registers and tables of digests hold no
/// references. Computing one is the business of `Signing`; this type only carries it.
package struct SHA256Digest: Sendable {
    package static let byteCount = 32

    /// Bytes 0-7, 8-15, 16-23 and 24-31, each read as a big-endian number.
    package let word0, word1, word2, word3: UInt64

    package init(word0: UInt64, word1: UInt64, word2: UInt64, word3: UInt64) {
        self.word0 = word0
        self.word1 = word1
        self.word2 = word2
        self.word3 = word3
    }

    /// Nil unless there are exactly 32 bytes.
    package init?(bytes: Span<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        word0 = Self.word(in: bytes, at: 0)
        word1 = Self.word(in: bytes, at: 8)
        word2 = Self.word(in: bytes, at: 16)
        word3 = Self.word(in: bytes, at: 24)
    }

    package init?(bytes: RawSpan) {
        self.init(bytes: Span(_bytes: bytes))
    }

    package init?(bytes: [UInt8]) {
        self.init(bytes: bytes.span)
    }

    /// The digest at `offset` of `bytes`, as a manifest node or a packet holds it; nil if it does
    /// not lie wholly inside.
    package init?(in bytes: Span<UInt8>, at offset: Int) {
        guard offset >= 0, bytes.count >= Self.byteCount, offset <= bytes.count - Self.byteCount
        else { return nil }
        self.init(bytes: bytes.extracting(offset..<(offset + Self.byteCount)))
    }

    /// Nil unless `hex` is 64 hexadecimal digits, in either case.
    package init?(hex: some StringProtocol) {
        guard let bytes = Hex.bytes(hex) else { return nil }
        self.init(bytes: bytes)
    }

    package static let zero = SHA256Digest(word0: 0, word1: 0, word2: 0, word3: 0)

    package var isZero: Bool { word0 | word1 | word2 | word3 == 0 }

    package var bytes: [UInt8] {
        [UInt8](capacity: Self.byteCount) { output in
            for word in [word0, word1, word2, word3] {
                for shift in stride(from: 56, through: 0, by: -8) {
                    output.append(UInt8(truncatingIfNeeded: word >> shift))
                }
            }
        }
    }

    package var hex: String { Hex.string(bytes) }

    /// Appends the 32 bytes; allocates only if `output` has to grow.
    package func append(to output: inout [UInt8]) {
        Self.append(word0, to: &output)
        Self.append(word1, to: &output)
        Self.append(word2, to: &output)
        Self.append(word3, to: &output)
    }

    private static func append(_ word: UInt64, to output: inout [UInt8]) {
        for shift in stride(from: 56, through: 0, by: -8) {
            output.append(UInt8(truncatingIfNeeded: word >> shift))
        }
    }

    private static func word(in bytes: Span<UInt8>, at offset: Int) -> UInt64 {
        var word: UInt64 = 0
        for index in offset..<(offset + 8) {
            word = word << 8 | UInt64(bytes[index])
        }
        return word
    }
}

extension SHA256Digest: Hashable {
    /// A digest is uniformly distributed already; one word of it tells any two apart well enough.
    package func hash(into hasher: inout Hasher) {
        hasher.combine(word0)
    }
}

extension SHA256Digest: Comparable {
    /// The order of the bytes, first byte first.
    package static func < (left: SHA256Digest, right: SHA256Digest) -> Bool {
        (left.word0, left.word1, left.word2, left.word3)
            < (right.word0, right.word1, right.word2, right.word3)
    }
}

extension SHA256Digest: CustomStringConvertible {
    package var description: String { hex }
}
