package import Failures
internal import Glibc

/// A raw image that comes as a stream of bytes, such as standard input. Its size is known at its end.
///
/// Not for use by two threads at once; the descriptor stays the caller's.
package struct StreamImage: ~Copyable {
    /// Bytes handed out so far; after the end, the size of the disk.
    package private(set) var byteCount = 0
    package private(set) var isAtEnd = false
    private let descriptor: Int32
    private let name: String
    private let expectsRaw: Bool

    /// - Parameters:
    ///   - name: what messages call it.
    ///   - format: `.raw` if the bytes must not be asked what they are; else they may not be in a
    ///     format of images or archives, which a stream cannot be read in.
    package init(
        descriptor: Int32 = STDIN_FILENO,
        name: String = "standard input",
        format: ImageFormat? = nil
    ) throws(Failure) {
        if let format, format != .raw {
            throw StreamImage.unsupported(format, name: name)
        }
        self.descriptor = descriptor
        self.name = name
        expectsRaw = format == .raw
    }

    /// Appends bytes to `buffer` until it is full or the stream ends.
    ///
    /// - Returns: how many; fewer than fitted, perhaps 0, only at the end.
    package mutating func readNext(into buffer: inout OutputSpan<UInt8>) throws(Failure) -> Int {
        guard !isAtEnd else { return 0 }
        let number = descriptor
        let doing = "cannot read \(name) at byte \(byteCount)"
        var hasEnded = false
        // The span lends its memory for the closure, and read gets the exact length of what is free.
        let appended = try unsafe buffer.withUnsafeMutableBufferPointer {
            (bytes, count) throws(Failure) in
            let start = count
            while count < bytes.count, !hasEnded {
                let rest = unsafe UnsafeMutableRawBufferPointer(
                    UnsafeMutableBufferPointer(rebasing: bytes[count...])
                )
                let readCount = try systemCall(doing) {
                    unsafe read(number, rest.baseAddress, rest.count)
                }
                hasEnded = readCount == 0
                count += readCount
            }
            return count - start
        }
        if byteCount == 0, !expectsRaw {
            try refuseFormats(buffer.span.extracting(last: appended))
        }
        byteCount += appended
        isAtEnd = hasEnded
        if isAtEnd { try requireWholeSectors() }
        return appended
    }

    private func refuseFormats(_ bytes: Span<UInt8>) throws(Failure) {
        let headCount = min(bytes.count, ImageSignature.headLimit)
        let head = (0..<headCount).map { bytes[$0] }
        let format = try ImageSignature.format(head: head, tail: [], path: name)
        if format != .raw { throw StreamImage.unsupported(format, name: name) }
    }

    private static func unsupported(_ format: ImageFormat, name: String) -> Failure {
        Failure(
            .unsupported,
            "\(name) holds a \(format.rawValue) image, which cannot be read as a stream",
            hint: "write it to a file and give its path; - reads raw bytes only"
        )
    }

    private func requireWholeSectors() throws(Failure) {
        guard byteCount > 0, byteCount % sectorSize == 0 else {
            throw Failure(
                .invalid,
                byteCount == 0
                    ? "\(name) is empty"
                    : "\(name) has \(byteCount) bytes,"
                        + " which is no whole number of \(sectorSize)-byte sectors",
                hint: "what feeds it may have failed half-way"
            )
        }
    }
}
