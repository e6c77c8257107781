extension [UInt8] {
    /// The four bytes at `offset`, the highest first; nil past the end.
    func bigEndian32(at offset: Int) -> UInt32? {
        guard offset >= 0, count - offset >= 4 else { return nil }
        return self[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// The eight bytes at `offset`, the highest first; nil past the end.
    func bigEndian64(at offset: Int) -> UInt64? {
        guard offset >= 0, count - offset >= 8 else { return nil }
        return self[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
