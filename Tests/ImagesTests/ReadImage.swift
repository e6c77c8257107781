import Failures
import Images

/// An array of at most `capacity` bytes that `body` appends.
func bytes(
    capacity: Int,
    _ body: (inout OutputSpan<UInt8>) throws(Failure) -> Void
) throws(Failure) -> [UInt8] {
    // The memory lives until the end of the function; the array copies what was appended.
    let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: capacity)
    defer { unsafe memory.deallocate() }
    var span = unsafe OutputSpan<UInt8>(buffer: memory, initializedCount: 0)
    try body(&span)
    let count = unsafe span.finalize(for: memory)
    return unsafe Array(memory.prefix(count))
}

/// The bytes of a range.
func read(_ image: any ImageSource, at offset: Int, byteCount: Int) throws(Failure) -> [UInt8] {
    try bytes(capacity: byteCount) { (span) throws(Failure) in
        try image.read(at: offset, into: &span)
    }
}

/// The whole disk, with only its extents of data read, in pieces of no round size.
func readWhole(_ image: any ImageSource, piece: Int = 1_000_003) throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: image.virtualSize)
    for extent in try image.extents(from: 0, byteCount: image.virtualSize)
    where extent.kind == .data {
        for offset in stride(from: extent.offset, to: extent.end, by: piece) {
            let part = try read(image, at: offset, byteCount: min(piece, extent.end - offset))
            bytes.replaceSubrange(offset..<offset + part.count, with: part)
        }
    }
    return bytes
}
