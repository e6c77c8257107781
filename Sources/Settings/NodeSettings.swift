package import CCNx
package import Faces
package import Failures
internal import Files
package import Logging
package import Store

/// What a settings file says of a node; nil for what it does not say.
///
/// ```yaml
/// state: /var/lib/ccnfs
/// cache: {directory: /var/cache/ccnfs, limit: 50G}
/// transit-cache: 256M
/// vm-store: /srv/vms
/// mount: {point: /ccn, read-only: false, allow-other: false}
/// listen: [tcp:127.0.0.1:9695, unix:/run/ccnfs/face.sock]
/// routes:
///   - {prefix: ccnx:/mycorp.com, to: tcp:repo.mycorp.com:9695, cost: 10}
/// peers: [tcp:host2:9695]
/// discover: {devices: [eth0], port: 9696, interval: 10s}
/// accept-publish: false
/// accept-management: false
/// node-name: ccnx:/mycorp.com/nodes/host1
/// trust:
///   - {prefix: ccnx:/mycorp.com, key: admin.pub, rights: [manage, operate]}
/// mirrors:
///   - {namespace: ccnx:/other.com, from: tcp:repo.other.com:9695, interval: 60s}
/// catalogs: {interval: 2s}
/// faces: {limit: 1024, queue: 8M, stall: 30s, connect-timeout: 5s}
/// compress: [tcp:repo.mycorp.com:9695]
/// accept-compression: false
/// log-level: info
/// ```
///
/// `Mounts/ccnfs.yaml` explains each key. Relative paths are relative to the file's directory.
package struct NodeSettings: Sendable {
    package var stateDirectory: String?
    package var cacheDirectory: String?
    package var cacheLimit: Int?
    package var transitLimit: Int?
    package var overlayPlace: String?
    package var mountPoint: String?
    package var isReadOnly: Bool?
    package var allowsOthers: Bool?
    package var listenAddresses: [FaceAddress]?
    package var routes: [Route]?
    package var peers: [FaceAddress]?
    package var discovery: DiscoverySettings?
    package var acceptsPublishing: Bool?
    package var acceptsManagement: Bool?
    package var nodeName: Name?
    package var trust: [Trust]?
    package var mirrors: [Mirror]?
    package var catalogIntervalMilliseconds: Int?
    /// The defaults where the file says nothing.
    package var faces = FaceSettings()
    /// Neighbours that are asked to compress what goes over a connection to them.
    package var compressedAddresses: [FaceAddress]?
    package var acceptsCompression: Bool?
    package var logLevel: Logger.Level?

    /// Whom to ask for names under a prefix.
    package struct Route: Sendable, Hashable {
        package let prefix: Name
        package let address: FaceAddress
        /// Nil for the default.
        package let cost: UInt32?

        package init(prefix: Name, address: FaceAddress, cost: UInt32? = nil) {
            self.prefix = prefix
            self.address = address
            self.cost = cost
        }
    }

    /// A key that may do something with all names under a prefix.
    package struct Trust: Sendable, Hashable {
        package let prefix: Name
        /// Of a public key in PEM form.
        package let keyPath: String
        package let rights: TrustRights

        package init(prefix: Name, keyPath: String, rights: TrustRights = .publish) {
            self.prefix = prefix
            self.keyPath = keyPath
            self.rights = rights
        }
    }

    /// A namespace to keep in step with another repository of it.
    package struct Mirror: Sendable, Hashable {
        package let namespace: Name
        package let source: FaceAddress
        /// Nil for the default.
        package let intervalMilliseconds: Int?

        package init(namespace: Name, source: FaceAddress, intervalMilliseconds: Int? = nil) {
            self.namespace = namespace
            self.source = source
            self.intervalMilliseconds = intervalMilliseconds
        }
    }

    /// Settings that say nothing.
    package init() {}

    /// Reads a file. The first fault in it is told with line and column.
    package init(path: String) throws(Failure) {
        let directory = FileTree.parent(of: FileTree.absolute(path)) ?? "/"
        if let root = try YAMLDocument.root(of: path) { try read(root, beside: directory) }
    }
}

// MARK: - Reading

extension NodeSettings {
    private enum Key: String, CaseIterable {
        case state, cache
        case transitCache = "transit-cache"
        case vmStore = "vm-store"
        case mount, listen, routes, peers, discover, mirrors, catalogs, faces, compress
        case acceptCompression = "accept-compression"
        case acceptPublish = "accept-publish"
        case acceptManagement = "accept-management"
        case nodeName = "node-name"
        case trust
        case logLevel = "log-level"
    }

    private enum CacheKey: String, CaseIterable { case directory, limit }

    private enum MountKey: String, CaseIterable {
        case point
        case readOnly = "read-only"
        case allowOther = "allow-other"
    }

    private enum RouteKey: String, CaseIterable { case prefix, to, cost }

    private enum TrustKey: String, CaseIterable { case prefix, key, rights }

    private enum MirrorKey: String, CaseIterable { case namespace, from, interval }

    private enum CatalogsKey: String, CaseIterable { case interval }

    private enum FacesKey: String, CaseIterable {
        case limit, queue, stall
        case connectTimeout = "connect-timeout"
    }

    private mutating func read(_ root: YAMLValue, beside directory: String) throws(Failure) {
        try root.visit(Key.self) { (key, value) throws(Failure) in
            switch key {
            case .state: stateDirectory = try value.path(beside: directory)
            case .cache: try readCache(value, beside: directory)
            case .transitCache: transitLimit = try value.byteCountOrNone()
            case .vmStore: overlayPlace = try value.path(beside: directory)
            case .mount: try readMount(value, beside: directory)
            case .listen: listenAddresses = try value.addresses()
            case .routes:
                routes = try value.list { (item) throws(Failure) in try Self.route(item) }
            case .peers: peers = try value.addresses()
            case .discover: discovery = try Self.discovery(value)
            case .acceptPublish: acceptsPublishing = try value.flag()
            case .acceptManagement: acceptsManagement = try value.flag()
            case .nodeName:
                nodeName = try value.reading { (text) throws(Failure) in
                    try Name.nodeName(uri: text)
                }
            case .trust:
                trust = try value.list { (item) throws(Failure) in
                    try Self.trust(item, beside: directory)
                }
            case .mirrors: mirrors = try Self.mirrors(value)
            case .catalogs: try readCatalogs(value)
            case .faces: try readFaces(value)
            case .compress:
                compressedAddresses = try value.list { (item) throws(Failure) in
                    try Self.streamAddress(item)
                }
            case .acceptCompression: acceptsCompression = try value.flag()
            case .logLevel: logLevel = try Self.logLevel(value)
            }
        }
    }

    private mutating func readCache(
        _ cache: YAMLValue,
        beside directory: String
    ) throws(Failure) {
        try cache.visit(CacheKey.self) { (key, value) throws(Failure) in
            switch key {
            case .directory: cacheDirectory = try value.path(beside: directory)
            case .limit: cacheLimit = try value.byteCount()
            }
        }
    }

    private mutating func readMount(
        _ mount: YAMLValue,
        beside directory: String
    ) throws(Failure) {
        try mount.visit(MountKey.self) { (key, value) throws(Failure) in
            switch key {
            case .point: mountPoint = try value.path(beside: directory)
            case .readOnly: isReadOnly = try value.flag()
            case .allowOther: allowsOthers = try value.flag()
            }
        }
    }

    private mutating func readCatalogs(_ catalogs: YAMLValue) throws(Failure) {
        try catalogs.visit(CatalogsKey.self) { (key, value) throws(Failure) in
            switch key {
            case .interval:
                catalogIntervalMilliseconds = try value.milliseconds(in: Limits.catalogInterval)
            }
        }
    }

    private mutating func readFaces(_ settings: YAMLValue) throws(Failure) {
        try settings.visit(FacesKey.self) { (key, value) throws(Failure) in
            switch key {
            case .limit: faces.faceCount = try value.integer(in: Limits.faceCount)
            case .queue: faces.queuedByteCount = try value.byteCount(in: Limits.queuedByteCount)
            case .stall:
                faces.stallMilliseconds = Int64(try value.milliseconds(in: Limits.patience))
            case .connectTimeout:
                faces.connectTimeoutMilliseconds = Int64(
                    try value.milliseconds(in: Limits.patience)
                )
            }
        }
    }

    private static func streamAddress(_ item: YAMLValue) throws(Failure) -> FaceAddress {
        let address = try item.address()
        guard !address.isDatagram else {
            throw item.refusal(
                "\(item.name): packets over UDP are not compressed",
                hint: "name neighbours over tcp: or unix:"
            )
        }
        return address
    }

    private static func route(_ item: YAMLValue) throws(Failure) -> Route {
        var found: (prefix: Name?, address: FaceAddress?, cost: Int?) = (nil, nil, nil)
        try item.visit(RouteKey.self) { (key, value) throws(Failure) in
            switch key {
            case .prefix:
                found.prefix = try value.reading { (text) throws(Failure) in try Name(uri: text) }
            case .to: found.address = try value.address()
            case .cost: found.cost = try value.integer(in: Limits.cost)
            }
        }
        guard let prefix = found.prefix else { throw item.missing("prefix", hint: routeForm) }
        guard let address = found.address else { throw item.missing("to", hint: routeForm) }
        return Route(prefix: prefix, address: address, cost: found.cost.map { UInt32($0) })
    }

    private static let routeForm = "write {prefix: ccnx:/mycorp.com, to: tcp:HOST:9695}"

    private static func trust(
        _ item: YAMLValue,
        beside directory: String
    ) throws(Failure) -> Trust {
        var found: (prefix: Name?, keyPath: String?, rights: TrustRights?) = (nil, nil, nil)
        try item.visit(TrustKey.self) { (key, value) throws(Failure) in
            switch key {
            case .prefix:
                found.prefix = try value.reading { (text) throws(Failure) in try Name(uri: text) }
            case .key: found.keyPath = try value.path(beside: directory)
            case .rights: found.rights = try rights(value)
            }
        }
        guard let prefix = found.prefix else { throw item.missing("prefix", hint: trustForm) }
        guard !prefix.isEmpty else {
            throw item.refusal("a key cannot be trusted for every name there is", hint: trustForm)
        }
        guard let keyPath = found.keyPath else { throw item.missing("key", hint: trustForm) }
        return Trust(prefix: prefix, keyPath: keyPath, rights: found.rights ?? .publish)
    }

    private static func rights(_ value: YAMLValue) throws(Failure) -> TrustRights {
        let rights = try value.list { (item) throws(Failure) in
            try item.reading { (text) throws(Failure) in try TrustRights(names: [text]) }
        }
        guard !rights.isEmpty else {
            throw value.refusal("\(value.name) must have one right at least", hint: trustForm)
        }
        return rights.reduce([]) { $0.union($1) }
    }

    private static let trustForm =
        "write {prefix: ccnx:/mycorp.com, key: FILE.pub, rights: [publish]}"

    private static func mirrors(_ value: YAMLValue) throws(Failure) -> [Mirror] {
        var known: Set<Name> = []
        return try value.list { (item) throws(Failure) in
            let mirror = try mirror(item)
            guard known.insert(mirror.namespace).inserted else {
                throw item.refusal("\(mirror.namespace) is mirrored twice")
            }
            return mirror
        }
    }

    private static func mirror(_ item: YAMLValue) throws(Failure) -> Mirror {
        var found: (namespace: Name?, source: FaceAddress?, interval: Int?) = (nil, nil, nil)
        try item.visit(MirrorKey.self) { (key, value) throws(Failure) in
            switch key {
            case .namespace:
                found.namespace = try value.reading { (text) throws(Failure) in
                    try Name.namespace(uri: text)
                }
            case .from: found.source = try value.address()
            case .interval: found.interval = try value.milliseconds(in: Limits.mirrorInterval)
            }
        }
        guard let namespace = found.namespace else {
            throw item.missing("namespace", hint: mirrorForm)
        }
        guard let source = found.source else { throw item.missing("from", hint: mirrorForm) }
        return Mirror(
            namespace: namespace,
            source: source,
            intervalMilliseconds: found.interval
        )
    }

    private static let mirrorForm = "write {namespace: ccnx:/mycorp.com, from: tcp:HOST:9695}"

    private static func logLevel(_ value: YAMLValue) throws(Failure) -> Logger.Level {
        let text = try value.text()
        guard let level = Logger.Level(rawValue: text) else {
            throw value.refusal(
                "\(value.name): there is no log level \(text)",
                hint: "write debug, info, notice, warning or error"
            )
        }
        return level
    }

    /// What a file may ask for; beyond it the node would not work, or not end.
    private enum Limits {
        static let faceCount = 1...65_536
        /// At least one packet of the largest size.
        static let queuedByteCount = 64 << 10...64 << 20
        static let patience = 1...3_600_000
        static let catalogInterval = 100...86_400_000
        static let mirrorInterval = 1_000...86_400_000
        static let cost = 0...Int(UInt32.max)
    }
}

// MARK: - Kinds of values

extension YAMLValue {
    fileprivate func path(beside directory: String) throws(Failure) -> String {
        let path = try text()
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw refusal("\(name) must be a path")
        }
        if path.hasPrefix("/") { return path }
        return directory == "/" ? "/\(path)" : "\(directory)/\(path)"
    }

    fileprivate func address() throws(Failure) -> FaceAddress {
        try reading { (text) throws(Failure) in try FaceAddress(text) }
    }

    fileprivate func addresses() throws(Failure) -> [FaceAddress] {
        try list { (item) throws(Failure) in try item.address() }
    }

    fileprivate func byteCount(in range: ClosedRange<Int> = 1...Int.max) throws(Failure) -> Int {
        let count = try reading { (text) throws(Failure) in try Quantity.byteCount(text) }
        guard range.contains(count) else {
            let least = Quantity.text(byteCount: range.lowerBound)
            let most = Quantity.text(byteCount: range.upperBound)
            throw refusal("\(name) must be from \(least) to \(most)")
        }
        return count
    }

    /// 0 is a size, too.
    fileprivate func byteCountOrNone() throws(Failure) -> Int {
        try text() == "0" ? 0 : byteCount()
    }

    func milliseconds(in range: ClosedRange<Int>) throws(Failure) -> Int {
        let count = try reading { (text) throws(Failure) in try Quantity.milliseconds(text) }
        guard range.contains(count) else {
            let least = Quantity.text(milliseconds: range.lowerBound)
            let most = Quantity.text(milliseconds: range.upperBound)
            throw refusal("\(name) must be from \(least) to \(most)")
        }
        return count
    }
}
