internal import CCNx
package import Failures
internal import Images
internal import Profiles
internal import Signing
package import Store
internal import Synchronization
package import Templates

/// Publishes templates into this node's store.
///
/// Promise, in this order and each durable before the next: segments, manifests, record, catalog.
/// Killed anywhere before the last, nothing is visible, and what was stored is found again by id.
///
/// Concurrency: any number of publishes at once; ``Reclaimer`` waits for none of them, and none runs
/// while it does (`gate`).
package final class Publisher: Sendable {
    private let store: ContentStore
    private let database: StateDatabase
    private let templates: Templates
    private let editor: CatalogEditor
    private let gate: PublishingGate

    package typealias Stream = @Sendable (_ byteCount: Int) async throws(Failure) -> [UInt8]

    /// How often progress is told.
    private static let progressInterval = Duration.milliseconds(200)

    package init(
        store: ContentStore,
        database: StateDatabase,
        templates: Templates,
        editor: CatalogEditor,
        gate: PublishingGate
    ) {
        self.store = store
        self.database = database
        self.templates = templates
        self.editor = editor
        self.gate = gate
    }

    /// - Parameters:
    ///   - stream: raw bytes for the disk without a path; fewer than asked for only at the end.
    ///   - now: seconds since 1970.
    package func publish(
        _ request: PublishRequest,
        signer: some Signer,
        stream: Stream?,
        now: Int,
        progress: @escaping @Sendable (PublishProgress) -> Void
    ) async throws(Failure) -> PublishReport {
        let clock = ContinuousClock()
        let start = clock.now
        try check(request, signer)
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
            version: try nextVersion(of: request.template),
            isDryRun: request.isDryRun,
            disks: reports,
            seconds: 0
        )
        if !request.isDryRun {
            report.version = try await commit(
                request,
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

    private func check(_ request: PublishRequest, _ signer: some Signer) throws(Failure) {
        let name = try request.template.validatedAsTemplateName()
        guard try templates.trust.key(signer.publicKey.keyId, speakingFor: name) != nil else {
            throw Failure(
                .untrusted,
                "key \(signer.publicKey.keyId) may not sign for \(name) on this node",
                hint: "if it should: ccnfs trust add \(name.prefix(1).uri) PUBLIC-KEY-FILE"
            )
        }
        try editor.checkIsOurs(name.prefix(1))
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

    private func nextVersion(of template: Name) throws(Failure) -> Int {
        let rows = try database.versions().filter { $0.template == template }
        return (rows.map(\.version).max() ?? 0) + 1
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
        disks: [TemplateRecord.Item],
        files: [TemplateRecord.Item],
        signer: some Signer,
        now: Int
    ) async throws(Failure) -> Int {
        try await Threads.run { [store] () throws(Failure) in try store.synchronize() }
        let namespace = request.template.prefix(1)
        let delegation = try await newDelegation(of: namespace, signer, now: now)
        // Another publish may take the number between the look and the commit: sign anew then.
        while true {
            let version = try nextVersion(of: request.template)
            let record = TemplateRecord(
                name: request.template,
                version: version,
                parentVersion: Self.parentVersion(of: version, request),
                publisher: signer.publicKey.keyId,
                time: now,
                properties: request.properties,
                disks: disks,
                files: files,
                origin: request.origin
            )
            let name = request.template.appending(.name("@record"))
                .appending(.name(String(version))).appending(.chunk(0))
            let object = ContentObject(name: name, payload: try record.json())
            let signed = try await signer.sign(
                object,
                signatureTimeMilliseconds: UInt64(now) * 1000
            )
            try check(signed, isSigned: object, of: request.template)
            guard signed.count <= ContentStore.smallObjectLimit else {
                throw Failure(.tooLarge, "the template record has \(signed.count) bytes")
            }
            let id = ObjectId(of: signed)
            try store.insert([(id: id, bytes: signed)], durably: true)
            let row = VersionRow(
                template: request.template,
                version: version,
                record: id,
                publishedHere: true
            )
            var isTaken = false
            try editor.change(namespace, delegation: delegation, now: now) {
                (listing) throws(Failure) in
                isTaken = listing.versions.contains {
                    $0.template == row.template && $0.version >= row.version
                }
                if !isTaken { listing.versions.append(row) }
            }
            if !isTaken { return version }
        }
    }

    /// The version it was made from; of an image that is taken to be the one before.
    private static func parentVersion(of version: Int, _ request: PublishRequest) -> Int? {
        if let origin = request.origin {
            return origin.template == request.template ? origin.version : nil
        }
        return version > 1 ? version - 1 : nil
    }

    /// A version whose record nobody believes must not become visible.
    private func check(
        _ signed: [UInt8],
        isSigned object: ContentObject,
        of template: Name
    ) throws(Failure) {
        let packet = try PacketDecoder.decode(signed)
        guard packet.packet == .contentObject(object) else {
            throw Failure(.invalid, "the signer signed something else than the template record")
        }
        try templates.trust.check(packet, speaksFor: template)
    }

    /// A delegation of the catalog to this node's key, when one is needed and this key may give it.
    private func newDelegation(
        of namespace: Name,
        _ signer: some Signer,
        now: Int
    ) async throws(Failure) -> [UInt8]? {
        let mayDelegate =
            try templates.trust.key(signer.publicKey.keyId, speakingFor: namespace) != nil
        guard mayDelegate, try editor.validDelegation(namespace) == nil else { return nil }
        return try await signer.sign(
            try Delegation.draft(to: editor.nodeKey.publicKey, namespace: namespace),
            signatureTimeMilliseconds: UInt64(now) * 1000
        )
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
