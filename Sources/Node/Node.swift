internal import CCNx
internal import Control
internal import Disks
internal import Dispatch
internal import FUSE
internal import Faces
package import Failures
internal import Files
internal import Foundation
internal import Glibc
package import Logging
internal import Namespace
internal import Repositories
internal import Store
internal import Synchronization

/// One node: the homes, the tree, the faces, the control socket and, if asked for, the mount.
///
/// Order of the start: homes (locks, databases), sockets, mount. None of these waits for a scan or for
/// a repository, so the mount never does; connecting and following catalogs go on beside it. Order of the end: no new requests, disks
/// durable, faces down, homes released.
package final class Node: Sendable {
    private let configuration: NodeConfiguration
    private let logger: Logger
    private let exchange: PacketExchange
    private let operations: NodeOperations
    private let supervisor = Supervisor()

    /// Takes the homes. Nothing is served yet.
    package init(_ configuration: NodeConfiguration, logger: Logger) throws(Failure) {
        self.configuration = configuration
        self.logger = logger
        exchange = PacketExchange(
            routes: configuration.routes,
            peers: configuration.peers,
            faces: configuration.faces,
            logger: logger
        )
        operations = try NodeOperations(
            configuration,
            exchange: exchange,
            purpose: configuration.mountPoint.map { "mount \($0)" } ?? "node",
            logger: logger
        )
    }

    /// Serves until the mount ends or a signal asks for the end.
    ///
    /// - Parameters:
    ///   - reload: reads the settings anew when SIGHUP asks for it; nil where there are none to read, and SIGHUP ends
    ///     the process.
    ///   - ready: called once commands and the mount answer, with the addresses listened on.
    package func run(
        reload: (@Sendable () throws(Failure) -> NodeConfiguration)? = nil,
        ready: @Sendable ([String]) -> Void
    ) async throws(Failure) {
        let control = try await ControlServer(
            path: NodeConfiguration.controlPath(stateDirectory: configuration.stateDirectory),
            logger: logger
        )
        let addresses = try await exchange.start(
            responder: operations.responder,
            answerers: operations.answerers(),
            transit: operations.transit,
            listening: configuration.listenAddresses
        )
        // What can fail at once has not: now the mount, which nobody should find dead.
        let session = try mount()
        let serving = Task { [operations] in
            await control.serve { (request, session) async throws(Failure) in
                try await operations.perform(request, session: session)
            }
        }
        let following = Task { [operations] in
            await operations.followCatalogs(every: .seconds(configuration.catalogInterval))
        }
        operations.startMirrors()
        let renewing = Task { [operations] in await operations.renewCatalogs() }
        let reporting = Task { [operations] in await operations.reportInventory() }
        let expiring = Task { [operations] in await operations.expireNodes() }
        let keeping = Task { [operations] in await operations.fetchWhatIsKept() }
        // Before anybody knows that this node is there, and ends it.
        let signals = SignalWatch([SIGTERM, SIGINT])
        let reloading = reload.map { reload in
            Task { [operations, hangUps = SignalWatch([SIGHUP])] in
                await operations.reload(at: hangUps.stream, by: reload)
                withExtendedLifetime(hangUps) {}
            }
        }
        ready(addresses.map(\.description))
        tell(.ready(status: status(addresses)))
        let outcome = await waitForEnd(session, signals)
        tell(.stopping(status: "making disks durable"))
        for task in [following, renewing, reporting, expiring, keeping, reloading].compactMap(
            \.self
        ) {
            task.cancel()
        }
        operations.mirroring.cancelAll()
        await control.stop()
        await serving.value
        try await finish()
        try outcome.get()
    }

    /// A service manager that cannot be told is no reason to end.
    private func tell(_ event: Supervisor.Event) {
        do throws(Failure) {
            try supervisor.tell(event)
        } catch {
            logger.warning("service manager not told", metadata: ["cause": "\(error)"])
        }
    }

    /// One line, as `systemctl status` shows it.
    private func status(_ addresses: [FaceAddress]) -> String {
        let place = configuration.mountPoint.map { "mounted at \($0)" } ?? "no mount"
        guard !addresses.isEmpty else { return place }
        return "\(place), listening on \(addresses.map(\.description).joined(separator: ", "))"
    }

    private func mount() throws(Failure) -> Session? {
        guard let mountPoint = configuration.mountPoint else { return nil }
        var options = Session.Options()
        options.isReadOnly = configuration.isReadOnly
        options.allowsOthers = configuration.allowsOthers
        return try Session(
            mounting: operations.tree,
            at: mountPoint,
            options: options,
            logger: logger
        )
    }

    /// - Returns: how the mount ended; success after a signal.
    private func waitForEnd(
        _ session: Session?,
        _ signals: SignalWatch
    ) async -> Result<Void, Failure> {
        guard let session else {
            await signals.wait()
            return .success(())
        }
        // A mount that is in use is detached at the signal, and its session ends with the process.
        return await withCheckedContinuation { continuation in
            let once = Once(continuation)
            Thread.detachNewThread {
                do throws(Failure) {
                    try session.serve()
                    once.resume(.success(()))
                } catch {
                    once.resume(.failure(error))
                }
            }
            Task {
                await signals.wait()
                session.unmount()
                try? await Task.sleep(for: .seconds(1))
                once.resume(.success(()))
            }
        }
    }

    private func finish() async throws(Failure) {
        let failures = await operations.homes.machines.flushAll()
        for failure in failures {
            logger.error("disk not durable at the end", metadata: ["cause": "\(failure)"])
        }
        operations.homes.machines.finishBackgroundWork()
        await exchange.stop()
        try operations.homes.database.synchronize()
        if let first = failures.first { throw first }
    }
}

/// Resumes a continuation the first time only.
private final class Once: Sendable {
    private let continuation: Mutex<CheckedContinuation<Result<Void, Failure>, Never>?>

    init(_ continuation: CheckedContinuation<Result<Void, Failure>, Never>) {
        self.continuation = Mutex(continuation)
    }

    func resume(_ result: Result<Void, Failure>) {
        continuation.withLock { $0.take() }?.resume(returning: result)
    }
}

/// Waits for signals that would otherwise end the process.
///
/// Sendable: the sources are set up in the initialiser and only kept alive afterwards.
private final class SignalWatch: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]
    /// An element for each; ends never.
    let stream: AsyncStream<Void>

    init(_ signals: [Int32]) {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        self.stream = stream
        let armed = DispatchGroup()
        sources = signals.map { number in
            armed.enter()
            _ = signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield() }
            source.setRegistrationHandler { armed.leave() }
            source.resume()
            return source
        }
        // A signal that comes before its source listens is ignored for good.
        armed.wait()
    }

    func wait() async {
        var signals = stream.makeAsyncIterator()
        await signals.next()
    }
}
