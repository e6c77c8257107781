internal import CCNx
internal import Faces
internal import Failures
internal import Fetching
internal import Forwarding

/// The neighbours of a node and what each is for: those that it was told of at its start, and those added and removed
/// since. A value: whoever changes one compares it with the one before.
struct RouteTable: Sendable, Equatable {
    typealias Route = NodeConfiguration.Route

    enum Origin: Sendable {
        /// Options or the settings file.
        case configured
        /// A command; gone with the process.
        case runTime
        /// Its own announcement on the local link; gone when that is.
        case found
    }

    /// What an address is connected to for, beside routes and peers, for as long as it takes.
    enum Purpose: CaseIterable, Sendable {
        case publish
        case mirror
        /// Of this node's VMs.
        case inventory
        /// One question of a command.
        case request
    }

    private struct Entry: Equatable {
        var cost: UInt32
        var origin: Origin
    }

    /// By address, then by prefix; no address without a route.
    private var routes: [FaceAddress: [Name: Entry]] = [:]
    private var routeCount = 0
    private var peerOrigins: [FaceAddress: Origin] = [:]
    /// Peers that announce themselves, whether or not they are peers otherwise, too.
    private var found: Set<FaceAddress> = []
    /// Connected to by command, whatever for.
    private var added: Set<FaceAddress> = []
    /// How many ask at an address for each purpose; no address without any.
    private var holds: [FaceAddress: [Purpose: Int]] = [:]

    /// Of routes, peers and faces that commands add, together with the configured ones.
    static let limit = 4_096
    private static let prefixSegmentLimit = ForwarderLimits().prefixSegmentCount

    init(routes: [Route] = [], peers: [FaceAddress] = []) {
        configure(routes: routes, peers: peers)
    }

    // MARK: Questions

    /// True if there is someone to ask for the name, whether or not the face is up.
    func hasSource(for name: Name) -> Bool {
        !peerOrigins.isEmpty || !found.isEmpty
            || routes.values.contains { $0.keys.contains { name.hasPrefix($0) } }
    }

    /// Faces to these are kept up.
    var addresses: Set<FaceAddress> {
        added.union(routes.keys).union(peerOrigins.keys).union(found).union(holds.keys)
    }

    /// What it is asked for; nil if it is not asked. One that routes lead to and that is a peer as well is asked like
    /// a repository; so is one that is found, as long as something else asks at it by its address.
    func kind(of address: FaceAddress) -> FetchSource.Kind? {
        let routes = routes(to: address)
        if routes.isEmpty, peerOrigins[address] != nil { return .peer }
        if routes.isEmpty, holds[address] == nil, found.contains(address) { return .peer }
        guard !routes.isEmpty || holds[address] != nil else { return nil }
        return .repository(routes.map { .init(prefix: $0.prefix, cost: $0.cost) })
    }

    /// In the order of their names.
    func routes(to address: FaceAddress) -> [Route] {
        routes[address, default: [:]]
            .map { Route(prefix: $0.key, address: address, cost: $0.value.cost) }
            .sorted { $0.prefix.uri < $1.prefix.uri }
    }

    /// By prefix, then by cost.
    var allRoutes: [(route: Route, origin: Origin)] {
        routes.flatMap { address, entries in
            entries.map { prefix, entry in
                let route = Route(prefix: prefix, address: address, cost: entry.cost)
                return (route: route, origin: entry.origin)
            }
        }
        .sorted { left, right in
            (left.route.prefix.uri, left.route.cost, left.route.address.description)
                < (right.route.prefix.uri, right.route.cost, right.route.address.description)
        }
    }

    var peers: [(address: FaceAddress, origin: Origin)] {
        (peerOrigins.map { (address: $0.key, origin: $0.value) }
            + found.filter { peerOrigins[$0] == nil }.map { (address: $0, origin: .found) })
            .sorted { $0.address.description < $1.address.description }
    }

    func isPeer(_ address: FaceAddress) -> Bool {
        peerOrigins[address] != nil || found.contains(address)
    }
    func isAdded(_ address: FaceAddress) -> Bool { added.contains(address) }
    /// What it is held for, in the order of ``Purpose``.
    func purposes(of address: FaceAddress) -> [Purpose] {
        Purpose.allCases.filter { holds[address]?[$0] != nil }
    }

    /// Those whose catalogs are followed: the first segments of all prefixes.
    var namespaces: Set<Name> {
        Set(routes.values.flatMap(\.keys).lazy.filter { !$0.isEmpty }.map { $0.prefix(1) })
    }

    // MARK: Changes

    /// Takes over what the settings say now. What was added at run time stays; what is in the settings is theirs.
    mutating func configure(routes wanted: [Route], peers wantedPeers: [FaceAddress]) {
        for (address, entries) in routes {
            for (prefix, entry) in entries where entry.origin == .configured {
                set(prefix, address, nil)
            }
        }
        for route in wanted {
            set(route.prefix, route.address, Entry(cost: route.cost, origin: .configured))
        }
        peerOrigins = peerOrigins.filter { $0.value == .runTime }
        for peer in wantedPeers { peerOrigins[peer] = .configured }
    }

    /// Adds a route, or gives it another cost.
    ///
    /// - Parameter cost: nil for the one that it has, or the default.
    /// - Returns: false if it was there like that already.
    mutating func addRoute(
        _ prefix: Name,
        _ address: FaceAddress,
        cost: UInt32?
    ) throws(Failure) -> Bool {
        guard prefix.segments.count <= Self.prefixSegmentLimit else {
            throw Failure(
                .tooLarge,
                "\(prefix) has more than \(Self.prefixSegmentLimit) segments to be routed"
            )
        }
        let before = routes[address]?[prefix]
        if before == nil { try checkRoom() }
        let cost = cost ?? before?.cost ?? Route.defaultCost
        guard before?.cost != cost else { return false }
        set(prefix, address, Entry(cost: cost, origin: .runTime))
        return true
    }

    private mutating func set(_ prefix: Name, _ address: FaceAddress, _ entry: Entry?) {
        let before = routes[address, default: [:]].count
        routes[address, default: [:]][prefix] = entry
        let after = routes[address, default: [:]].count
        routeCount += after - before
        if after == 0 { routes[address] = nil }
    }

    /// - Returns: where it was from.
    mutating func removeRoute(_ prefix: Name, _ address: FaceAddress) throws(Failure) -> Origin {
        guard let entry = routes[address]?[prefix] else {
            throw Failure(
                .notFound,
                "there is no route for \(prefix) to \(address)",
                hint: "see: ccnfs route list"
            )
        }
        set(prefix, address, nil)
        return entry.origin
    }

    /// - Returns: false if it is one already.
    mutating func addPeer(_ address: FaceAddress) throws(Failure) -> Bool {
        guard peerOrigins[address] == nil else { return false }
        try checkRoom()
        peerOrigins[address] = .runTime
        return true
    }

    /// - Returns: where it was from.
    mutating func removePeer(_ address: FaceAddress) throws(Failure) -> Origin {
        guard let origin = peerOrigins.removeValue(forKey: address) else {
            guard !found.contains(address) else {
                throw Failure(
                    .notPermitted,
                    "\(address) is found on the local link, and would be found again",
                    hint:
                        "it goes when it is silent; none are looked for without discover in the settings"
                )
            }
            throw Failure(.notFound, "\(address) is no peer", hint: "see: ccnfs peer list")
        }
        return origin
    }

    /// Those that announce themselves now; how many there may be is up to who hears them.
    ///
    /// - Returns: false if they are the same.
    mutating func setFound(_ addresses: Set<FaceAddress>) -> Bool {
        guard found != addresses else { return false }
        found = addresses
        return true
    }

    /// Keeps a face up for itself, whatever else it is for.
    ///
    /// - Returns: false if it was added already.
    mutating func addFace(_ address: FaceAddress) throws(Failure) -> Bool {
        guard !added.contains(address) else { return false }
        try checkRoom()
        added.insert(address)
        return true
    }

    mutating func removeFace(_ address: FaceAddress) { added.remove(address) }

    /// Keeps a face up, to ask by address, until it is released as often.
    mutating func hold(_ address: FaceAddress, for purpose: Purpose) {
        holds[address, default: [:]][purpose, default: 0] += 1
    }

    mutating func release(_ address: FaceAddress, for purpose: Purpose) {
        guard let count = holds[address]?[purpose] else { return }
        holds[address]?[purpose] = count > 1 ? count - 1 : nil
        if holds[address]?.isEmpty == true { holds[address] = nil }
    }

    private func checkRoom() throws(Failure) {
        guard routeCount + peerOrigins.count + added.count < Self.limit else {
            throw Failure(
                .tooLarge,
                "the node has \(Self.limit) routes, peers and faces already"
            )
        }
    }
}
