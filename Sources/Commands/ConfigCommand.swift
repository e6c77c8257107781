internal import ArgumentParser
internal import CCNx
internal import Faces
internal import Failures
internal import Logging
internal import Node
internal import Settings
internal import Store

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Look at a node's settings file.",
        subcommands: [Check.self]
    )

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read a settings file and say what a node would do with it.",
            discussion: """
                Starts nothing and looks at nothing but the file. A fault is told as FILE:LINE:COLUMN,
                the first in the file first, with exit status 78.

                EXAMPLES
                  ccnfs config check /etc/ccnfs/ccnfs.yaml
                  ccnfs config check /etc/ccnfs/ccnfs.yaml --json
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The settings file.", completion: .file()) var file: String

        func run() async throws {
            let settings = try NodeSettings(path: file)
            let report = ConfigurationReport(
                global.nodeConfiguration(settings),
                logLevel: try global.level(settings)
            )
            if global.json { return try Output.json(report) }
            for line in report.lines { Output.line(line) }
        }
    }
}

/// What a node would do, as `ccnfs config check` tells it.
struct ConfigurationReport: Encodable {
    private let state: String
    private let cache: String
    /// In bytes; nil for no limit.
    private let cacheLimit: Int?
    private let transitLimit: Int
    private let vmStore: String?
    private let mountPoint: String?
    private let readOnly: Bool
    private let allowOther: Bool
    private let listen: [String]
    private let routes: [Route]
    private let peers: [String]
    /// Nil: none are looked for.
    private let discover: Discovery?
    private let acceptPublish: Bool
    private let acceptManagement: Bool
    private let nodeName: String?
    private let trust: [Trust]
    private let mirrors: [Mirror]
    private let catalogIntervalMilliseconds: Int
    private let faces: FaceLimits
    private let compress: [String]
    private let acceptCompression: Bool
    private let logLevel: String

    private struct Route: Encodable {
        let prefix: String
        let address: String
        let cost: UInt32
    }

    private struct Trust: Encodable {
        let prefix: String
        let key: String
        let rights: [String]
    }

    private struct Discovery: Encodable {
        let devices: String
        let port: Int
        let intervalMilliseconds: Int
    }

    private struct Mirror: Encodable {
        let namespace: String
        let from: String
        let intervalMilliseconds: Int
    }

    private struct FaceLimits: Encodable {
        let limit: Int
        let queuedByteCount: Int
        let stallMilliseconds: Int
        let connectTimeoutMilliseconds: Int
    }

    init(_ configuration: NodeConfiguration, logLevel: Logger.Level) {
        state = configuration.stateDirectory
        cache = configuration.cacheDirectory
        cacheLimit = configuration.cacheLimit == .max ? nil : configuration.cacheLimit
        transitLimit = configuration.transitLimit
        vmStore = configuration.overlayPlace
        mountPoint = configuration.mountPoint
        readOnly = configuration.isReadOnly
        allowOther = configuration.allowsOthers
        listen = configuration.listenAddresses.map(\.description)
        routes = configuration.routes.map { route in
            Route(
                prefix: route.prefix.uri,
                address: route.address.description,
                cost: route.cost
            )
        }
        peers = configuration.peers.map(\.description)
        discover = configuration.discovery.map { settings in
            Discovery(
                devices: settings.devices.description,
                port: settings.port,
                intervalMilliseconds: settings.intervalMilliseconds
            )
        }
        acceptPublish = configuration.acceptsPublishing
        acceptManagement = configuration.acceptsManagement
        nodeName = configuration.nodeName?.uri
        trust = configuration.trust.map { entry in
            Trust(prefix: entry.prefix.uri, key: entry.keyPath, rights: entry.rights.names)
        }
        mirrors = configuration.mirrors.map { mirror in
            Mirror(
                namespace: mirror.namespace.uri,
                from: mirror.source.description,
                intervalMilliseconds: mirror.intervalMilliseconds
            )
        }
        catalogIntervalMilliseconds = Int((configuration.catalogInterval * 1_000).rounded())
        faces = FaceLimits(
            limit: configuration.faces.faceCount,
            queuedByteCount: configuration.faces.queuedByteCount,
            stallMilliseconds: Int(configuration.faces.stallMilliseconds),
            connectTimeoutMilliseconds: Int(configuration.faces.connectTimeoutMilliseconds)
        )
        compress = configuration.faces.compressedAddresses.map(\.description).sorted()
        acceptCompression = configuration.faces.acceptsCompression
        self.logLevel = logLevel.rawValue
    }

    var lines: [String] {
        var lines = ["state      \(state)"]
        let limit = cacheLimit.map { "at most \(ByteCount.text($0))" } ?? "without a limit"
        lines.append("cache      \(cache), \(limit)")
        let transit =
            transitLimit == 0 ? "nothing is kept" : "at most \(ByteCount.text(transitLimit))"
        lines.append("transit    \(transit)")
        lines.append("vm-store   \(vmStore ?? "in the state directory")")
        lines.append("mount      \(mount)")
        lines += listen.map { "listen     \($0)" }
        if listen.isEmpty { lines.append("listen     nowhere: other nodes are not answered") }
        lines += routes.map { "route      \($0.prefix) to \($0.address), cost \($0.cost)" }
        if routes.isEmpty { lines.append("route      none: no repository is asked") }
        lines += peers.map { "peer       \($0)" }
        let discovery = discover.map { discover in
            "on the links of \(discover.devices), port \(discover.port), every "
                + Quantity.text(milliseconds: discover.intervalMilliseconds)
        }
        lines.append("discover   \(discovery ?? "no neighbours are looked for")")
        lines.append(
            "publish    \(acceptPublish ? "from elsewhere too, by trusted keys" : "on this node only")"
        )
        lines.append(
            "manage     \(acceptManagement ? "from elsewhere too, by keys with the right" : "on this node only")"
        )
        lines.append("node       \(nodeName ?? "without a name: its VMs are not reported")")
        lines += trust.map { entry in
            "trust      \(entry.prefix): key \(entry.key), \(entry.rights.joined(separator: ", "))"
        }
        lines += mirrors.map { mirror in
            "mirror     \(mirror.namespace) from \(mirror.from), every "
                + Quantity.text(milliseconds: mirror.intervalMilliseconds)
        }
        lines.append("catalogs   every \(Quantity.text(milliseconds: catalogIntervalMilliseconds))")
        lines.append("faces      at most \(faces.limit)")
        lines.append("queue      \(ByteCount.text(faces.queuedByteCount)) a face")
        lines.append("stall      \(Quantity.text(milliseconds: faces.stallMilliseconds))")
        lines.append("connect    \(Quantity.text(milliseconds: faces.connectTimeoutMilliseconds))")
        lines += compress.map { "compress   to \($0), if it agrees" }
        if acceptCompression {
            lines.append("compress   with neighbours that connect and ask for it")
        }
        lines.append("log-level  \(logLevel)")
        return lines
    }

    private var mount: String {
        guard let mountPoint else { return "where ccnfs mount is told" }
        return mountPoint + (readOnly ? ", read-only" : "")
            + (allowOther ? ", other users may use it" : "")
    }
}
