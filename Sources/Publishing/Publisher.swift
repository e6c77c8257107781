internal import CCNx
package import Failures
internal import Files
internal import Images
internal import Profiles
internal import Signing
package import Store
internal import Synchronization
package import Templates

/// Publishes templates: stores their content on this node, and makes them visible here or at a repository
/// elsewhere.
///
/// Promise, in this order and each durable before the next: segments, manifests, record, catalog.
/// Killed anywhere before the last, nothing is visible, and what was stored is found again by id.
///
/// Concurrency: any number of publishes at once; ``Reclaimer`` waits for none of them, and none runs
/// while it does (`gate`).
package final class Publisher: Sendable {
    let store: ContentStore
    let gate: PublishingGate
    let local: LocalDestination

    package typealias Stream = @Sendable (_ byteCount: Int) async throws(Failure) -> [UInt8]

    /// How often progress is told.
    private static let progressInterval = Duration.milliseconds(200)
    private static let attemptLimit = 8

    package init(
        store: ContentStore,
        database: StateDatabase,
        templates: Templates,
        editor: CatalogEditor,
        gate: PublishingGate
    ) {
        self.store = store
        self.gate = gate
        local = LocalDestination(
            store: store,
            database: database,
            templates: templates,
            editor: editor
        )
    }

    /// - Parameters:
    ///   - destination: nil for this node.
    ///   - stream: raw bytes for the disk without a path; fewer than asked for only at the end.
    ///   - now: seconds since 1970.
    package func publish(
        _ request: PublishRequest,
        to destination: (any PublishDestination)? = nil,
        signer: some Signer,
        stream: Stream?,
        now: Int,
        progress: @escaping @Sendable (PublishProgress) -> Void
    ) async throws(Failure) -> PublishReport {
        let clock = ContinuousClock()
        let start = clock.now
        try check(request)
        let destination = destination ?? local
        let offer = try await destination.offer(request.template, signer.publicKey)
        try gate.enterPublish()
        defer { gate.leavePublish() }
        var disks: [TemplateRecord.Item] = []
        var reports: [PublishReport.DiskReport] = []
        for source in request.disks {
            let (item, report) = try await publish(
                source,
                of: request,
                stream: stream,
                since: start,
                progress: progress
            )
            disks.append(item)
            reports.append(report)
        }
        var report = PublishReport(
            template: request.template.uri,
            version: offer.nextVersion,
            isDryRun: request.isDryRun,
            disks: reports,
            seconds: 0
        )
        if !request.isDryRun {
            report.version = try await commit(
                request,
                to: destination,
                disks: disks,
                files: try files(of: request),
                signer: signer,
                now: now
            )
        }
        report.seconds = (clock.now - start).seconds
        return report
    }

    // MARK: Before anything is read

    private func check(_ request: PublishRequest) throws(Failure) {
        _ = try request.template.validatedAsTemplateName()
        guard !request.disks.isEmpty else { throw Failure(.usage, "there is no image to publish") }
        guard request.disks.count <= PublishRequest.diskLimit,
            request.files.count <= PublishRequest.fileLimit
        else {
            throw Failure(
                .tooLarge,
                "a template may have up to \(PublishRequest.diskLimit) disks and "
                    + "\(PublishRequest.fileLimit) files"
            )
        }
        guard ContentDescriptor.segmentSizes.contains(request.segmentSize) else {
            throw Failure(.usage, "the segment size is 4K, 8K, 16K or 32K")
        }
        var names: Set<String> = []
        for name in request.disks.map(\.name) + request.files.map(\.name) {
            try TemplateRecord.check(itemName: name)
            guard names.insert(name).inserted else {
                throw Failure(.usage, "two disks or files of the template are named \(name)")
            }
        }
        let fileBytes = request.files.reduce(0) { $0 + $1.bytes.count }
        guard fileBytes <= PublishRequest.filesByteLimit else {
            throw Failure(
                .tooLarge,
                "the carried files have \(fileBytes) bytes together, they may have "
                    + "\(PublishRequest.filesByteLimit)"
            )
        }
        for file in request.files where file.bytes.count > PublishRequest.fileByteLimit {
            throw Failure(
                .tooLarge,
                "\(file.name) has \(file.bytes.count) bytes, a carried file may have "
                    + "\(PublishRequest.fileByteLimit)"
            )
        }
    }

    // MARK: Disks and files

    private func publish(
        _ source: PublishRequest.DiskSource,
        of request: PublishRequest,
        stream: Stream?,
        since start: ContinuousClock.Instant,
        progress: @escaping @Sendable (PublishProgress) -> Void
    ) async throws(Failure) -> (TemplateRecord.Item, PublishReport.DiskReport) {
        let sink = SegmentSink(
            store: store,
            segmentSize: source.derived?.segmentSize ?? request.segmentSize,
            isDryRun: request.isDryRun
        )
        let reader = DiskReader(sink: sink)
        if let derived = source.derived {
            reader.totalByteCount.store(derived.size, ordering: .relaxed)
        }
        let report = { @Sendable in
            let total = reader.totalByteCount.load(ordering: .relaxed)
            progress(
                PublishProgress(
                    disk: source.name,
                    doneBytes: reader.doneByteCount.load(ordering: .relaxed),
                    totalBytes: total < 0 ? nil : total,
                    newBytes: sink.counts.newBytes,
                    seconds: (ContinuousClock.now - start).seconds
                )
            )
        }
        let ticker = Task {
            while !Task.isCancelled {
                report()
                try? await Task.sleep(for: Self.progressInterval)
            }
        }
        defer { ticker.cancel() }
        let size: Int
        var readBytes = 0
        do throws(Failure) {
            if let derived = source.derived {
                let derivedReader = try DerivedDiskReader(derived, sink: sink, store: store)
                readBytes = try await derivedReader.read { done, _ in
                    reader.doneByteCount.store(done, ordering: .relaxed)
                }
                size = derived.size
            } else {
                size = try await readAll(source, with: reader, stream)
                readBytes = reader.doneByteCount.load(ordering: .relaxed)
            }
        } catch {
            // The next publish finds it, or a reclaim frees it; unrecorded it would be neither.
            try? await Threads.run { () throws(Failure) in try sink.recordRest() }
            throw error
        }
        guard size <= ContentDescriptor.sizeLimit else {
            throw Failure(.tooLarge, "\(source.name) has \(size) bytes, more than 8 TiB")
        }
        let content = try await Threads.run { () throws(Failure) in try sink.finish(size: size) }
        report()
        let counts = sink.counts
        return (
            TemplateRecord.Item(
                name: source.name,
                content: content,
                dataByteCount: counts.newBytes + counts.knownBytes
            ),
            PublishReport.DiskReport(
                name: source.name,
                size: size,
                root: content.root.hex,
                segments: counts.segments,
                holes: content.segmentCount - counts.segments,
                newSegments: counts.newSegments,
                knownSegments: counts.segments - counts.newSegments,
                newBytes: counts.newBytes,
                knownBytes: counts.knownBytes,
                readBytes: readBytes
            )
        )
    }

    private func readAll(
        _ source: PublishRequest.DiskSource,
        with reader: DiskReader,
        _ stream: Stream?
    ) async throws(Failure) -> Int {
        guard let path = source.path else {
            guard let stream else { throw Failure(.usage, "there is no stream to read from") }
            let size = try await reader.read(stream: stream)
            guard size > 0, size % 512 == 0 else {
                throw Failure(
                    .invalid,
                    "standard input gave \(size) bytes, which is no whole number of sectors",
                    hint: "what feeds it may have failed half-way"
                )
            }
            return size
        }
        let image = try await Threads.run { () throws(Failure) in
            try ImageSources.open(path: path, format: source.format)
        }
        defer { image.close() }
        try await reader.read(image)
        try await Threads.run { () throws(Failure) in try image.verifyUnchanged() }
        return image.virtualSize
    }

    private func files(of request: PublishRequest) throws(Failure) -> [TemplateRecord.Item] {
        var items: [TemplateRecord.Item] = []
        for file in request.files {
            let content = try SmallContent.store(file.bytes, in: store)
            items.append(
                TemplateRecord.Item(
                    name: file.name,
                    content: content,
                    dataByteCount: file.bytes.count
                )
            )
        }
        return items
    }

    // MARK: Becoming visible

    private func commit(
        _ request: PublishRequest,
        to destination: any PublishDestination,
        disks: [TemplateRecord.Item],
        files: [TemplateRecord.Item],
        signer: some Signer,
        now: Int
    ) async throws(Failure) -> Int {
        let offer = try await destination.offer(request.template, signer.publicKey)
        let delegation = try await delegation(
            to: offer.delegate,
            of: request.template.prefix(1),
            signer,
            now: now
        )
        var number = offer.nextVersion
        // Another publish may take the number between the look and the commit: sign anew then.
        for _ in 0..<Self.attemptLimit {
            let record = TemplateRecord(
                name: request.template,
                version: number,
                parentVersion: Self.parentVersion(of: number, request),
                publisher: signer.publicKey.keyId,
                time: now,
                properties: request.properties,
                disks: disks,
                files: files,
                origin: request.origin
            )
            let version = SignedVersion(
                record: record,
                signed: try await sign(record, signer, now: now),
                delegation: delegation
            )
            switch try await destination.commit(version, now: now) {
            case .done: return number
            case .taken(let next): number = next
            }
        }
        throw Failure(
            .busy,
            "others publish \(request.template) all the time; each version was taken at once",
            hint: "try again: what is stored is found again"
        )
    }

    private func sign(
        _ record: TemplateRecord,
        _ signer: some Signer,
        now: Int
    ) async throws(Failure) -> [UInt8] {
        let object = ContentObject(name: record.signedName, payload: try record.json())
        let signed = try await signer.sign(object, signatureTimeMilliseconds: UInt64(now) * 1000)
        let packet = try PacketDecoder.decode(signed)
        guard packet.packet == .contentObject(object) else {
            throw Failure(.invalid, "the signer signed something else than the template record")
        }
        try ValidationCheck.verify(packet, expecting: signer.publicKey)
        guard signed.count <= ContentStore.smallObjectLimit else {
            throw Failure(.tooLarge, "the template record has \(signed.count) bytes")
        }
        return signed
    }

    /// The version it was made from; of an image that is taken to be the one before.
    private static func parentVersion(of version: Int, _ request: PublishRequest) -> Int? {
        if let origin = request.origin {
            return origin.template == request.template ? origin.version : nil
        }
        return version > 1 ? version - 1 : nil
    }

    private func delegation(
        to delegate: PublicKey?,
        of namespace: Name,
        _ signer: some Signer,
        now: Int
    ) async throws(Failure) -> [UInt8]? {
        guard let delegate else { return nil }
        return try await signer.sign(
            try Delegation.draft(to: delegate, namespace: namespace),
            signatureTimeMilliseconds: UInt64(now) * 1000
        )
    }
}
