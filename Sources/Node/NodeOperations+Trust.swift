internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Logging
internal import Publishing
internal import Repositories
internal import Signing
internal import Store
internal import Synchronization
internal import Templates

extension NodeOperations {
    func trustSummaries() throws(Failure) -> [TrustSummary] {
        try homes.database.trustEntries().map { (entry) throws(Failure) in
            TrustSummary(
                prefix: entry.prefix.uri,
                keyId: entry.keyId.digest.hex,
                algorithm: "\(try PublicKey(der: entry.publicKeyDER).algorithm)"
            )
        }
    }

    func addTrust(_ prefix: Name, _ pem: String) throws(Failure) {
        guard !prefix.isEmpty else {
            throw Failure(
                .usage,
                "a key cannot be trusted for every name there is",
                hint: "name at least the namespace: ccnx:/mycorp.com"
            )
        }
        let key = try PublicKey(pem: Array(pem.utf8))
        _ = try homes.database.addTrust(
            TrustEntry(prefix: prefix, publicKeyDER: key.derBytes, keyId: key.keyId),
            now: WallClock.seconds
        )
        try homes.templates.reload()
    }

    func removeTrust(_ prefix: Name, _ keyId: String) throws(Failure) {
        let matches = try homes.database.trustEntries().filter {
            $0.prefix == prefix && $0.keyId.digest.hex.hasPrefix(keyId.lowercased())
        }
        guard matches.count == 1, let entry = matches.first else {
            throw Failure(
                .notFound,
                matches.isEmpty
                    ? "no key \(keyId) is trusted for \(prefix)"
                    : "\(keyId) is the beginning of several keys trusted for \(prefix)",
                hint: "see: ccnfs trust list"
            )
        }
        _ = try homes.database.removeTrust(prefix: prefix, keyId: entry.keyId)
        try homes.templates.reload()
    }
}

// MARK: - Catalogs

extension NodeOperations {
    /// One look at the pointer of a namespace that another node is the repository of.
    func followCatalog(of namespace: Name) async {
        let follower = CatalogFollower(
            namespace: namespace,
            store: homes.store,
            database: homes.database,
            templates: homes.templates
        )
        do throws(Failure) {
            let pointer = try await fetcher.payload(of: Catalog.name(in: namespace))
            guard let id = ObjectId(bytes: pointer) else {
                throw Failure(.invalid, "the pointer to the catalog of \(namespace) is no id")
            }
            _ = try await follower.follow(id, now: WallClock.seconds)
            if catalogProblems.withLock({ $0.removeValue(forKey: namespace) }) != nil {
                logger.info("catalog is up to date again", metadata: ["name": "\(namespace)"])
            }
        } catch {
            let isNew = catalogProblems.withLock { problems in
                // Followed no more, since this look began.
                guard !Task.isCancelled else { return false }
                defer { problems[namespace] = "\(error)" }
                return problems[namespace] != "\(error)"
            }
            if isNew {
                logger.warning(
                    "catalog cannot be brought up to date; the last good one stays in use",
                    metadata: ["name": "\(namespace)", "cause": "\(error)"]
                )
            }
        }
    }

    /// Renews catalogs of this node that are more than half through their time.
    func renewCatalogs() async {
        while !Task.isCancelled {
            do throws(Failure) {
                let limit = WallClock.seconds + Catalog.lifetimeSeconds / 2
                for row in try homes.database.catalogs() where row.publishedHere {
                    guard row.expires < limit else { continue }
                    try homes.editor.change(row.namespace, now: WallClock.seconds) { _ in }
                }
            } catch {
                logger.warning("catalog not renewed", metadata: ["cause": "\(error)"])
            }
            try? await Task.sleep(for: .seconds(3600))
        }
    }
}
