package import Failures

/// An image in a format of its own, read through `qemu-nbd`, which knows the formats and follows
/// the chain of backing files. No raw copy is ever made.
///
/// Concurrency: nothing changes after the initialiser; the server shares out its connections.
package final class NBDImage: ImageSource {
    /// Bytes per command; QEMU allows 32 MiB.
    private static let readLimit = 8 << 20
    /// Bytes whose extents are asked for at once; the protocol's lengths have 32 bits.
    private static let extentsLimit = 1 << 30

    package let virtualSize: Int
    private let path: String
    private let format: ImageFormat
    private let chain: ImageChain
    private let server: ImageServer
    private let knowsExtents: Bool
    /// Of offsets and lengths of commands; divides the size of a sector.
    private let alignment: Int

    /// - Throws: `.corrupt` for a truncated or damaged image, before a byte is read; `.invalid` if it
    ///   is not in this format; `.unavailable` if QEMU's tools are not installed.
    package init(path: String, format: ImageFormat) throws(Failure) {
        // So that a colon or a dash in a name is never a protocol or an option of QEMU's.
        let path = path.hasPrefix("/") ? path : "./\(path)"
        try FileStamp(path: path).requireImage(at: path)
        chain = try ImageChain(path: path, format: format)
        server = try ImageServer(path: path, format: format)
        let connection = server.connections[0]
        (virtualSize, knowsExtents, alignment) = try connection.withHandle {
            (handle) throws(Failure) in
            (try handle.byteCount(), handle.knowsExtents, handle.alignment)
        }
        self.path = path
        self.format = format
        guard virtualSize == chain.virtualSize else {
            throw Failure(.io, "\(path) was changed while it was being opened")
        }
        try RawImage.requireWholeSectors(virtualSize, path: "the disk in \(path)")
        guard sectorSize % alignment == 0 else {
            throw Failure(.unsupported, "\(path) can be read in blocks of \(alignment) bytes only")
        }
    }

    deinit {
        server.close()
    }

    package var description: String { "\(format.rawValue) image \(path)" }

    package func extents(from offset: Int, byteCount: Int) throws(Failure) -> [ImageExtent] {
        requireRange(from: offset, byteCount: byteCount, in: virtualSize)
        guard knowsExtents else {
            var list = ExtentList(from: offset, byteCount: byteCount)
            list.append(byteCount: byteCount, kind: .data)
            return list.extents
        }
        let start = offset / alignment * alignment
        let end = (offset + byteCount + alignment - 1) / alignment * alignment
        var list = ExtentList(from: start, byteCount: end - start)
        let deadline = ContinuousClock.now + ImageServer.commandLimit
        try server.withHandle("tell the extents") { (handle) throws(Failure) in
            while !list.isComplete {
                try handle.appendExtents(
                    to: &list,
                    limit: NBDImage.extentsLimit,
                    deadline: deadline
                )
            }
        }
        return list.extents(from: offset, byteCount: byteCount)
    }

    package func read(at offset: Int, into buffer: inout OutputSpan<UInt8>) throws(Failure) {
        requireRange(from: offset, byteCount: buffer.freeCapacity, in: virtualSize)
        // The span lends its memory for the closure. A command that did not end in time is dropped
        // with its connection inside the closure, so nothing writes there afterwards.
        try unsafe buffer.withUnsafeMutableBufferPointer { (bytes, count) throws(Failure) in
            let start = offset - count
            while count < bytes.count {
                let rest = unsafe UnsafeMutableRawBufferPointer(
                    UnsafeMutableBufferPointer(rebasing: bytes[count...])
                )
                count += try unsafe readPiece(at: start + count, into: rest)
            }
        }
    }

    /// Reads as much of `rest` as one command can, and answers how much that was.
    @unsafe private func readPiece(
        at position: Int,
        into rest: UnsafeMutableRawBufferPointer
    ) throws(Failure) -> Int {
        let length = min(rest.count, NBDImage.readLimit) / alignment * alignment
        guard position % alignment == 0, length > 0 else {
            return try unsafe readPartOfBlock(at: position, into: rest)
        }
        let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: rest[..<length])
        try unsafe command(at: position, into: piece)
        return length
    }

    /// The beginning or the end of a range that is not aligned, through a copy of its block.
    @unsafe private func readPartOfBlock(
        at position: Int,
        into rest: UnsafeMutableRawBufferPointer
    ) throws(Failure) -> Int {
        let skipped = position % alignment
        let block = UnsafeMutableRawBufferPointer.allocate(
            byteCount: alignment,
            alignment: alignment
        )
        defer { unsafe block.deallocate() }
        try unsafe command(at: position - skipped, into: block)
        let length = min(rest.count, alignment - skipped)
        unsafe rest.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: block[skipped..<skipped + length])
        )
        return length
    }

    @unsafe private func command(
        at position: Int,
        into piece: UnsafeMutableRawBufferPointer
    ) throws(Failure) {
        try server.withHandle("read \(piece.count) bytes at \(position)") {
            (handle) throws(Failure) in
            unsafe try handle.read(
                at: position,
                into: piece,
                deadline: ContinuousClock.now + ImageServer.commandLimit
            )
        }
    }

    package func verifyUnchanged() throws(Failure) {
        try chain.verifyUnchanged()
    }

    package func close() {
        server.close()
    }
}
