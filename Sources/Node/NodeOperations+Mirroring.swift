internal import CCNx
internal import Control
internal import Faces
internal import Failures
internal import Fetching
internal import Files
internal import Logging
internal import Publishing
internal import Store
internal import Templates

// This node as a mirror repository of namespaces that are published elsewhere.
extension NodeOperations {
    /// Milliseconds that an object may take to come, those asked for before it included.
    private static let objectPatience: UInt64 = 60_000
    /// After a look that failed, if the mirror's own interval is longer.
    private static let retryInterval = Duration.seconds(10)
    /// After one that a full disk ended, at least: the next brings again what was freed.
    private static let fullDiskInterval = Duration.seconds(600)
    private static let progressInterval = Duration.milliseconds(200)

    // MARK: Keeping in step

    /// Begins to keep all mirrors in step: those of the settings and those that commands made.
    func startMirrors() {
        do throws(Failure) {
            let mirrors = configuration.mirrors.map { mirror in
                MirrorRow(
                    namespace: mirror.namespace,
                    source: mirror.source.description,
                    intervalMilliseconds: mirror.intervalMilliseconds,
                    isFromSettings: true
                )
            }
            for namespace in try homes.database.setMirrorsOfSettings(mirrors) {
                logger.error(
                    "namespace of a mirror is published on this node",
                    metadata: ["name": "\(namespace)"]
                )
            }
            for mirror in try homes.database.mirrors() { keepInStep(mirror) }
        } catch {
            logger.error("mirrors are not kept in step", metadata: ["cause": "\(error)"])
        }
    }

    private func keepInStep(_ mirror: MirrorRow) {
        // Not self: the node ends while this sleeps.
        let loop = Task { [weak self, exchange, logger] in
            do throws(Failure) {
                // Connected between two looks as well.
                try await exchange.withSource(at: try FaceAddress(mirror.source), for: .mirror) {
                    _ in
                    while !Task.isCancelled {
                        guard let pause = await self?.lookAtMirror(of: mirror.namespace) else {
                            return
                        }
                        try? await Task.sleep(for: pause)
                    }
                }
            } catch  where error.kind != .cancelled {
                logger.error("mirror is not kept in step", metadata: ["cause": "\(error)"])
            } catch {}
        }
        mirroring.keepInStep(mirror.namespace, loop)
    }

    /// - Returns: how long to wait for the next look; nil if the namespace is to be no mirror any more.
    private func lookAtMirror(of namespace: Name) async -> Duration? {
        let before = mirroring.problem(of: namespace)
        do throws(Failure) {
            guard let mirror = try mirror(of: namespace) else { return nil }
            let interval = Duration.milliseconds(mirror.intervalMilliseconds)
            do throws(Failure) {
                _ = try await bringInStep(mirror, isThorough: false)
                if before != nil {
                    logger.info("mirror is in step again", metadata: ["name": "\(namespace)"])
                }
                return interval
            } catch {
                if error.kind == .cancelled { return interval }
                if before != "\(error)" {
                    logger.warning(
                        "mirror is not in step; what it had stays in use",
                        metadata: ["name": "\(namespace)", "cause": "\(error)"]
                    )
                }
                // Trying soon again does not make room.
                return error.kind == .noSpace
                    ? max(interval, Self.fullDiskInterval) : min(interval, Self.retryInterval)
            }
        } catch {
            logger.error("mirror cannot be looked at", metadata: ["cause": "\(error)"])
            return Self.retryInterval
        }
    }

    private func mirror(of namespace: Name) throws(Failure) -> MirrorRow? {
        try homes.database.mirrors().first { $0.namespace == namespace }
    }

    /// One look at the source, and everything that it has more.
    private func bringInStep(
        _ mirror: MirrorRow,
        isThorough: Bool
    ) async throws(Failure) -> Mirror.Outcome {
        let namespace = mirror.namespace
        let outcome = try await mirroring.round(of: namespace, now: { WallClock.seconds }) {
            [self] () throws(Failure) in
            // The faces may be down already when a node that ends comes here.
            if Task.isCancelled { throw Failure(.cancelled, "the mirror is looked at no more") }
            return try await exchange.withSource(at: try FaceAddress(mirror.source), for: .mirror) {
                (source) throws(Failure) in
                try await followMakingRoom(mirror, from: source, isThorough: isThorough)
            }
        }
        if outcome.pulledObjects > 0 {
            logger.notice(
                "mirror is in step",
                metadata: [
                    "name": "\(namespace)", "serial": "\(outcome.serial)",
                    "bytes": "\(outcome.pulledBytes)",
                ]
            )
        }
        if outcome.withdrawnVersions > 0 { await freeUnlisted() }
        return outcome
    }

    private func followMakingRoom(
        _ mirror: MirrorRow,
        from source: FetchScheduler.SourceId,
        isThorough: Bool
    ) async throws(Failure) -> Mirror.Outcome {
        do throws(Failure) {
            return try await makingRoom { () throws(Failure) in
                try await follow(mirror, from: source, isThorough: isThorough)
            }
        } catch  where error.kind == .noSpace {
            await freeWhatFilledTheDisk()
            throw error.wrapped(
                "\(homes.stateDirectory) has no room for what \(mirror.namespace) lists more",
                hint: "make room on that filesystem, or end it: "
                    + "ccnfs mirror \(mirror.namespace) --stop"
            )
        }
    }

    private func follow(
        _ mirror: MirrorRow,
        from source: FetchScheduler.SourceId,
        isThorough: Bool
    ) async throws(Failure) -> Mirror.Outcome {
        try await Mirror(
            of: mirror.namespace,
            store: homes.store,
            database: homes.database,
            templates: homes.templates,
            gate: homes.gate
        ).follow(
            try await pointer(of: mirror.namespace, from: source),
            from: OneSource(exchange: exchange, source: source, patience: Self.objectPatience),
            at: mirror.source,
            isThorough: isThorough,
            now: WallClock.seconds
        ) { [mirroring] done, total in
            mirroring.note(.init(done: done, total: total), of: mirror.namespace)
        }
    }

    private func pointer(
        of namespace: Name,
        from source: FetchScheduler.SourceId
    ) async throws(Failure) -> ObjectId {
        let answer: [UInt8]
        do throws(Failure) {
            answer = try await exchange.fetch(
                Catalog.name(in: namespace),
                lane: .reader,
                patience: Self.pointerPatience,
                of: source
            ).get().payload
        } catch {
            throw error.wrapped("the catalog of \(namespace) cannot be had")
        }
        return try ObjectId(pointer: answer, of: namespace)
    }

    private func freeUnlisted() async {
        do throws(Failure) {
            let freed = try await reclaim()
            logger.info(
                "freed what mirrors list no more",
                metadata: ["bytes": "\(freed.freedBytes)"]
            )
        } catch {
            // Something is being published: the space goes with the next reclaim.
            logger.info(
                "nothing freed of what mirrors list no more",
                metadata: ["cause": "\(error)"]
            )
        }
    }

    // MARK: Commands

    /// Makes this node a mirror, and returns once it is in step.
    func beginMirror(
        _ request: ControlRequest.Mirror,
        _ session: any ControlSession
    ) async throws(Failure) -> MirrorBegun {
        let mirror = MirrorRow(
            namespace: try Name.namespace(uri: request.namespace),
            source: try FaceAddress(request.source).description,
            intervalMilliseconds: request.intervalMilliseconds,
            isFromSettings: false
        )
        try await startIfStandalone()
        if !request.isOnce {
            if let known = try self.mirror(of: mirror.namespace), known.isFromSettings {
                throw Failure(
                    .exists,
                    "the settings file makes this node a mirror of \(mirror.namespace) already",
                    hint: "change it there and start the node again; --once looks at once"
                )
            }
            try homes.database.setMirror(mirror)
        }
        let reporting = Task { [mirroring] in
            while !Task.isCancelled {
                if let progress = mirroring.progress(of: mirror.namespace) {
                    await session.report(
                        .work(
                            what: "bytes of \(mirror.namespace)",
                            done: progress.done,
                            total: progress.total
                        )
                    )
                }
                try? await Task.sleep(for: Self.progressInterval)
            }
        }
        defer { reporting.cancel() }
        // Whatever comes of the first look, the node goes on looking.
        defer { if !request.isOnce, !isStandalone { keepInStep(mirror) } }
        let outcome: Mirror.Outcome
        do throws(Failure) {
            outcome = try await bringInStep(mirror, isThorough: true)
        } catch  where !request.isOnce {
            throw error.wrapped(
                "this node is not in step with \(mirror.source) yet",
                hint: error.firstHint
                    ?? "a node that runs goes on trying; to end it: "
                    + "ccnfs mirror \(mirror.namespace) --stop"
            )
        }
        return MirrorBegun(
            namespace: mirror.namespace.uri,
            source: mirror.source,
            serial: outcome.serial,
            versions: outcome.versions,
            pulledObjects: outcome.pulledObjects,
            pulledBytes: outcome.pulledBytes
        )
    }

    func endMirror(of namespace: Name) async throws(Failure) {
        if let known = try mirror(of: namespace), known.isFromSettings {
            throw Failure(
                .exists,
                "the settings file makes this node a mirror of \(namespace)",
                hint: "take it out there and start the node again first"
            )
        }
        await mirroring.end(namespace)
        guard try homes.database.removeMirror(namespace) else {
            throw Failure(.notFound, "this node is no mirror of \(namespace)")
        }
        await freeUnlisted()
    }

    // MARK: Status

    func mirrorReports() throws(Failure) -> [NodeStatus.MirrorReport] {
        let catalogs = try homes.database.catalogs()
        var reports: [Name: NodeStatus.MirrorReport] = [:]
        for catalog in catalogs {
            guard let source = catalog.mirroredFrom else { continue }
            reports[catalog.namespace] = .init(
                namespace: catalog.namespace.uri,
                source: source,
                serial: catalog.serial
            )
        }
        for mirror in try homes.database.mirrors() {
            var report =
                reports[mirror.namespace]
                ?? .init(namespace: mirror.namespace.uri, source: mirror.source)
            report.source = mirror.source
            report.intervalMilliseconds = mirror.intervalMilliseconds
            reports[mirror.namespace] = report
        }
        return reports.map { mirroring.completed($0.value, $0.key) }
            .sorted { $0.namespace < $1.namespace }
    }
}

extension ObjectId {
    /// What a pointer to a catalog says.
    init(pointer payload: [UInt8], of namespace: Name) throws(Failure) {
        guard let id = ObjectId(bytes: payload) else {
            throw Failure(.invalid, "the pointer to the catalog of \(namespace) is no id")
        }
        self = id
    }
}
