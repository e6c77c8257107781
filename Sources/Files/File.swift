internal import CLinux
package import Failures
internal import Glibc

/// An open file. Offsets and counts are in bytes.
///
/// Concurrency: all calls carry their own offset and may be made from any thread at once; the kernel
/// orders them. The descriptor is closed when the last reference goes.
@safe
package final class File: Sendable {
    package let path: String
    private let descriptor: Int32

    /// - Parameter descriptor: owned by the new file from here on.
    package init(adopting descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Opens `path`; with `.create` or `.createNew` the file gets `permissions`, less the umask.
    package convenience init(
        _ path: String,
        _ mode: Mode,
        permissions: UInt32 = 0o600
    ) throws(Failure) {
        let descriptor = try systemCall("cannot open \(path)") {
            unsafe Glibc.open(path, mode.flags | O_CLOEXEC, permissions)
        }
        self.init(adopting: descriptor, path: path)
    }

    deinit { _ = Glibc.close(descriptor) }

    package enum Mode: Sendable {
        case readOnly
        case readWrite
        /// Read-write; made when absent.
        case create
        /// Read-write; an error when present.
        case createNew

        fileprivate var flags: Int32 {
            switch self {
            case .readOnly: O_RDONLY
            case .readWrite: O_RDWR
            case .create: O_RDWR | O_CREAT
            case .createNew: O_RDWR | O_CREAT | O_EXCL
            }
        }
    }
}

// MARK: - Reading and writing

extension File {
    /// Appends up to `byteCount` bytes at `offset` to `output`; fewer only at the end of the file.
    ///
    /// - Returns: the number of bytes appended.
    @discardableResult
    package func read(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Int {
        precondition(byteCount <= output.freeCapacity, "reads must fit the room given")
        var done = 0
        while done < byteCount {
            let count = try unsafe output.withUnsafeMutableBufferPointer {
                (buffer, initializedCount) throws(Failure) -> Int in
                let count = try systemCall("cannot read \(path)") {
                    unsafe pread(
                        descriptor,
                        buffer.baseAddress.map { unsafe $0 + initializedCount },
                        byteCount - done,
                        off_t(offset + done)
                    )
                }
                initializedCount += count
                return count
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// The bytes of a range, fewer only at the end of the file.
    package func bytes(at offset: Int, byteCount: Int) throws(Failure) -> [UInt8] {
        var failure: Failure?
        let bytes = [UInt8](capacity: byteCount) { output in
            do throws(Failure) {
                try read(at: offset, byteCount: byteCount, into: &output)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Writes all of `bytes` at `offset`.
    package func write(_ bytes: Span<UInt8>, at offset: Int) throws(Failure) {
        try unsafe bytes.withUnsafeBufferPointer { (buffer) throws(Failure) in
            var done = 0
            while done < buffer.count {
                done += try systemCall("cannot write \(path)") {
                    unsafe pwrite(
                        descriptor,
                        buffer.baseAddress.map { unsafe $0 + done },
                        buffer.count - done,
                        off_t(offset + done)
                    )
                }
            }
        }
    }

    /// Reads from the descriptor's own position (a pipe, standard input).
    ///
    /// - Returns: the number of bytes appended; 0 at the end.
    package func readNext(
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Int {
        try unsafe output.withUnsafeMutableBufferPointer {
            (buffer, initializedCount) throws(Failure) -> Int in
            let room = min(byteCount, buffer.count - initializedCount)
            let count = try systemCall("cannot read \(path)") {
                unsafe Glibc.read(
                    descriptor,
                    buffer.baseAddress.map { unsafe $0 + initializedCount },
                    room
                )
            }
            initializedCount += count
            return count
        }
    }
}

extension File {
    /// Writes at the descriptor's own position (a pipe).
    package func writeNext(_ bytes: Span<UInt8>) throws(Failure) {
        try unsafe bytes.withUnsafeBufferPointer { (buffer) throws(Failure) in
            var done = 0
            while done < buffer.count {
                done += try systemCall("cannot write \(path)") {
                    unsafe Glibc.write(
                        descriptor,
                        buffer.baseAddress.map { unsafe $0 + done },
                        buffer.count - done
                    )
                }
            }
        }
    }
}

// MARK: - Durability and space

extension File {
    /// Data, size and allocation reach the disk before this returns (fdatasync).
    package func synchronizeData() throws(Failure) {
        _ = try systemCall("cannot make \(path) durable") { fdatasync(descriptor) }
    }

    /// Starts writing a range back without waiting for it (sync_file_range).
    package func startWriteback(at offset: Int, byteCount: Int) {
        _ = clinux_start_writeback(descriptor, off_t(offset), off_t(byteCount))
    }

    package func size() throws(Failure) -> Int { try status().size }

    package func status() throws(Failure) -> FileStatus {
        var raw = stat()
        _ = try systemCall("cannot look at \(path)") { unsafe fstat(descriptor, &raw) }
        return FileStatus(raw)
    }

    package func truncate(to size: Int) throws(Failure) {
        _ = try systemCall("cannot resize \(path)") { ftruncate(descriptor, off_t(size)) }
    }

    /// Takes space for a range without changing the size (fallocate KEEP_SIZE).
    package func allocate(at offset: Int, byteCount: Int) throws(Failure) {
        _ = try systemCall("cannot take space for \(path)") {
            clinux_allocate(descriptor, off_t(offset), off_t(byteCount))
        }
    }

    /// Gives the space of a range back; it reads as zeros from then on.
    package func punchHole(at offset: Int, byteCount: Int) throws(Failure) {
        _ = try systemCall("cannot free space of \(path)") {
            clinux_punch_hole(descriptor, off_t(offset), off_t(byteCount))
        }
    }

    /// The next range of data at or after `offset`, or nil when only holes follow.
    package func nextData(at offset: Int) throws(Failure) -> Range<Int>? {
        let start = lseek(descriptor, off_t(offset), Int32(CLINUX_SEEK_DATA.rawValue))
        if start == -1 {
            let code = errno
            if code == ENXIO { return nil }
            throw Failure(errno: code, "cannot look for data in \(path)")
        }
        let end = try systemCall("cannot look for holes in \(path)") {
            lseek(descriptor, start, Int32(CLINUX_SEEK_HOLE.rawValue))
        }
        return Int(start)..<Int(end)
    }

    /// Tells the page cache that the range will not be read again soon.
    package func dropFromPageCache() {
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
    }

    /// Takes the exclusive advisory lock of the whole file.
    ///
    /// - Returns: false if another process holds it.
    package func tryLock() throws(Failure) -> Bool {
        do throws(Failure) {
            _ = try systemCall("cannot lock \(path)") { flock(descriptor, LOCK_EX | LOCK_NB) }
            return true
        } catch  where error.kind == .busy {
            return false
        }
    }
}
