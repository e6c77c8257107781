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

    /// Takes over the newest catalog that the pointers name, if it is newer than the one known.
    ///
    /// A repository that lags behind another hides nothing, and is no fault while there is one that does not.
    ///
    /// - Parameters:
    ///   - pointers: ids of signed catalogs, as the repositories of the namespace say, each once.
    ///   - now: seconds since 1970.
    /// - Returns: true if something changed.
    package func follow(_ pointers: [ObjectId], now: Int) async throws(Failure) -> Bool {
        let known = try database.catalogs().first { $0.namespace == namespace }
        if let known, known.isKept { return false }
        var offers: [Offer] = []
        var failures: [Failure] = []
        for pointer in pointers where pointer != known?.object {
            do throws(Failure) {
                offers.append(Offer(pointer: pointer, catalog: try await catalog(pointer)))
            } catch {
                failures.append(error)
            }
        }
        let isInStep = pointers.contains { $0 == known?.object }
        for offer in offers.sorted(by: { $0.catalog.serial > $1.catalog.serial }) {
            if isInStep, let known, offer.catalog.serial < known.serial { break }
            do throws(Failure) {
                try offer.catalog.check(mayFollow: known, now: now)
                try await takeOver(offer)
                return true
            } catch {
                failures.append(error)
            }
        }
        let hasMissing = isInStep ? try await fetchMissingRecords() : false
        if let first = failures.first { throw first }
        if !hasMissing, let known { try Self.checkIsRenewed(known, now: now) }
        return hasMissing
    }

    /// It stays in use, and whoever looks is told that nobody vouches for it any more.
    private static func checkIsRenewed(_ known: CatalogRow, now: Int) throws(Failure) {
        guard known.expires <= now else { return }
        throw Failure(
            .unavailable,
            "the catalog of \(known.namespace), serial \(known.serial), has expired and was not renewed; it stays in use",
            hint:
                "see whether the repository that publishes the namespace runs; a mirror cannot renew it"
        )
    }

    /// What a repository says is the newest.
    private struct Offer {
        let pointer: ObjectId
        let catalog: Catalog
    }

    private func catalog(_ pointer: ObjectId) async throws(Failure) -> Catalog {
        try Catalog(
            signed: try await store.object(ObjectRequest(pointer, under: namespace)),
            namespace: namespace,
            trust: templates.trust,
            ownKey: nil
        )
    }

    private func takeOver(_ offer: Offer) async throws(Failure) {
        let content = templates.content(offer.catalog.listing, prefix: namespace)
        let listing = try Listing(
            json: try await content.read(at: 0, byteCount: offer.catalog.listing.size),
            namespace: namespace,
            publishedHere: false
        )
        try await fetchRecords(of: listing.versions.filter { $0.withdrawn == nil })
        try database.commit(
            catalog: CatalogRow(
                namespace: namespace,
                serial: offer.catalog.serial,
                object: offer.pointer,
                publishedHere: false,
                expires: offer.catalog.expires
            ),
            versions: listing.versions,
            tags: listing.tags
        )
        try templates.reload()
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
