internal import CCNx
internal import Failures
internal import Logging
internal import Synchronization
internal import Templates

extension NodeOperations {
    /// Looks after the catalogs of all namespaces that routes lead to, each by itself: a repository that does not
    /// answer holds up no other. One is followed from the moment in which it gets a route until its last route is gone.
    ///
    /// Ends when its task is cancelled. Only one at a time.
    func followCatalogs(every interval: Duration) async {
        var followers: [Name: Task<Void, Never>] = [:]
        for await namespaces in exchange.routes.namespaces {
            for gone in Set(followers.keys).subtracting(namespaces) {
                // From then on it tells of no problem.
                followers.removeValue(forKey: gone)?.cancel()
                _ = catalogProblems.withLock { $0.removeValue(forKey: gone) }
            }
            for namespace in namespaces where followers[namespace] == nil {
                followers[namespace] = Task { await follow(namespace, every: interval) }
            }
        }
        for follower in followers.values { follower.cancel() }
    }

    private func follow(_ namespace: Name, every interval: Duration) async {
        let manifests = ManifestsAhead(
            of: namespace,
            store: homes.store,
            templates: homes.templates
        )
        while !Task.isCancelled {
            await followCatalog(of: namespace)
            manifests.begin()
            try? await Task.sleep(for: interval)
        }
        manifests.cancel()
    }

    /// Takes routes, peers and trust out of the settings, read anew at each element of `requests`, and leaves
    /// everything else as it is.
    func reload<Requests: AsyncSequence>(
        at requests: Requests,
        by read: @Sendable () throws(Failure) -> NodeConfiguration
    ) async where Requests.Failure == Never {
        for await _ in requests {
            do throws(Failure) {
                try await take(try read())
            } catch {
                logger.error(
                    "settings not taken; the old ones stay",
                    metadata: ["cause": "\(error)"]
                )
            }
        }
    }

    private func take(_ new: NodeConfiguration) async throws(Failure) {
        // What can be wrong with it, before anything is changed.
        let trust = try new.trustEntries()
        try await exchange.changeRoutes { $0.configure(routes: new.routes, peers: new.peers) }
        try homes.templates.configure(trust: trust)
        logger.notice(
            "routes, peers and trust taken from the settings",
            metadata: [
                "routes": "\(new.routes.count)", "peers": "\(new.peers.count)",
                "trust": "\(trust.count)",
            ]
        )
        var rest = new
        rest.routes = configuration.routes
        rest.peers = configuration.peers
        rest.trust = configuration.trust
        if rest != configuration {
            logger.warning(
                "other settings than routes, peers and trust are taken at the next start only"
            )
        }
    }
}
