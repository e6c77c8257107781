internal import CCNx
internal import Control
internal import Disks
internal import Faces
internal import Failures
internal import Forwarding
internal import Glibc
internal import Namespace
internal import Publishing
internal import Store
internal import Synchronization
internal import Templates

// How this node is.
extension NodeOperations {
    func status() async throws(Failure) -> NodeStatus {
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
        status.discovery = report?.discovery.map(NodeStatus.DiscoveryReport.init)
        status.datagramsUnsent = report?.datagrams.unsent ?? 0
        status.datagramsWithheld = report?.datagrams.withheld ?? 0
        return status
    }

    func verify(_ session: any ControlSession) async throws(Failure) -> Verification {
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
