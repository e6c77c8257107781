package import CCNx
package import Failures
internal import Files
internal import Profiles
package import Store
internal import Synchronization
package import Templates

/// Makes this node a mirror repository of a namespace: brings everything that a catalog of another repository
/// names into the published store, and only then takes the catalog over.
///
/// Promise, in this order and each durable before the next: segments, manifests and records; the signed
/// catalog; the row that makes it the namespace's catalog here, with all its versions and tags. Killed anywhere
/// before the last, the catalog before stays in force, and what was stored is found again by id.
///
/// The namespace's catalog vouches for what is brought, so a version is kept whether or not this node trusts its
/// publisher; who reads it judges the record. This node signs nothing of it.
package struct Mirror: Sendable {
    package let namespace: Name
    private let store: LayeredStore
    private let database: StateDatabase
    private let templates: Templates
    private let gate: PublishingGate

    private static let recordsAtOnce = 32

    package init(
        of namespace: Name,
        store: LayeredStore,
        database: StateDatabase,
        templates: Templates,
        gate: PublishingGate
    ) {
        self.namespace = namespace
        self.store = store
        self.database = database
        self.templates = templates
        self.gate = gate
    }

    /// What one look at the source came to.
    package struct Outcome: Sendable, Equatable {
        package var serial: Int
        /// Versions kept here.
        package var versions: Int
        /// What came from the source: segments, nodes, records, catalogs.
        package var pulledObjects = 0
        package var pulledBytes = 0
        /// Versions that were kept before and are withdrawn now; a reclaim frees them.
        package var withdrawnVersions = 0
    }

    /// Bytes of data looked at, and in all.
    package typealias Note = @Sendable (_ doneBytes: Int, _ totalBytes: Int) -> Void

    /// Brings this node in step with the catalog that the source's pointer names.
    ///
    /// - Parameters:
    ///   - pointer: the id of the signed catalog.
    ///   - source: the repository; gives bytes whose ids are right.
    ///   - address: of the source, for those who want to publish.
    ///   - isThorough: looks at versions that are here already too, and brings what was lost of them.
    ///   - now: seconds since 1970.
    /// - Throws: what is wrong with the catalog, or what could not be had; nothing has changed then.
    package func follow(
        _ pointer: ObjectId,
        from source: any ContentSource,
        at address: String,
        isThorough: Bool,
        now: Int,
        note: @escaping Note
    ) async throws(Failure) -> Outcome {
        let known = try database.catalogs().first { $0.namespace == namespace }
        guard known?.publishedHere != true else {
            throw Failure(
                .readOnly,
                "\(namespace) is published on this node, so this node is no mirror of it"
            )
        }
        if let known, known.object == pointer, known.mirroredFrom == address, !isThorough {
            return Outcome(serial: known.serial, versions: try keptVersions().count)
        }
        let pulling = Pulling(store: store, source: source)
        // What is stored before the catalog names it looks like garbage.
        return try await gate.pulling { (claims) async throws(Failure) in
            try await bring(
                pointer,
                known,
                with: puller(pulling, claims),
                pulling,
                at: address,
                isThorough: isThorough,
                now: now,
                note: note
            )
        }
    }

    private func bring(
        _ pointer: ObjectId,
        _ known: CatalogRow?,
        with puller: TreePuller,
        _ pulling: Pulling,
        at address: String,
        isThorough: Bool,
        now: Int,
        note: @escaping Note
    ) async throws(Failure) -> Outcome {
        let kept = known?.mirroredFrom == nil ? [] : try keptVersions()
        let (catalog, signed) = try await self.catalog(pointer, known, pulling, now: now)
        let listing = try await self.listing(of: catalog, puller)
        let listed = listing.versions.filter { $0.withdrawn == nil }
        let knownRecords = isThorough ? [] : Set(kept.map(\.record))
        try await pull(listed.filter { !knownRecords.contains($0.record) }, puller, note)
        let row = CatalogRow(
            namespace: namespace,
            serial: catalog.serial,
            object: pointer,
            publishedHere: false,
            expires: catalog.expires,
            mirroredFrom: address
        )
        try await gate.turn { () async throws(Failure) in
            try await commit(row, signed, listing)
        }
        let records = Set(listed.map(\.record))
        return Outcome(
            serial: catalog.serial,
            versions: listed.count,
            pulledObjects: pulling.objects.load(ordering: .relaxed),
            pulledBytes: pulling.bytes.load(ordering: .relaxed),
            withdrawnVersions: kept.count { !records.contains($0.record) }
        )
    }

    private func keptVersions() throws(Failure) -> [VersionRow] {
        try database.versions().filter { row in
            row.withdrawn == nil && row.template.hasPrefix(namespace)
        }
    }

    // MARK: What there is

    private func catalog(
        _ pointer: ObjectId,
        _ known: CatalogRow?,
        _ pulling: Pulling,
        now: Int
    ) async throws(Failure) -> (catalog: Catalog, signed: [UInt8]) {
        let signed = try await pulling.object(ObjectRequest(pointer, under: namespace))
        let catalog = try Catalog(
            signed: signed,
            namespace: namespace,
            trust: templates.trust,
            ownKey: nil
        )
        // The one that was followed before may be made whole.
        if known?.object != pointer { try catalog.check(mayFollow: known, now: now) }
        return (catalog, signed)
    }

    private func listing(
        of catalog: Catalog,
        _ puller: TreePuller
    ) async throws(Failure) -> Listing {
        let descriptor = catalog.listing
        guard descriptor.segmentSize == SmallContent.segmentSize else {
            throw Failure(.invalid, "the listing of \(namespace) is not in whole small objects")
        }
        try await puller.pullSmall(descriptor, under: namespace)
        let content = templates.content(descriptor, prefix: namespace)
        return try Listing(
            json: try await content.read(at: 0, byteCount: descriptor.size),
            namespace: namespace,
            publishedHere: false
        )
    }

    private func puller(_ pulling: Pulling, _ claims: PullClaims) -> TreePuller {
        TreePuller(store: store.published, source: pulling, gate: gate, claims: claims)
    }

    // MARK: Bringing it

    /// First all records, so that it is known how much there is; they are not kept in memory.
    private func pull(
        _ rows: [VersionRow],
        _ puller: TreePuller,
        _ note: @escaping Note
    ) async throws(Failure) {
        var sum = 0
        for start in stride(from: 0, to: rows.count, by: Self.recordsAtOnce) {
            let some = rows[start..<min(start + Self.recordsAtOnce, rows.count)]
            try await pullRecords(some, puller)
            for row in some { sum = sum.addingSaturating(try record(row).dataByteCount) }
        }
        let total = sum
        let done = Atomic<Int>(0)
        note(0, total)
        var contents: Set<ContentDescriptor> = []
        for row in rows {
            do throws(Failure) {
                for disk in try record(row).disks where contents.insert(disk.content).inserted {
                    try await puller.pull(disk.content, under: row.template) { pulled in
                        let now = done.add(pulled.doneBytes, ordering: .relaxed).newValue
                        note(now, max(now, total))
                    }
                }
                for file in try record(row).files where contents.insert(file.content).inserted {
                    try await puller.pullSmall(file.content, under: row.template)
                }
            } catch {
                throw error.wrapped("\(row.template) version \(row.version) is not here yet")
            }
        }
    }

    private func pullRecords(
        _ rows: ArraySlice<VersionRow>,
        _ puller: TreePuller
    ) async throws(Failure) {
        let wanted = Set(try await puller.missing(rows.map(\.record)))
        let missing = rows.filter { wanted.contains($0.record) }
        let source = puller.source
        let results = await withTaskGroup(
            of: Result<(id: ObjectId, bytes: [UInt8]), Failure>.self,
            returning: [Result<(id: ObjectId, bytes: [UInt8]), Failure>].self
        ) { group in
            for row in missing {
                group.addTask {
                    do throws(Failure) {
                        let bytes = try await source.object(
                            ObjectRequest(row.record, under: row.template)
                        )
                        return .success((id: row.record, bytes: bytes))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        var records: [(id: ObjectId, bytes: [UInt8])] = []
        for result in results { records.append(try result.get()) }
        try await puller.insert(records)
    }

    /// A record that was brought.
    private func record(_ row: VersionRow) throws(Failure) -> TemplateRecord {
        do throws(Failure) {
            guard let bytes = try store.published.smallObject(row.record) else {
                throw Failure(.corrupt, "its record was damaged since it came")
            }
            guard case .contentObject(let object) = try PacketDecoder.decode(bytes).packet else {
                throw Failure(.invalid, "its record is no Content Object")
            }
            let record = try TemplateRecord(json: object.payload)
            guard record.name == row.template, record.version == row.version else {
                throw Failure(.invalid, "its record is that of \(record.name) \(record.version)")
            }
            try record.checkLimits()
            return record
        } catch {
            throw error.wrapped("\(row.template) version \(row.version) cannot be mirrored")
        }
    }

    // MARK: Becoming visible

    private func commit(
        _ row: CatalogRow,
        _ signed: [UInt8],
        _ listing: Listing
    ) async throws(Failure) {
        let published = store.published
        try await Threads.run { () throws(Failure) in try published.synchronize() }
        CrashPoint.mirrorPulled.reached()
        try await Threads.run { [database] () throws(Failure) in
            try published.insert([(id: row.object, bytes: signed)], durably: true)
            CrashPoint.mirrorStored.reached()
            try database.commit(catalog: row, versions: listing.versions, tags: listing.tags)
        }
        CrashPoint.mirrorCommitted.reached()
        try templates.reload()
    }
}

/// What the cache has, or the source gives; small objects are as large as objects of their kind may be. Counts
/// what came.
private final class Pulling: ContentSource {
    let objects = Atomic<Int>(0)
    let bytes = Atomic<Int>(0)
    private let store: LayeredStore
    private let source: any ContentSource

    init(store: LayeredStore, source: any ContentSource) {
        self.store = store
        self.source = source
    }

    func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        if Task.isCancelled { throw Failure(.cancelled, "the mirror is looked at no more") }
        // A cache that cannot be read only costs time.
        if let cached = try? store.cache.anyObject(request.id) { return cached }
        let object = try await source.object(request)
        guard source.givesCheckedBytes || ObjectId(of: object) == request.id else {
            throw Failure(.corrupt, "what was sent for object \(request.id) has other bytes")
        }
        guard object.count <= ContentStore.smallObjectLimit else {
            throw Failure(.tooLarge, "object \(request.id) has \(object.count) bytes")
        }
        objects.add(1, ordering: .relaxed)
        bytes.add(object.count, ordering: .relaxed)
        return object
    }
}

extension TemplateRecord {
    /// Of all disks; each is at most 8 TiB, and a record has 64.
    fileprivate var dataByteCount: Int { disks.reduce(0) { $0 + $1.dataByteCount } }
}

extension Int {
    /// A catalog may list more than any disk holds.
    fileprivate func addingSaturating(_ other: Int) -> Int {
        let (sum, isTooLarge) = addingReportingOverflow(other)
        return isTooLarge ? .max : sum
    }
}
