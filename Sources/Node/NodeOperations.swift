internal import CCNx
package import Control
internal import Disks
package import Failures
internal import Glibc
package import Logging
package import Namespace
internal import Publishing
internal import Repositories
internal import Store
internal import Synchronization
internal import Templates

/// What the `ccnfs` commands ask for, done on this process's homes; by a node for a command at its
/// socket, or by the command itself when no node runs.
package final class NodeOperations: Sendable {
    let homes: Homes
    package let tree: Tree
    let logger: Logger
    let configuration: NodeConfiguration
    let exchange: PacketExchange
    /// One command's: nobody is connected.
    let isStandalone: Bool
    private let isStarted = Mutex(false)
    let fetcher: Fetcher
    let publisher: Publisher
    /// Nil if nothing is kept of what passes through.
    let transit: TransitCache?
    let catalogProblems = Mutex<[Name: String]>([:])
    /// The nodes that report here.
    let nodeBook: NodeBook
    let keptStates = Mutex<[PinRow: KeptState]>([:])
    /// Held while the set of pins changes.
    let pinning = Mutex<Void>(())
    let mirroring = Mirroring()
    /// Cancelled when the node ends, and then awaited for a while: before the homes are given back.
    let workForOthers = WorkForOthers()

    init(
        _ configuration: NodeConfiguration,
        exchange: PacketExchange,
        purpose: String,
        isStandalone: Bool = false,
        logger: Logger
    ) throws(Failure) {
        self.isStandalone = isStandalone
        nodeBook = NodeBook(exchange: exchange)
        self.configuration = configuration
        self.exchange = exchange
        self.logger = logger
        fetcher = Fetcher(exchange: exchange)
        homes = try Homes(configuration, source: fetcher, purpose: purpose, logger: logger)
        transit = homes.store.transit.map { TransitCache(store: $0, logger: logger) }
        tree = Tree(
            templates: homes.templates,
            machines: homes.machines,
            stateDirectory: configuration.stateDirectory,
            owner: Caller(userId: geteuid(), groupId: getegid()),
            isReadOnly: configuration.isReadOnly,
            logger: logger
        )
        publisher = Publisher(
            store: homes.store.published,
            database: homes.database,
            templates: homes.templates,
            editor: homes.editor,
            gate: homes.gate
        )
        try pinWhatIsKept()
    }

    /// Takes the homes for one command; there is nobody to ask for what is not here.
    package convenience init(
        standalone configuration: NodeConfiguration,
        purpose: String,
        logger: Logger
    ) throws(Failure) {
        try self.init(
            configuration,
            exchange: PacketExchange(routes: [], logger: logger),
            purpose: purpose,
            isStandalone: true,
            logger: logger
        )
    }

    package func perform(
        _ request: ControlRequest,
        session: any ControlSession
    ) async throws(Failure) -> ControlResponse {
        switch request {
        case .listTemplates:
            let kept = KeptItems(try homes.database.pins())
            return .templates(homes.templates.all().map { TemplateSummary($0, kept: kept) })
        case .listMachines:
            return .machines(homes.machines.all().map(MachineSummary.init))
        case .show(let template, let version):
            return .template(try await detail(of: try Name(uri: template), version))
        case .tag(let template, let tag, let version):
            try setTag(tag, of: try Name(uri: template), to: version)
            return .done
        case .trustEntries:
            return .trust(try trustSummaries())
        case .addTrust(let prefix, let pem, let rights):
            try addTrust(try Name(uri: prefix), pem, rights)
            return .done
        case .addTrustOfKey(let prefix, let keyId, let source, let rights):
            let prefix = try Name(uri: prefix)
            return .trust([try await addTrust(prefix, ofKey: keyId, from: source, rights)])
        case .mirror(let mirror):
            return .mirrored(try await beginMirror(mirror, session))
        case .endMirror(let namespace):
            try await endMirror(of: try Name(uri: namespace))
            return .done
        case .removeTrust(let prefix, let keyId):
            try removeTrust(try Name(uri: prefix), keyId)
            return .done
        case .publish(let publication):
            return .published(try await publish(publication, session))
        case .deploy(let deployment):
            return .machines(try await deploy(deployment))
        case .snapshot(let machine, let name):
            return .snapshots([try await takeSnapshot(of: machine, named: name)])
        case .deleteSnapshot(let machine, let name):
            try await deleteSnapshot(name, of: machine)
            return .done
        case .listSnapshots(let machine):
            return .snapshots(try snapshots(of: machine))
        case .rollBack(let machine, let snapshot):
            return .rolledBack(disks: try await rollBack(machine, to: snapshot))
        case .compare(let from, let to):
            return .difference(try await compare(from, to))
        case .republish(let republication):
            return .published(try await republish(republication, session))
        case .exportMachine(let export):
            return .machineExported(try await exportMachine(export, session))
        case .importMachine(let machineImport):
            return .machines([try await importMachine(machineImport, session)])
        case .backUp(let directory):
            return .backedUp(try await backUp(to: directory, session))
        case .fetch(let template, let version, let disk, let rate, let isKept):
            return .fetched(
                try await fetch(
                    try Name(uri: template),
                    version,
                    disk,
                    rate,
                    isKept: isKept,
                    session
                )
            )
        case .unkeep(let template, let version):
            return .unkept(try unkeep(try Name(uri: template), version))
        case .delete(let template, let version):
            return .deleted(try await delete(try Name(uri: template), version))
        case .export(let template, let version, let disk, let path, let format, let overwrite):
            let exporter = Exporter(templates: homes.templates)
            return .exported(
                try await exporter.export(
                    try Name(uri: template),
                    version: version,
                    disk: disk,
                    to: path,
                    format: format,
                    overwrite: overwrite,
                    session: session
                )
            )
        case .status:
            var status = try await status()
            status.mirrors = try mirrorReports()
            return .status(status)
        case .fileStatus(let path):
            return .fileStatus(try await FileInspector(homes, tree).report(treePath(path), path))
        case .fileMap(let path):
            return .fileMap(try await FileInspector(homes, tree).map(treePath(path), path))
        case .verify:
            return .verified(try await verify(session))
        case .checkDisk(let path):
            let disk = try FileInspector(homes, tree).disk(treePath(path))
            try await Threads.run { () throws(Failure) in try disk.check() }
            return .done
        case .evict:
            await notePins()
            let store = homes.store
            let freed = try await Threads.run { () throws(Failure) in try store.evictAll() }
            return .freed(Reclaimer.Report(freedBytes: freed))
        case .reclaim:
            return .freed(try await reclaim())
        case .neighbours(let request):
            return .neighbours(try await perform(request))
        case .manage(let errand):
            return try await manage(errand, session)
        case .listNodes(let prefix, let repositories, let pem):
            let prefix = try Name(uri: prefix)
            return .nodes(try await nodes(under: prefix, at: repositories, pem, session))
        }
    }

    /// The part of an absolute path below the mount; other paths are names in the tree already.
    private func treePath(_ path: String) -> String {
        guard let mountPoint = configuration.mountPoint else { return path }
        if path == mountPoint { return "/" }
        return path.hasPrefix(mountPoint + "/") ? String(path.dropFirst(mountPoint.count)) : path
    }

    /// One command's faces come up when it first needs one.
    func startIfStandalone() async throws(Failure) {
        let isFirst = isStarted.withLock { isStarted in
            defer { isStarted = true }
            return !isStarted
        }
        guard isStandalone, isFirst else { return }
        _ = try await exchange.start(responder: responder, listening: [])
    }

    /// Answer the Interests of others that are about something else than objects.
    func answerers() -> [any InterestAnswerer] { [publishReceiver(), managementReceiver()] }

    /// Answers the Interests of others from what is here.
    var responder: Responder {
        Responder(
            store: homes.store,
            database: homes.database,
            nodeKey: homes.nodeKey,
            trust: { [templates = homes.templates] in templates.trust.entries }
        )
    }

    /// Answers those who publish here from elsewhere.
    private func publishReceiver() -> PublishReceiver {
        PublishReceiver(
            publisher: publisher,
            exchange: exchange,
            nodeKey: homes.nodeKey,
            isAccepting: configuration.acceptsPublishing,
            work: workForOthers,
            logger: logger
        ) { [weak self] in await self?.freeWhatFilledTheDisk() }
    }
}
