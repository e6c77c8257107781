internal import CCNx
internal import Control
internal import Faces
internal import Failures
internal import Fetching
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
        try homes.templates.trust.entries.map { (entry) throws(Failure) in
            TrustSummary(
                prefix: entry.prefix.uri,
                keyId: entry.keyId.digest.hex,
                algorithm: "\(try PublicKey(der: entry.publicKeyDER).algorithm)",
                rights: entry.rights.names,
                isConfigured: isConfigured(entry)
            )
        }
    }

    private func isConfigured(_ entry: TrustEntry) -> Bool {
        homes.templates.configuredTrust.contains {
            $0.prefix == entry.prefix && $0.keyId == entry.keyId
        }
    }

    /// - Parameter rights: names of what it may do; none: publish.
    func addTrust(_ prefix: Name, _ pem: String, _ rights: [String]) throws(Failure) {
        try addTrust(prefix, try PublicKey(pem: Array(pem.utf8)), rights)
    }

    private func addTrust(
        _ prefix: Name,
        _ key: PublicKey,
        _ rights: [String]
    ) throws(Failure) {
        let rights = rights.isEmpty ? TrustRights.publish : try TrustRights(names: rights)
        _ = try homes.database.addTrust(
            try TrustEntry(prefix: prefix, key: key, rights: rights),
            now: WallClock.seconds
        )
        try homes.templates.reload()
    }

    /// Fetches the key with this id by its name, from those who may be asked for names under the prefix or from
    /// one neighbour, and trusts it.
    ///
    /// - Parameter source: a face address.
    func addTrust(
        _ prefix: Name,
        ofKey hex: String,
        from source: String?,
        _ rights: [String]
    ) async throws(Failure) -> TrustSummary {
        guard let digest = SHA256Digest(hex: hex) else {
            throw Failure(.usage, "\(hex) is no key id, which has 64 hexadecimal digits")
        }
        let address = try source.map { (text) throws(Failure) in try FaceAddress(text) }
        let name = KeyName(KeyId(digest), under: prefix)
        let answer: Result<ContentObject, Failure>
        if let address {
            try await startIfStandalone()
            answer = try await exchange.withSource(at: address) { source in
                await exchange.fetch(
                    name.name,
                    lane: .reader,
                    patience: Self.keyPatience,
                    of: source
                )
            }
        } else {
            answer = await exchange.fetch(
                name.name,
                lane: .reader,
                patience: Self.keyPatience,
                mayPeersAnswer: true
            )
        }
        let object: ContentObject
        do throws(Failure) {
            object = try answer.get()
        } catch {
            throw error.wrapped(
                "key \(name.keyId) cannot be had",
                hint:
                    "name who has it: --from HOST; or give the file: ccnfs trust add \(prefix) FILE"
            )
        }
        let key = try name.key(in: object)
        try addTrust(prefix, key, rights)
        return TrustSummary(
            prefix: prefix.uri,
            keyId: key.keyId.digest.hex,
            algorithm: "\(key.algorithm)",
            rights: rights,
            isConfigured: false
        )
    }

    /// The key that signs the catalog of a namespace elsewhere, as far as this node knows one that it believes.
    func catalogKey(of namespace: Name) throws(Failure) -> PublicKey? {
        let row = try homes.database.catalogs().first { $0.namespace == namespace }
        guard let row, !row.publishedHere, let signed = try homes.store.localObject(row.object)
        else { return nil }
        do throws(Failure) {
            _ = try Catalog(
                signed: signed,
                namespace: namespace,
                trust: homes.templates.trust,
                ownKey: nil
            )
        } catch {
            // Trust was taken away since it was taken over.
            return nil
        }
        return try ValidationCheck.embeddedKey(of: try PacketDecoder.decode(signed))
    }

    /// Milliseconds.
    private static let keyPatience: UInt64 = 10_000

    func removeTrust(_ prefix: Name, _ keyId: String) throws(Failure) {
        let matches = homes.templates.trust.entries.filter {
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
        guard !isConfigured(entry) else {
            throw Failure(
                .exists,
                "the settings file trusts key \(entry.keyId) for \(prefix)",
                hint: "take it out there, and let the node read the file anew: SIGHUP"
            )
        }
        _ = try homes.database.removeTrust(prefix: prefix, keyId: entry.keyId)
        try homes.templates.reload()
    }
}

// MARK: - Settings

extension NodeConfiguration {
    /// With the keys, as they lie in their files now.
    func trustEntries() throws(Failure) -> [TrustEntry] {
        try trust.map { (trust) throws(Failure) in
            do throws(Failure) {
                let key = try PublicKey(pem: try FileTree.bytes(of: trust.keyPath))
                return try TrustEntry(prefix: trust.prefix, key: key, rights: trust.rights)
            } catch {
                throw error.wrapped("the key \(trust.keyPath) of the settings cannot be used")
            }
        }
    }
}

extension TrustEntry {
    fileprivate init(prefix: Name, key: PublicKey, rights: TrustRights) throws(Failure) {
        guard !prefix.isEmpty else {
            throw Failure(
                .usage,
                "a key cannot be trusted for every name there is",
                hint: "name at least the namespace: ccnx:/mycorp.com"
            )
        }
        self.init(
            prefix: prefix,
            publicKeyDER: key.derBytes,
            keyId: key.keyId,
            rights: rights
        )
    }
}

// MARK: - Catalogs

extension NodeOperations {
    /// Milliseconds that a pointer may take to come; less where another repository may say it.
    static let pointerPatience: UInt64 = 10_000
    private static let pointerPatienceOfSeveral: UInt64 = 3_000

    /// One look at the pointers of a namespace that other nodes are repositories of: each of them is asked, so
    /// that one that lags behind hides nothing that another has. A namespace that is mirrored here is looked
    /// after by its mirror.
    func followCatalog(of namespace: Name) async {
        let follower = CatalogFollower(
            namespace: namespace,
            store: homes.store,
            database: homes.database,
            templates: homes.templates
        )
        do throws(Failure) {
            if try homes.database.mirrorSource(of: namespace) == nil {
                _ = try await follower.follow(
                    try await pointers(of: namespace),
                    now: WallClock.seconds
                )
            }
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

    /// What each repository of a namespace says is its newest catalog, each once.
    ///
    /// - Throws: why there is none, if nobody answers.
    private func pointers(of namespace: Name) async throws(Failure) -> [ObjectId] {
        let name = Catalog.name(in: namespace)
        let repositories = await exchange.repositories(for: name)
        var pointers: [ObjectId] = []
        var problem: Failure?
        // One after another: asks for one name at once are one ask, which the first answer ends.
        for repository in repositories where !Task.isCancelled {
            do throws(Failure) {
                let answer = try await exchange.fetch(
                    name,
                    lane: .reader,
                    patience: repositories.count > 1
                        ? Self.pointerPatienceOfSeveral : Self.pointerPatience,
                    of: repository
                ).get()
                let pointer = try ObjectId(pointer: answer.payload, of: namespace)
                if !pointers.contains(pointer) { pointers.append(pointer) }
            } catch {
                problem = problem ?? error
            }
        }
        if pointers.isEmpty {
            throw problem ?? Failure(.noSource, "there is no route for \(name)")
        }
        return pointers
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
