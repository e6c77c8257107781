internal import CCNx
internal import Control
internal import Faces
internal import Failures
internal import Fetching
internal import Files
internal import Management
internal import Signing
internal import Store
internal import Templates

// What is to be done by other nodes.
extension NodeOperations {
    /// Carries out what other nodes ask for.
    func managementReceiver() -> ManagementReceiver {
        ManagementReceiver(
            homes: homes,
            exchange: exchange,
            book: nodeBook,
            configuration: configuration,
            work: workForOthers,
            logger: logger
        ) { [weak self] (request, session) async throws(Failure) in
            guard let self else { throw Failure(.cancelled, "the node ends") }
            return try await self.perform(request, session: session)
        }
    }

    func manage(
        _ errand: ControlRequest.Errand,
        _ session: any ControlSession
    ) async throws(Failure) -> ControlResponse {
        try await startIfStandalone()
        let key = try PublicKey(pem: Array(errand.publicKeyPEM.utf8))
        let target = try await target(of: errand, session)
        if errand.place == nil, target == configuration.nodeName {
            let request = try errand.operation.request(for: target, key: errand.publicKeyPEM)
            return try await perform(request, session: session)
        }
        let signed = try await SignedErrand(
            errand.operation,
            to: target,
            key: key,
            now: WallClock.seconds,
            signedBy: session
        )
        if errand.place == nil, let face = nodeBook.face(of: target) {
            return try await send(signed, over: face, session)
        }
        return try await send(signed, to: try places(of: errand, target), session)
    }

    /// This node is the repository that the target reports to.
    private func send(
        _ errand: SignedErrand,
        over face: FaceId,
        _ session: any ControlSession
    ) async throws(Failure) -> ControlResponse {
        guard let source = await exchange.source(on: face) else {
            throw Failure(.unavailable, "the connection to \(errand.target) is down")
        }
        defer { exchange.removeSource(source) }
        let remote = RemoteNode(
            label: errand.target.uri,
            exchange: exchange,
            source: source,
            session: session,
            signers: try signers(of: errand)
        )
        return try answer(try await remote.perform(errand), to: errand)
    }

    /// Asks one after the other until somebody knows the target and takes the request. It is the same request
    /// each time, so a node that several of them lead to carries it out once; and where it has begun nobody else
    /// is asked.
    private func send(
        _ errand: SignedErrand,
        to places: [FaceAddress],
        _ session: any ControlSession
    ) async throws(Failure) -> ControlResponse {
        var refusals: [Failure] = []
        var silences: [Failure] = []
        let signers = try signers(of: errand)
        for place in places {
            let outcome = try await exchange.withSource(at: place) { (source) throws(Failure) in
                try await RemoteNode(
                    label: "\(place)",
                    exchange: exchange,
                    source: source,
                    session: session,
                    signers: signers
                ).perform(errand)
            }
            switch outcome {
            case .done(let response): return response
            case .refused(let refusal): refusals.append(refusal)
            case .silent(let silence): silences.append(silence)
            case .unknownTarget: break
            }
        }
        guard let refusal = refusals.first else {
            // That one could not be asked says more than that others do not know.
            return try answer(silences.last.map { .silent($0) } ?? .unknownTarget, to: errand)
        }
        let reasons = refusals + silences
        guard reasons.count > 1 else { throw refusal }
        throw Failure(
            refusal.kind,
            "nobody does it: " + reasons.map { "\($0)" }.joined(separator: "; "),
            hint: refusal.firstHint
        )
    }

    /// The keys of the node that is to do it, as far as they are trusted here as that.
    private func signers(of errand: SignedErrand) throws(Failure) -> [PublicKey] {
        guard errand.operation.isOfNode else { return [] }
        var signers: [PublicKey] = []
        for entry in homes.templates.trust.entries
        where entry.rights.contains(.node) && errand.target.hasPrefix(entry.prefix) {
            signers.append(try PublicKey(der: entry.publicKeyDER))
        }
        return signers
    }

    private func answer(
        _ outcome: RemoteNode.Outcome,
        to errand: SignedErrand
    ) throws(Failure) -> ControlResponse {
        switch outcome {
        case .done(let response): return response
        case .silent(let failure), .refused(let failure): throw failure
        case .unknownTarget:
            throw Failure(
                .notFound,
                "no node \(errand.target) is known there",
                hint: "see: ccnfs vms --all; a node needs --node-name, and its key the right node"
            )
        }
    }

    // MARK: Who, and where

    private func places(
        of errand: ControlRequest.Errand,
        _ target: Name
    ) throws(Failure) -> [FaceAddress] {
        let name: Name
        if let place = errand.place {
            guard place.hasPrefix("ccnx:") else { return [try FaceAddress(place)] }
            name = try Name(uri: place)
        } else {
            name = target
        }
        let places = exchange.repositories(of: name)
        guard !places.isEmpty else {
            throw Failure(
                .noSource,
                "no route leads to \(name.isEmpty ? "a repository" : "\(name)") from here",
                hint: "name an address: --at HOST:9695"
            )
        }
        return places
    }

    /// The name of what is meant; a node may be called by the last segment of its name.
    private func target(
        of errand: ControlRequest.Errand,
        _ session: any ControlSession
    ) async throws(Failure) -> Name {
        if errand.target.hasPrefix("ccnx:") { return try Name(uri: errand.target) }
        func isMeant(_ name: Name) -> Bool { name.segments.last?.text == errand.target }
        if let own = configuration.nodeName, isMeant(own) { return own }
        var repositories: [String] = []
        if let place = errand.place {
            repositories =
                place.hasPrefix("ccnx:")
                ? exchange.repositories(of: try Name(uri: place)).map(\.description) : [place]
        }
        let list = try await nodes(under: Name(), at: repositories, errand.publicKeyPEM, session)
        let found = try list.nodes.map { (node) throws(Failure) in try Name(uri: node.name) }
            .filter(isMeant)
        guard found.count == 1, let name = found.first else {
            if found.isEmpty, let problem = list.problems.first { throw problem.failure.failure }
            throw Failure(
                .notFound,
                found.isEmpty
                    ? "no node \(errand.target) has reported"
                    : "\(errand.target) is the end of several nodes' names",
                hint: "see: ccnfs vms --all, and write the whole name: ccnx:/…/\(errand.target):VM"
            )
        }
        return name
    }

    // MARK: All nodes

    /// - Parameters:
    ///   - repositories: face addresses; none: those that routes lead to.
    ///   - pem: the key that signs the question.
    func nodes(
        under prefix: Name,
        at repositories: [String],
        _ pem: String,
        _ session: any ControlSession
    ) async throws(Failure) -> NodeList {
        try await startIfStandalone()
        let own = repositories.isEmpty ? ownNodes(under: prefix) : []
        let places =
            repositories.isEmpty
            ? exchange.repositories
            : try repositories.map { (text) throws(Failure) in try FaceAddress(text) }
        guard !places.isEmpty || configuration.acceptsManagement || configuration.nodeName != nil
        else {
            throw Failure(
                .noSource,
                "no route leads to a repository from here",
                hint: "name its address: --at HOST:9695"
            )
        }
        guard !places.isEmpty else { return Self.merged(own, []) }
        let errand = try await SignedErrand(
            .listNodes,
            to: prefix,
            key: try PublicKey(pem: Array(pem.utf8)),
            now: WallClock.seconds,
            signedBy: session
        )
        let answers = await withTaskGroup(of: (FaceAddress, Result<NodeList, Failure>).self) {
            group in
            for place in places {
                group.addTask { (place, await self.nodes(at: place, errand, session)) }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        return Self.merged(own, answers)
    }

    /// Those that report here, and this one.
    private func ownNodes(under prefix: Name) -> [NodeList.Node] {
        let now = nodeBook.now
        var nodes = nodeBook.entries.filter { $0.node.hasPrefix(prefix) }
            .map { NodeList.Node($0, now: now) }
        if let name = configuration.nodeName, name.hasPrefix(prefix) {
            nodes.append(NodeList.Node(name, homes.nodeKey.publicKey.keyId, inventory))
        }
        return nodes
    }

    private func nodes(
        at place: FaceAddress,
        _ errand: SignedErrand,
        _ session: any ControlSession
    ) async -> Result<NodeList, Failure> {
        do throws(Failure) {
            guard case .nodes(let list) = try await send(errand, to: [place], session) else {
                throw Failure(.unsupported, "\(place) answered something else than was asked")
            }
            return .success(list)
        } catch {
            return .failure(error)
        }
    }

    /// Of a node that several know the newest report.
    private static func merged(
        _ own: [NodeList.Node],
        _ answers: [(FaceAddress, Result<NodeList, Failure>)]
    ) -> NodeList {
        var problems: [NodeList.Problem] = []
        var all = own
        for (place, answer) in answers {
            switch answer {
            case .success(let list): all += list.nodes
            case .failure(let failure):
                problems.append(.init(repository: "\(place)", failure: WireFailure(failure)))
            }
        }
        let newest = Dictionary(grouping: all, by: \.name).compactMap { _, reports in
            reports.min { $0.ageSeconds < $1.ageSeconds }
        }
        return NodeList(
            nodes: newest.sorted { $0.name < $1.name },
            problems: problems.sorted { $0.repository < $1.repository }
        )
    }
}
