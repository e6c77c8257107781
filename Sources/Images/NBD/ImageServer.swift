internal import Failures
internal import Glibc
internal import Synchronization

/// A `qemu-nbd` that serves one image to this process alone.
///
/// The listening socket is made here, our own connections to it are made before the server starts,
/// and its name is removed right away: nothing is left on disk however this process ends, nobody
/// else can connect, and there is no socket to wait for. The server takes the socket over the way
/// systemd hands one to a service. It ends by itself with its last connection, so also when this
/// process is killed, at any point; a server that cannot open the image closes the socket, which
/// fails the connections at once.
///
/// Concurrency: a caller takes whichever connection is free, or waits for the next in turn.
final class ImageServer: Sendable {
    enum Access: Sendable {
        case reading, writing
    }

    /// No answer for this long means a server that is stuck, not a slow disk.
    static let commandLimit: Duration = .seconds(120)
    /// Connections, so callers that can read at once.
    static let connectionCount = 4
    /// For opening the image and the whole chain below it, and the handshake.
    private static let startLimit: Duration = .seconds(60)
    /// How long a server that drops its connections may take to be gone.
    private static let endLimit: Duration = .seconds(2)

    let connections: [NBDConnection]
    /// What messages call the image.
    private let name: String
    private let child: ChildProcess
    private let turn = Atomic(0)

    init(
        path: String,
        format: ImageFormat,
        access: Access = .reading,
        name: String? = nil
    ) throws(Failure) {
        let name = name ?? path
        let executable = try QEMUTool.server.executable()
        let deadline = ContinuousClock.now + ImageServer.startLimit
        var listener = try Listener(backlog: ImageServer.connectionCount)
        var connections: [NBDConnection] = []
        for _ in 0..<ImageServer.connectionCount {
            connections.append(try NBDConnection(socket: try listener.connect()))
        }
        listener.removeName()
        // $$ is the id the server will have, which must be in LISTEN_PID for it to take the socket.
        let script = "LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec \"$@\""
        let child = try ChildProcess(
            "/bin/sh",
            [
                "-c", script, "sh", executable, "--format=\(format.rawValue)",
                "--shared=\(ImageServer.connectionCount)", "--cache=writeback", "--aio=threads",
                "--discard=ignore",
            ] + (access == .reading ? ["--read-only"] : []) + [path],
            third: listener.socket.number
        )
        // From here on the server alone listens: should it end, the connections do.
        _ = consume listener
        do throws(Failure) {
            for connection in connections {
                try connection.withHandle { (handle) throws(Failure) in
                    try handle.finishConnecting(deadline: deadline)
                }
            }
        } catch {
            guard child.waitForEnd(limit: ImageServer.endLimit) != nil else {
                throw error.wrapped("cannot open the image \(name)")
            }
            throw QEMUComplaint.failure(child.takeErrors(), path: name)
        }
        self.connections = connections
        self.name = name
        self.child = child
    }

    /// Runs `body` with a connection. `doing` is a phrase such as `read 512 bytes at 0`.
    func withHandle(
        _ doing: @autoclosure () -> String,
        _ body: (borrowing NBDHandle) throws(Failure) -> Void
    ) throws(Failure) {
        do throws(Failure) {
            for connection in connections {
                if try connection.tryWithHandle(body) != nil { return }
            }
            let turn = turn.wrappingAdd(1, ordering: .relaxed).oldValue
            try connections[Int(turn.magnitude % UInt(connections.count))].withHandle(body)
        } catch {
            throw explain(error, doing())
        }
    }

    /// Fails unless the image may be written to at any byte and has as many as this.
    func requireBytes(_ byteCount: Int) throws(Failure) {
        try withHandle("tell the size") { (handle) throws(Failure) in
            let found = try handle.byteCount()
            guard found == byteCount, handle.alignment == 1 else {
                throw Failure(
                    .unsupported,
                    "qemu-nbd makes a disk of \(found) bytes in blocks of \(handle.alignment),"
                        + " not one of \(byteCount) in blocks of 1"
                )
            }
        }
    }

    /// Makes durable what was written and lets the server end in order.
    func finish(limit: Duration) throws(Failure) {
        let deadline = ContinuousClock.now + limit
        do throws(Failure) {
            // QEMU shares one cache between its connections, so one flush would do; the protocol
            // promises it only to servers that say so, and a flush of nothing costs nothing.
            for connection in connections {
                try connection.withHandle { (handle) throws(Failure) in
                    try handle.flush(deadline: deadline)
                }
            }
            for connection in connections {
                try connection.withHandle { (handle) throws(Failure) in
                    try handle.disconnect(deadline: deadline)
                }
                connection.close()
            }
        } catch {
            throw explain(error, "write the end")
        }
        guard let end = child.waitForEnd(limit: deadline - .now) else {
            throw Failure(.timedOut, "qemu-nbd does not end")
        }
        guard end == .exited(0) else {
            let errors = QEMUComplaint.summary(child.takeErrors())
            throw Failure(.io, "qemu-nbd ended with \(end): \(errors)")
        }
    }

    /// A failure of a connection, told with what became of the server.
    private func explain(_ failure: Failure, _ doing: String) -> Failure {
        let end = failure.kind == .cancelled ? nil : child.waitForEnd(limit: .milliseconds(200))
        let errors = child.takeErrors()
        let message = "cannot \(doing) of the image \(name)"
        guard let end else {
            return errors.isEmpty
                ? failure.wrapped(message)
                : failure.wrapped("\(message): \(QEMUComplaint.summary(errors))")
        }
        let last = errors.isEmpty ? "" : ": \(QEMUComplaint.summary(errors))"
        return failure.wrapped("\(message): its server qemu-nbd ended with \(end)\(last)")
    }

    /// Ends the server first, which ends reads under way, then the connections.
    func close() {
        child.kill()
        for connection in connections { connection.close() }
    }
}
