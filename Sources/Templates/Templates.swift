package import CCNx
package import Failures
package import Logging
package import Profiles
internal import Signing
package import Store
internal import Synchronization

/// The templates this node knows, with the verdict on each version's signature.
///
/// A record is judged when it is loaded and again when trust changes; nothing of a version is served
/// before. Loading never waits for the network: a record that is not here yet makes its version
/// unreadable, with that as the cause, until it came.
///
/// Concurrency: any thread; `table` and `contents` are held for look-ups, `reload` swaps the table.
package final class Templates: Sendable {
    private let database: StateDatabase
    private let store: LayeredStore
    private let logger: Logger
    private let table = Mutex<[Name: Template]>([:])
    /// Held from reading the database to swapping the table, so that no older state comes last.
    private let reloading = Mutex<Void>(())
    private let policy = Mutex(TrustPolicy([]))
    private let configured: Mutex<[TrustEntry]>
    private let contents = Mutex<[ContentKey: WeakContent]>([:])
    private let observers = Mutex<[@Sendable (Set<Name>) -> Void]>([])

    private struct ContentKey: Hashable {
        let descriptor: ContentDescriptor
        let prefix: Name
    }

    private struct WeakContent: Sendable { weak let content: SegmentedContent? }

    /// - Parameter configuredTrust: what the settings file says, beside what the database has.
    package init(
        database: StateDatabase,
        store: LayeredStore,
        configuredTrust: [TrustEntry] = [],
        logger: Logger
    ) throws(Failure) {
        self.database = database
        self.store = store
        self.logger = logger
        configured = Mutex(configuredTrust)
        try reload()
    }

    package var trust: TrustPolicy { policy.withLock(\.self) }

    /// The part of ``trust`` that the settings file says.
    package var configuredTrust: [TrustEntry] { configured.withLock(\.self) }

    /// Puts what the settings file says now in place of what it said before.
    package func configure(trust: [TrustEntry]) throws(Failure) {
        configured.withLock { $0 = trust }
        try reload()
    }

    /// Calls `observer` with the names of templates that changed, after each change.
    package func onChange(_ observer: @escaping @Sendable (Set<Name>) -> Void) {
        observers.withLock { $0.append(observer) }
    }

    /// Reads trust, versions and tags anew and judges every record.
    package func reload() throws(Failure) {
        let changed = try reloading.withLock { (_) throws(Failure) in try swapTable() }
        if changed.isEmpty { return }
        for observer in observers.withLock(\.self) { observer(changed) }
    }

    /// - Returns: the names of templates that look different now.
    private func swapTable() throws(Failure) -> Set<Name> {
        let trust = TrustPolicy(configured: configuredTrust, added: try database.trustEntries())
        // Before trust is taken over: the verdicts in the table are those of the policy that is in force.
        let rows = try database.versions()
        let tags = try database.tags()
        let isSameTrust = policy.withLock { policy in
            defer { policy = trust }
            return policy.entries == trust.entries
        }
        let old = table.withLock(\.self)
        let known = isSameTrust ? old : [:]
        var new: [Name: Template] = [:]
        for row in rows where row.withdrawn == nil {
            new[row.template, default: Template(name: row.template, versions: [], tags: [:])]
                .versions.append(verdict(known, row) ?? judge(row, trust))
        }
        for row in tags { new[row.template]?.tags[row.tag] = row.version }
        table.withLock { $0 = new }
        return Set(old.keys).union(new.keys).filter { name in
            old[name]?.fingerprint != new[name]?.fingerprint
        }
    }

    /// A record never changes, so a good verdict stands until trust changes.
    private func verdict(_ known: [Name: Template], _ row: VersionRow) -> TemplateVersion? {
        guard let version = known[row.template]?.version(row.version),
            version.recordId == row.record, version.problem == nil
        else { return nil }
        return version
    }

    private func judge(_ row: VersionRow, _ trust: TrustPolicy) -> TemplateVersion {
        var record: TemplateRecord?
        var json: [UInt8] = []
        var problem: Failure?
        do throws(Failure) {
            guard let bytes = try store.localObject(row.record) else {
                throw Failure(.noSource, "its record \(row.record) is not here")
            }
            let packet = try PacketDecoder.decode(bytes)
            guard case .contentObject(let object) = packet.packet else {
                throw Failure(.corrupt, "its record is no Content Object")
            }
            json = object.payload
            let read = try TemplateRecord(json: json)
            record = read
            guard read.name == row.template, read.version == row.version else {
                throw Failure(
                    .corrupt,
                    "its record is that of \(read.name) version \(read.version)"
                )
            }
            try trust.check(packet, speaksFor: row.template)
            guard packet.validation?.keyId == read.publisher else {
                throw Failure(.untrusted, "its record names another publisher than its signature")
            }
        } catch {
            problem = error.wrapped("\(row.template) version \(row.version) is not served")
            logger.warning(
                "template version is not served",
                metadata: [
                    "name": "\(row.template)", "version": "\(row.version)", "cause": "\(error)",
                ]
            )
        }
        return TemplateVersion(
            number: row.version,
            recordId: row.record,
            publishedHere: row.publishedHere,
            record: record,
            recordJSON: json,
            problem: problem
        )
    }
}

// MARK: - Looking

extension Templates {
    package func all() -> [Template] {
        table.withLock { Array($0.values) }.sorted { $0.name < $1.name }
    }

    package func template(named name: Name) -> Template? { table.withLock { $0[name] } }

    /// The template, or a failure that says so.
    package func existing(_ name: Name) throws(Failure) -> Template {
        guard let template = template(named: name) else {
            throw Failure(
                .notFound,
                "there is no template \(name) here",
                hint: "see: ccnfs list"
            )
        }
        return template
    }

    /// A version that may be served: the one asked for, or the newest that is trusted.
    package func served(
        _ name: Name,
        version number: Int?
    ) throws(Failure) -> (version: TemplateVersion, record: TemplateRecord) {
        let template = try existing(name)
        let found = number.map(template.version) ?? template.newest
        guard let version = found else {
            throw Failure(
                .notFound,
                "\(name) has no version \(number.map(String.init) ?? "at all")",
                hint: "see: ccnfs versions \(name)"
            )
        }
        if let problem = version.problem { throw problem }
        guard let record = version.record else {
            throw Failure(.corrupt, "\(name) version \(version.number) has no record")
        }
        return (version, record)
    }

    /// The reader of a content; those who read the same share one.
    package func content(_ descriptor: ContentDescriptor, prefix: Name) -> SegmentedContent {
        let key = ContentKey(descriptor: descriptor, prefix: prefix)
        return contents.withLock { contents in
            if let open = contents[key]?.content { return open }
            let content = SegmentedContent(descriptor, prefix: prefix, store: store)
            contents = contents.filter { $0.value.content != nil }
            contents[key] = WeakContent(content: content)
            return content
        }
    }

    /// Every content that someone reads at the moment.
    package func contentsInUse() -> [SegmentedContent] {
        contents.withLock { $0.values.compactMap(\.content) }
    }
}

extension Template {
    /// Equal for two states that look the same in the tree.
    fileprivate var fingerprint: [String] {
        versions.map { "\($0.number) \($0.recordId) \($0.problem == nil)" }
            + tags.map { "\($0.key) \($0.value)" }.sorted()
    }
}
