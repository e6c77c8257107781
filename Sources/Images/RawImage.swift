package import Failures
internal import Glibc
internal import Synchronization

/// A raw image: a file or a block device whose bytes are the disk's.
///
/// Concurrency: the descriptor never changes and pread uses no file position; lseek moves one, but
/// nothing reads it. The descriptor is closed at the end of the object, not by ``close()``, so that
/// a read under way never meets a number that was given to another file.
package final class RawImage: ImageSource {
    package let virtualSize: Int
    private let path: String
    private let file: Descriptor
    private let stamp: FileStamp
    private let isClosed = Atomic(false)

    package init(path: String) throws(Failure) {
        // Asked before opening, since opening a pipe would wait for its writer.
        try FileStamp(path: path).requireImage(at: path)
        file = try Descriptor(reading: path)
        stamp = try FileStamp(file, path: path)
        virtualSize = try file.byteCount(of: path)
        self.path = path
        try RawImage.requireWholeSectors(virtualSize, path: path)
        // Advice only: read ahead further.
        _ = posix_fadvise(file.number, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    static func requireWholeSectors(_ byteCount: Int, path: String) throws(Failure) {
        guard byteCount > 0 else {
            throw Failure(.invalid, "\(path) is empty")
        }
        guard byteCount % sectorSize == 0 else {
            throw Failure(
                .invalid,
                "\(path) has \(byteCount) bytes, which is no whole number of \(sectorSize)-byte sectors",
                hint: "if nothing is missing from it, fill the last sector with zeros:"
                    + " truncate -s %\(sectorSize) \(path)"
            )
        }
    }

    package var description: String { "raw image \(path)" }

    package func extents(from offset: Int, byteCount: Int) throws(Failure) -> [ImageExtent] {
        requireRange(from: offset, byteCount: byteCount, in: virtualSize)
        try requireOpen()
        var list = ExtentList(from: offset, byteCount: byteCount)
        while !list.isComplete {
            let dataStart = try seek(seekData, from: list.end) ?? virtualSize
            list.append(byteCount: dataStart - list.end, kind: .zero)
            if list.isComplete { break }
            let dataEnd = try seek(seekHole, from: list.end) ?? virtualSize
            guard dataEnd > list.end else { throw shrunk(at: list.end) }
            list.append(byteCount: dataEnd - list.end, kind: .data)
        }
        return list.extents
    }

    package func read(at offset: Int, into buffer: inout OutputSpan<UInt8>) throws(Failure) {
        requireRange(from: offset, byteCount: buffer.freeCapacity, in: virtualSize)
        try requireOpen()
        // The span lends its memory for the closure, and pread gets the exact length of what is free.
        try unsafe buffer.withUnsafeMutableBufferPointer { (bytes, count) throws(Failure) in
            let start = offset - count
            while count < bytes.count {
                let rest = unsafe UnsafeMutableRawBufferPointer(
                    UnsafeMutableBufferPointer(rebasing: bytes[count...])
                )
                let position = start + count
                let readCount = try systemCall("cannot read \(path) at byte \(position)") {
                    unsafe pread(file.number, rest.baseAddress, rest.count, position)
                }
                guard readCount > 0 else { throw shrunk(at: position) }
                count += readCount
            }
        }
    }

    package func verifyUnchanged() throws(Failure) {
        try FileStamp(file, path: path).requireUnchanged(since: stamp, at: path)
    }

    package func close() {
        isClosed.store(true, ordering: .relaxed)
    }

    private func requireOpen() throws(Failure) {
        guard !isClosed.load(ordering: .relaxed) else {
            throw Failure(.cancelled, "\(path) was closed")
        }
    }

    /// Where the next data or hole begins at or after `offset`; nil if there is none before the end.
    /// A file system that does not know holes, and a block device, have data everywhere.
    private func seek(_ whence: Int32, from offset: Int) throws(Failure) -> Int? {
        do throws(SystemError) {
            return try systemCall { lseek(file.number, offset, whence) }
        } catch {
            switch error.number {
            case ENXIO: return nil
            case EINVAL: return whence == seekData ? offset : nil
            default: throw error.failure("cannot look for holes in \(path)")
            }
        }
    }

    private func shrunk(at offset: Int) -> Failure {
        Failure(
            .io,
            "\(path) ends at byte \(offset) but had \(virtualSize) bytes when it was opened",
            hint: "something truncated it while it was being read"
        )
    }
}
