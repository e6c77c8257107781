package import Failures
internal import Synchronization

/// An image in a format of its own, read through `qemu-nbd`, which knows the formats and follows
/// the chain of backing files. No raw copy is ever made.
///
/// Concurrency: a caller takes whichever connection is free, or waits for the next in turn. Nothing
/// else changes after the initialiser.
package final class NBDImage: ImageSource {
    /// No answer for this long means a server that is stuck, not a slow disk.
    private static let commandLimit: Duration = .seconds(120)
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
    private let turn = Atomic(0)

    /// - Throws: `.corrupt` for a truncated or damaged image, before a byte is read; `.invalid` if it
    ///   is not in this format; `.unavailable` if QEMU's tools are not installed.
    package init(path: String, format: ImageFormat) throws(Failure) {
        // So that a colon or a dash in a name is never a protocol or an option of QEMU's.
        let path = path.hasPrefix("/") ? path : "./\(path)"
        try FileStamp(path: path).requireImage(at: path)
        chain = try ImageChain(path: path, format: format)
        server = try ImageServer(path: path, format: format)
        let connection = server.connections[0]
        (virtualSize, knowsExtents) = try connection.withHandle { (handle) throws(Failure) in
            (try handle.byteCount(), handle.knowsExtents)
        }
        self.path = path
        self.format = format
        guard virtualSize == chain.virtualSize else {
            throw Failure(.io, "\(path) was changed while it was being opened")
        }
        try RawImage.requireWholeSectors(virtualSize, path: "the disk in \(path)")
    }

    deinit {
        server.close()
    }

    package var description: String { "\(format.rawValue) image \(path)" }

    package func extents(from offset: Int, byteCount: Int) throws(Failure) -> [ImageExtent] {
        requireRange(from: offset, byteCount: byteCount, in: virtualSize)
        var list = ExtentList(from: offset, byteCount: byteCount)
        guard knowsExtents else {
            list.append(byteCount: byteCount, kind: .data)
            return list.extents
        }
        let deadline = ContinuousClock.now + NBDImage.commandLimit
        try withHandle("tell the extents") { (handle) throws(Failure) in
            while !list.isComplete {
                try handle.appendExtents(
                    to: &list, limit: NBDImage.extentsLimit, deadline: deadline)
            }
        }
        return list.extents
    }

    package func read(at offset: Int, into buffer: inout OutputRawSpan) throws(Failure) {
        requireRange(from: offset, byteCount: buffer.freeCapacity, in: virtualSize)
        // The span lends its memory for the closure. A command that did not end in time is dropped
        // with its connection inside the closure, so nothing writes there afterwards.
        try unsafe buffer.withUnsafeMutableBytes { (bytes, count) throws(Failure) in
            let start = offset - count
            while count < bytes.count {
                let length = min(bytes.count - count, NBDImage.readLimit)
                let piece = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: bytes[count..<count + length])
                let position = start + count
                try withHandle("read \(length) bytes at \(position)") { (handle) throws(Failure) in
                    unsafe try handle.read(
                        at: position, into: piece,
                        deadline: ContinuousClock.now + NBDImage.commandLimit)
                }
                count += length
            }
        }
    }

    package func verifyUnchanged() throws(Failure) {
        try chain.verifyUnchanged()
    }

    package func close() {
        server.close()
    }

    private func withHandle(
        _ doing: @autoclosure () -> String,
        _ body: (borrowing NBDHandle) throws(Failure) -> Void
    ) throws(Failure) {
        do throws(Failure) {
            for connection in server.connections {
                if try connection.tryWithHandle(body) != nil { return }
            }
            let turn = turn.wrappingAdd(1, ordering: .relaxed).oldValue
            try server.connections[Int(turn.magnitude % UInt(server.connections.count))]
                .withHandle(body)
        } catch {
            throw server.explain(error, doing())
        }
    }
}
