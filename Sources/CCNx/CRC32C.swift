/// CRC-32C (Castagnoli), the checksum of RFC 8609 section 3.6.4.1: polynomial 0x1EDC6F41 reflected,
/// initial value and final complement all ones (RFC 3385).
package enum CRC32C {
    package static func checksum(_ bytes: RawSpan) -> UInt32 {
        checksum(Span<UInt8>(_bytes: bytes))
    }

    /// Slicing by eight: eight tables turn eight bytes into eight look-ups that do not wait for
    /// each other.
    package static func checksum(_ bytes: Span<UInt8>) -> UInt32 {
        var crc: UInt32 = 0xFFFF_FFFF
        var index = 0
        let tables = tables
        let table = tables.span
        while bytes.count - index >= 8 {
            let low =
                crc
                ^ (UInt32(bytes[index]) | UInt32(bytes[index + 1]) << 8
                    | UInt32(bytes[index + 2]) << 16 | UInt32(bytes[index + 3]) << 24)
            crc =
                table[0x700 + Int(low & 0xFF)]
                ^ table[0x600 + Int(low >> 8 & 0xFF)]
                ^ table[0x500 + Int(low >> 16 & 0xFF)]
                ^ table[0x400 + Int(low >> 24)]
            crc ^=
                table[0x300 + Int(bytes[index + 4])]
                ^ table[0x200 + Int(bytes[index + 5])]
                ^ table[0x100 + Int(bytes[index + 6])]
                ^ table[Int(bytes[index + 7])]
            index += 8
        }
        while index < bytes.count {
            crc = crc >> 8 ^ table[Int((crc ^ UInt32(bytes[index])) & 0xFF)]
            index += 1
        }
        return ~crc
    }

    /// Eight tables of 256: table k holds the effect of a byte that lies k bytes further back.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0x82F6_3B78 }
            tables[byte] = crc
        }
        for index in 256..<(8 * 256) {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }()
}
