internal import Failures
internal import Glibc

/// A file descriptor with one owner, closed at its end. Every one is close-on-exec.
struct Descriptor: ~Copyable, Sendable {
    let number: Int32

    init(owning number: Int32) {
        self.number = number
    }

    /// Opens what is at `path` for reading.
    init(reading path: String) throws(Failure) {
        try requirePath(path)
        // The string lives until the call returns; open keeps no pointer to it.
        number = try systemCall("cannot open \(path)") {
            unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        }
    }

    /// Hands the number to another owner.
    consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }

    deinit {
        close(number)
    }

}

extension Descriptor {
    /// Bytes from here to the end: of a file its length, of a block device its capacity.
    borrowing func byteCount(of path: String) throws(Failure) -> Int {
        let number = number
        return try systemCall("cannot tell the size of \(path)") { lseek(number, 0, SEEK_END) }
    }

    /// Up to `limit` bytes at `offset`; fewer only at the end of the file.
    borrowing func bytes(
        at offset: Int,
        limit: Int,
        of path: String
    ) throws(Failure) -> [UInt8] {
        let number = number
        var bytes = [UInt8](repeating: 0, count: limit)
        var count = 0
        while count < limit {
            // The buffer is the array's own, and pread gets its exact length.
            let readCount = try systemCall("cannot read \(path)") {
                unsafe bytes.withUnsafeMutableBytes { (buffer) in
                    let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
                    return unsafe pread(number, rest.baseAddress, rest.count, offset + count)
                }
            }
            if readCount == 0 { break }
            count += readCount
        }
        bytes.removeLast(limit - count)
        return bytes
    }
}

/// Two connected descriptors: what is written to one can be read from the other.
///
/// A socket pair where a pipe would do, because it is close-on-exec from its first moment; another
/// thread may be starting a process just now.
struct DescriptorPair: ~Copyable {
    let reader: Descriptor
    let writer: Descriptor

    /// Closes our end for writing, so that the reader meets an end when all others have closed
    /// theirs, and hands out the reader.
    consuming func finishWriting() -> Descriptor {
        reader
    }

    /// - Parameter isBlocking: otherwise a full pair drops what is written, an empty one has nothing.
    init(isBlocking: Bool) throws(Failure) {
        var ends: [Int32] = [-1, -1]
        let flags =
            isBlocking ? SocketType.closeOnExec : SocketType.closeOnExec | SocketType.nonBlocking
        // socketpair writes the two numbers the array has room for.
        _ = try systemCall("cannot make a socket pair") {
            unsafe socketpair(AF_UNIX, SocketType.stream | flags, 0, &ends)
        }
        reader = Descriptor(owning: ends[0])
        writer = Descriptor(owning: ends[1])
    }
}

/// glibc's enumeration, as the numbers that socket takes.
enum SocketType {
    static let stream = Int32(SOCK_STREAM.rawValue)
    static let closeOnExec = Int32(SOCK_CLOEXEC.rawValue)
    static let nonBlocking = Int32(SOCK_NONBLOCK.rawValue)
}
