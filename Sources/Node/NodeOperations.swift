internal import CCNx
package import Control
internal import Disks
internal import Faces
package import Failures
internal import Files
internal import Forwarding
internal import Foundation
internal import Glibc
package import Logging
package import Namespace
internal import Profiles
internal import Provisioning
internal import Publishing
internal import Repositories
internal import Signing
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
            return .templates(homes.templates.all().map(TemplateSummary.init))
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

    // MARK: Templates

    private func detail(of name: Name, _ number: Int?) async throws(Failure) -> TemplateDetail {
        let template = try homes.templates.existing(name)
        guard let version = number.map(template.version) ?? template.newest else {
            throw Failure(.notFound, "\(name) has no version \(number.map(String.init) ?? "")")
        }
        guard let record = version.record else {
            throw version.problem
                ?? Failure(.corrupt, "\(name) version \(version.number) has no record")
        }
        func items(_ items: [TemplateRecord.Item]) async throws(Failure) -> [TemplateDetail.Item] {
            var details: [TemplateDetail.Item] = []
            for item in items {
                var local: Int?
                if version.problem == nil {
                    let content = homes.templates.content(item.content, prefix: name)
                    local = try? await content.localByteCount().local
                }
                details.append(
                    TemplateDetail.Item(
                        name: item.name,
                        size: item.content.size,
                        dataBytes: item.dataByteCount,
                        localBytes: local,
                        root: item.content.root.hex,
                        segmentSize: item.content.segmentSize
                    )
                )
            }
            return details
        }
        return TemplateDetail(
            name: name.uri,
            version: VersionSummary(version),
            parentVersion: record.parentVersion,
            origin: record.origin.map { origin in
                TemplateDetail.Origin(
                    machine: origin.machine,
                    snapshot: origin.snapshot,
                    template: origin.template?.uri,
                    version: origin.version
                )
            },
            properties: record.properties,
            disks: try await items(record.disks),
            files: try await items(record.files),
            tags: template.tags.filter { $0.value == version.number }.keys.sorted()
        )
    }

    private func setTag(_ tag: String, of name: Name, to version: Int?) throws(Failure) {
        try TemplateRecord.check(itemName: tag)
        let template = try homes.templates.existing(name)
        if let version, template.version(version) == nil {
            throw Failure(
                .notFound,
                "\(name) has no version \(version)",
                hint: "see: ccnfs versions \(name)"
            )
        }
        try homes.editor.change(name.prefix(1), now: WallClock.seconds) {
            (listing) throws(Failure) in
            listing.tags.removeAll { $0.template == name && $0.tag == tag }
            if let version {
                listing.tags.append(TagRow(template: name, tag: tag, version: version))
            }
        }
    }

    private func publish(
        _ publication: ControlRequest.Publication,
        _ session: any ControlSession
    ) async throws(Failure) -> PublishReport {
        try await publish(
            try PublishRequest(publication),
            try PublicKey(pem: Array(publication.publicKeyPEM.utf8)),
            at: publication.repository,
            repositoryKey: publication.repositoryKey,
            reportingTo: session
        )
    }

    /// - Parameters:
    ///   - repository: the face address of the repository; nil for this node.
    ///   - repositoryKey: the beginning of the id of its key.
    func publish(
        _ request: PublishRequest,
        _ key: PublicKey,
        at repository: String?,
        repositoryKey: String?,
        reportingTo session: any ControlSession
    ) async throws(Failure) -> PublishReport {
        let destination = try await destination(
            repository,
            repositoryKey,
            of: request.template.prefix(1),
            session
        )
        let (reports, continuation) = AsyncStream.makeStream(of: PublishProgress.self)
        let reporting = Task {
            for await progress in reports { await session.report(.publish(progress)) }
        }
        defer { reporting.cancel() }
        do throws(Failure) {
            let report = try await publish(request, key, at: destination, session) {
                continuation.yield($0)
            }
            await destination?.end()
            continuation.finish()
            await reporting.value
            return report
        } catch {
            await destination?.end()
            if error.kind == .noSpace { await freeWhatFilledTheDisk() }
            throw error
        }
    }

    private func publish(
        _ request: PublishRequest,
        _ key: PublicKey,
        at destination: RemoteRepository?,
        _ session: some ControlSession,
        progress: @escaping @Sendable (PublishProgress) -> Void
    ) async throws(Failure) -> PublishReport {
        try await publisher.publish(
            request,
            to: destination,
            signer: SessionSigner(publicKey: key, session: session),
            stream: { (byteCount) async throws(Failure) in
                try await session.read(byteCount: byteCount)
            },
            now: WallClock.seconds,
            progress: progress
        )
    }

    private func destination(
        _ repository: String?,
        _ repositoryKey: String?,
        of namespace: Name,
        _ session: any ControlSession
    ) async throws(Failure) -> RemoteRepository? {
        guard let repository else { return nil }
        let address = try FaceAddress(repository)
        // The repository fetches from here what it lacks.
        try await startIfStandalone()
        return try await RemoteRepository(
            at: address,
            expecting: repositoryKey,
            catalogKey: try catalogKey(of: namespace),
            exchange,
            reportingTo: session
        )
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
        Responder(store: homes.store, database: homes.database, nodeKey: homes.nodeKey)
    }

    /// Answers those who publish here from elsewhere.
    private func publishReceiver() -> PublishReceiver {
        PublishReceiver(
            publisher: publisher,
            exchange: exchange,
            nodeKey: homes.nodeKey,
            isAccepting: configuration.acceptsPublishing,
            logger: logger
        ) { [weak self] in await self?.freeWhatFilledTheDisk() }
    }

    /// What a publish stored before the disk was full is of no use to others, who need the room.
    private func freeWhatFilledTheDisk() async {
        do throws(Failure) {
            let freed = try await reclaim()
            logger.info("freed after a full disk", metadata: ["bytes": "\(freed.freedBytes)"])
        } catch {
            logger.warning("nothing freed after a full disk", metadata: ["cause": "\(error)"])
        }
    }

    private func delete(_ name: Name, _ number: Int?) async throws(Failure) -> Deletion {
        let template = try homes.templates.existing(name)
        if let number, template.version(number) == nil {
            throw Failure(.notFound, "\(name) has no version \(number)")
        }
        let versions = template.versions.map(\.number).filter { number == nil || $0 == number }
        let now = WallClock.seconds
        try homes.editor.change(name.prefix(1), now: now) { (listing) throws(Failure) in
            for index in listing.versions.indices
            where listing.versions[index].template == name
                && versions.contains(listing.versions[index].version)
            {
                listing.versions[index].withdrawn = listing.versions[index].withdrawn ?? now
            }
            listing.tags.removeAll { $0.template == name && versions.contains($0.version) }
        }
        let keptFor = homes.machines.all().filter { machine in
            machine.disks.values.contains { disk in
                disk.contents.contains { $0.prefix == name }
            }
        }
        var freed = Reclaimer.Report()
        do throws(Failure) {
            freed = try await reclaim()
        } catch {
            // What was asked for is done; the space goes with the next reclaim.
            logger.warning("nothing reclaimed after a delete", metadata: ["cause": "\(error)"])
        }
        return Deletion(
            template: name.uri,
            versions: versions,
            freed: freed,
            keptFor: keptFor.map(\.name)
        )
    }

    func reclaim() async throws(Failure) -> Reclaimer.Report {
        let reclaimer = Reclaimer(
            local: homes.store,
            database: homes.database,
            gate: homes.gate,
            reserve: homes.reserve
        )
        let machines = homes.machines
        try await Threads.run { () throws(Failure) in try machines.reclaimOverlays() }
        let inUse = try machines.contentsInUse() + homes.templates.contentsInUse()
        return try await reclaimer.reclaim(
            templates: homes.templates,
            keeping: inUse + (try await keptContents())
        )
    }

    // MARK: The node itself

    private func status() async throws(Failure) -> NodeStatus {
        let report = await exchange.report()
        let problems = catalogProblems.withLock(\.self)
        let known = try homes.database.catalogs()
        var catalogs = known.map { row in
            NodeStatus.CatalogReport(
                namespace: row.namespace.uri,
                serial: row.serial,
                expires: row.expires,
                isPublishedHere: row.publishedHere,
                problem: problems[row.namespace]
            )
        }
        for (namespace, problem) in problems
        where !known.contains(where: { $0.namespace == namespace }) {
            catalogs.append(
                NodeStatus.CatalogReport(
                    namespace: namespace.uri,
                    serial: 0,
                    expires: 0,
                    isPublishedHere: false,
                    problem: problem
                )
            )
        }
        var status = NodeStatus(
            process: Int(getpid()),
            mountPoint: configuration.mountPoint,
            stateDirectory: homes.stateDirectory,
            cacheDirectory: homes.cacheDirectory,
            templates: homes.templates.all().count,
            machines: homes.machines.all().count,
            published: try homes.store.published.usage(),
            cache: try homes.store.cache.usage(),
            overlays: try homes.machines.overlayUsage(),
            store: homes.store.counters.values,
            interestsSent: (report?.sources ?? []).reduce(0) { $0 + $1.interests },
            interestsReceived: Int(report?.counters.interestsReceived ?? 0),
            pendingInterests: report?.pendingInterests ?? 0,
            parkedRequests: tree.parked.count,
            faces: (report?.faces ?? []).map { face in
                NodeStatus.FaceReport(
                    address: face.address.description,
                    isOutgoing: face.direction == .outgoing
                )
            },
            sources: report?.sources ?? [],
            catalogs: catalogs
        )
        status.transit = transit?.report
        (status.kept, status.keptProblem) = try keptReport()
        status.malformedDatagrams = report?.datagrams.malformed ?? 0
        status.datagramsTurnedAway = report?.datagrams.turnedAway ?? 0
        return status
    }

    private func verify(_ session: any ControlSession) async throws(Failure) -> Verification {
        let (reports, continuation) = AsyncStream.makeStream(
            of: ControlProgress.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let reporting = Task { for await progress in reports { await session.report(progress) } }
        defer { reporting.cancel() }
        let store = homes.store
        func findings(_ what: String, _ content: ContentStore) async throws(Failure)
            -> ContentStore.Findings
        {
            try await Threads.run { () throws(Failure) in
                try content.verify { done, total in
                    guard done % 256 == 0 || done == total else { return }
                    continuation.yield(.work(what: what, done: done, total: total))
                }
            }
        }
        let published = try await findings("published segments", store.published)
        let cached = try await findings("cached segments", store.cache)
        continuation.finish()
        return Verification(
            published: published,
            cache: cached,
            stateProblems: try homes.database.integrityProblems()
        )
    }
}
