package import Failures

/// Writes a qcow2 image of this machine's QEMU: `qemu-img` makes it, `qemu-nbd` fills it.
///
/// Concurrency: nothing changes after the initialiser; the server shares out its connections.
package final class QCOW2ImageWriter: ImageWriter {
    /// Bytes per command; QEMU allows 32 MiB.
    private static let writeLimit = 8 << 20
    /// What is still in memory must reach the disk within this, and the server end.
    private static let finishLimit: Duration = .seconds(1800)

    private let virtualSize: Int
    private let target: WritingTarget
    private let server: ImageServer

    package init(path: String, virtualSize: Int, overwrite: Bool = false) throws(Failure) {
        try ImageWriters.requireWholeSectors(virtualSize, path: path)
        // So that a colon or a dash in a name is never a protocol or an option of QEMU's.
        let path = path.isEmpty || path.hasPrefix("/") ? path : "./\(path)"
        let target = try WritingTarget(path: path, overwrite: overwrite)
        guard !target.isDevice else {
            throw Failure(
                .unsupported,
                "\(path) is a block device, which only raw images are written to",
                hint: "write a raw image to it, or a qcow2 image to a file"
            )
        }
        do throws(Failure) {
            try QCOW2ImageWriter.create(target, virtualSize: virtualSize)
            server = try ImageServer(
                path: target.workPath,
                format: .qcow2,
                access: .writing,
                name: target.path
            )
            try server.requireBytes(virtualSize)
        } catch {
            throw target.fail(error)
        }
        self.virtualSize = virtualSize
        self.target = target
    }

    deinit {
        server.close()
    }

    package func write(_ bytes: Span<UInt8>, at offset: Int) throws(Failure) {
        requireRange(from: offset, byteCount: bytes.count, in: virtualSize)
        try target.requireWriting()
        do throws(Failure) {
            // The span lends its memory for the closure. A command that did not end in time is
            // dropped with its connection inside the closure, so nothing reads there afterwards.
            try unsafe bytes.withUnsafeBytes { (bytes) throws(Failure) in
                for start in stride(from: 0, to: bytes.count, by: QCOW2ImageWriter.writeLimit) {
                    let end = min(start + QCOW2ImageWriter.writeLimit, bytes.count)
                    let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                    try unsafe command(piece, at: offset + start)
                }
            }
        } catch {
            throw target.fail(error)
        }
    }

    package func finish() throws(Failure) {
        try target.finish { () throws(Failure) in
            try server.finish(limit: QCOW2ImageWriter.finishLimit)
            try requireSound()
        }
    }

    package func abandon() {
        server.close()
        target.abandon()
    }

    @unsafe private func command(
        _ piece: UnsafeRawBufferPointer,
        at position: Int
    ) throws(Failure) {
        try server.withHandle("write \(piece.count) bytes at \(position)") {
            (handle) throws(Failure) in
            unsafe try handle.write(
                piece,
                at: position,
                deadline: ContinuousClock.now + ImageServer.commandLimit
            )
        }
    }

    /// Over the empty file that is there. Version 3 and clusters of 64 KiB are QEMU's defaults since
    /// 1.7; stated, so that no other default comes to be written.
    private static func create(_ target: WritingTarget, virtualSize: Int) throws(Failure) {
        let result = try QEMUTool.image.run([
            "create", "-q", "-f", "qcow2", "-o", "compat=1.1,cluster_size=65536",
            target.workPath, String(virtualSize),
        ]) { (_) in }
        guard result.end == .exited(0) else {
            throw QEMUComplaint.failure(result.errors, path: target.path, doing: "make")
        }
    }

    /// The server does not say if it failed to write something while it ended.
    private func requireSound() throws(Failure) {
        let check = try ImageCheck.run(path: target.workPath, format: ImageFormat.qcow2.rawValue)
        guard check.leaks ?? 0 == 0 else {
            throw Failure(.io, "qemu-nbd left clusters in it that belong to nothing")
        }
    }
}
