internal import Failures
internal import Glibc

/// A `qemu-nbd` that serves one image, read-only, to this process alone.
///
/// The listening socket is made here, our own connections to it are made before the server starts,
/// and its name is removed right away: nothing is left on disk however this process ends, nobody
/// else can connect, and there is no socket to wait for. The server takes the socket over the way
/// systemd hands one to a service. It ends by itself with its last connection, so also when this
/// process is killed, at any point; a server that cannot open the image closes the socket, which
/// fails the connections at once.
final class ImageServer: Sendable {
    /// Connections, so callers that can read at once.
    static let connectionCount = 4
    /// For opening the image and the whole chain below it, and the handshake.
    private static let startLimit: Duration = .seconds(60)
    /// How long a server that drops its connections may take to be gone.
    private static let endLimit: Duration = .seconds(2)

    let connections: [NBDConnection]
    private let path: String
    private let child: ChildProcess

    init(path: String, format: ImageFormat) throws(Failure) {
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
                "-c", script, "sh", executable, "--read-only", "--format=\(format.rawValue)",
                "--shared=\(ImageServer.connectionCount)", "--cache=writeback", "--aio=threads",
                "--discard=ignore", path,
            ],
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
                throw error.wrapped("cannot open the image \(path)")
            }
            throw QEMUComplaint.failure(child.takeErrors(), path: path)
        }
        self.connections = connections
        self.path = path
        self.child = child
    }

    /// A failure of a connection, told with what became of the server.
    func explain(_ failure: Failure, _ doing: String) -> Failure {
        let end = failure.kind == .cancelled ? nil : child.waitForEnd(limit: .milliseconds(200))
        let errors = child.takeErrors()
        let message = "cannot \(doing) of the image \(path)"
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
