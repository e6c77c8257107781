internal import CCNx
internal import Control
internal import Disks
internal import FUSE
internal import Faces
package import Failures
internal import Files
package import Logging
internal import Namespace
internal import Repositories
internal import ServiceLifecycle
internal import Store
internal import UnixSignals

/// One node: the homes, the tree, the faces, the control socket and, if asked for, the mount.
///
/// Order of the start: homes (locks, databases), sockets, mount. None of these waits for a scan or for
/// a repository, so the mount never does; connecting and following catalogs go on beside it. The order of the end is
/// that of ``run(reload:ready:)``, last first.
package final class Node: Sendable {
    private let configuration: NodeConfiguration
    private let logger: Logger
    private let exchange: PacketExchange
    private let operations: NodeOperations
    private let supervisor = Supervisor()

    /// What they began is cancelled; what is not done by then goes with the process, as a crash would end it.
    private static let patienceWithOthers = Duration.seconds(5)

    /// Takes the homes. Nothing is served yet.
    package init(_ configuration: NodeConfiguration, logger: Logger) throws(Failure) {
        self.configuration = configuration
        self.logger = logger
        exchange = PacketExchange(
            routes: configuration.routes,
            peers: configuration.peers,
            faces: configuration.faces,
            discovery: configuration.discovery,
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
        ready: @escaping @Sendable ([String]) -> Void
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
        operations.startMirrors()
        var services = endings(control)
        services += work().map(Work.init)
        services.append(Ending { [operations] () in await operations.mirroring.endAll() })
        services.append(Ending { [self] () in await endWorkForOthers() })
        if let reload {
            // Heard before anybody knows that this node is there.
            let hangUps = await UnixSignalsSequence(trapping: .sighup)
            services.append(
                Work { [operations] in await operations.reload(at: hangUps, by: reload) }
            )
        }
        // Before what waits for an answer of others is awaited.
        services.append(
            Ending { [operations, exchange] () in
                operations.workForOthers.cancel()
                await exchange.endRequests()
            }
        )
        // Before all that may take long, too: a service manager that loses its patience costs nothing then.
        services.append(Ending { [self] () throws(Failure) in try await makeDisksDurable() })
        let mount = session.map(MountService.init)
        if let mount { services.append(mount) }
        services.append(
            Presence(
                began: { [self] in
                    ready(addresses.map(\.description))
                    tell(.ready(status: status(addresses)))
                },
                ends: { [self] in tell(.stopping(status: "making disks durable")) },
                mount: mount
            )
        )
        try await run(services)
    }

    /// What is ended last, the last of it first: commands, disks, faces, homes.
    private func endings(_ control: ControlServer) -> [any Service] {
        [
            Ending { [operations] () throws(Failure) in
                try operations.homes.database.synchronize()
            },
            Ending { [exchange] () in await exchange.stop() },
            Ending { [operations] () in operations.homes.machines.finishBackgroundWork() },
            // Again: commands write, too.
            Ending { [self] () throws(Failure) in try await makeDisksDurable() },
            CommandService(server: control, operations: operations),
        ]
    }

    /// What goes on beside all requests.
    private func work() -> [@Sendable () async -> Void] {
        let operations = operations
        let interval = Duration.seconds(configuration.catalogInterval)
        return [
            { await operations.followCatalogs(every: interval) },
            { await operations.renewCatalogs() },
            { await operations.reportInventory() },
            { await operations.expireNodes() },
            { await operations.fetchWhatIsKept() },
        ]
    }

    /// Until a signal, or one of them, asks for the end.
    private func run(_ services: [any Service]) async throws(Failure) {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map { service in
                    // Whatever fails, the others end in their order.
                    .init(
                        service: service,
                        successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup
                    )
                },
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        do {
            try await group.run()
        } catch {
            throw error as? Failure ?? Failure(.unavailable, "the node ended: \(error)")
        }
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

    private func endWorkForOthers() async {
        let count = await operations.workForOthers.end(within: Self.patienceWithOthers)
        guard count > 0 else { return }
        logger.warning("work for other nodes is cut short", metadata: ["count": "\(count)"])
    }

    private func makeDisksDurable() async throws(Failure) {
        let failures = await operations.homes.machines.flushAll()
        for failure in failures {
            logger.error("disk not durable at the end", metadata: ["cause": "\(failure)"])
        }
        if let first = failures.first { throw first }
    }
}
