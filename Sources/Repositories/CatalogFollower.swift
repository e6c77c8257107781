package import CCNx
package import Failures
internal import Profiles
package import Store
package import Templates

/// Keeps what this node knows of a namespace up with the catalog of its repository.
///
/// The pointer is a hint; what counts is the signature of the catalog it names and its serial, which
/// never goes back. Records are here before their versions are shown.
package struct CatalogFollower: Sendable {
    package let namespace: Name
    private let store: LayeredStore
    private let database: StateDatabase
    private let templates: Templates

    /// A listing is read into memory: some hundred thousand versions.
    private static let listingByteLimit = 64 << 20
    private static let recordsAtOnce = 32

    package init(
        namespace: Name,
        store: LayeredStore,
        database: StateDatabase,
        templates: Templates
    ) {
        self.namespace = namespace
        self.store = store
        self.database = database
        self.templates = templates
    }

    /// Takes over a newer catalog, if the pointer names one.
    ///
    /// - Parameter pointer: the id of the signed catalog, as the repository says.
    /// - Parameter now: seconds since 1970.
    /// - Returns: true if something changed.
    package func follow(_ pointer: ObjectId, now: Int) async throws(Failure) -> Bool {
        let known = try database.catalogs().first { $0.namespace == namespace }
        if known?.publishedHere == true { return false }
        if known?.object == pointer { return try await fetchMissingRecords() }
        let signed = try await store.object(ObjectRequest(pointer, under: namespace))
        let catalog = try Catalog(
            signed: signed,
            namespace: namespace,
            trust: templates.trust,
            ownKey: nil
        )
        if let known, catalog.serial <= known.serial {
            throw Failure(
                .untrusted,
                "the repository of \(namespace) offers catalog \(catalog.serial), "
                    + "\(known.serial) is known already"
            )
        }
        guard catalog.expires > now else {
            throw Failure(
                .untrusted,
                "the catalog of \(namespace) has expired",
                hint: "its repository renews it while it runs; are the clocks right?"
            )
        }
        guard catalog.listing.size <= Self.listingByteLimit else {
            throw Failure(
                .tooLarge,
                "the listing of \(namespace) has \(catalog.listing.size) bytes"
            )
        }
        let content = templates.content(catalog.listing, prefix: namespace)
        let listing = try Listing(
            json: try await content.read(at: 0, byteCount: catalog.listing.size),
            namespace: namespace,
            publishedHere: false
        )
        try await fetchRecords(of: listing.versions.filter { $0.withdrawn == nil })
        try database.commit(
            catalog: CatalogRow(
                namespace: namespace,
                serial: catalog.serial,
                object: pointer,
                publishedHere: false,
                expires: catalog.expires
            ),
            versions: listing.versions,
            tags: listing.tags
        )
        try templates.reload()
        return true
    }

    /// The cache may have been deleted: then the records come again.
    private func fetchMissingRecords() async throws(Failure) -> Bool {
        let known = try database.versions().filter { row in
            row.withdrawn == nil && row.template.hasPrefix(namespace)
        }
        var rows: [VersionRow] = []
        for row in known {
            let record = try store.localObject(row.record)
            if record == nil { rows.append(row) }
        }
        guard !rows.isEmpty else { return false }
        try await fetchRecords(of: rows)
        try templates.reload()
        return true
    }

    /// Some at once: a round trip for each would take long where there are many.
    private func fetchRecords(of rows: [VersionRow]) async throws(Failure) {
        for start in stride(from: 0, to: rows.count, by: Self.recordsAtOnce) {
            let some = rows[start..<min(start + Self.recordsAtOnce, rows.count)]
            let failures: [Failure] = await withTaskGroup(of: Failure?.self) { [store] group in
                for row in some {
                    group.addTask {
                        do throws(Failure) {
                            _ = try await store.object(
                                ObjectRequest(row.record, under: row.template)
                            )
                            return nil
                        } catch {
                            return error
                        }
                    }
                }
                var failures: [Failure] = []
                for await failure in group { failures += [failure].compactMap(\.self) }
                return failures
            }
            if let first = failures.first { throw first }
        }
    }
}
