package import CCNx
package import Faces
package import Failures
internal import Files
internal import Glibc
package import Store

/// What a node is told at its start.
package struct NodeConfiguration: Sendable, Equatable {
    package var stateDirectory: String
    package var cacheDirectory: String
    /// Nil for a node that serves others only.
    package var mountPoint: String?
    package var isReadOnly = false
    package var allowsOthers = false
    package var listenAddresses: [FaceAddress] = []
    package var routes: [Route] = []
    /// Nodes near by that may hold what this one wants; asked before those that routes lead to.
    package var peers: [FaceAddress] = []
    /// Nil: neighbours are not looked for on the local links, and none find this node there.
    package var discovery: DiscoverySettings?
    package var faces = FaceSettings()
    /// Bytes of segments the cache may hold.
    package var cacheLimit = Int.max
    /// Bytes of segments that are kept of what passes through for others, beside the cache; 0 keeps nothing.
    package var transitLimit = NodeConfiguration.defaultTransitLimit
    /// A directory for the written blocks of new VMs; nil for the state directory.
    package var overlayPlace: String?
    /// Whether templates may be published here from elsewhere, by keys that are trusted for their names.
    package var acceptsPublishing = false
    /// Whether templates and VMs may be managed here from elsewhere, by keys that have the right, and whether
    /// other nodes may report their VMs.
    package var acceptsManagement = false
    /// What this node is called from elsewhere; nil: it reports no VMs, and nobody asks for them.
    package var nodeName: Name?
    /// Keys that are trusted for as long as the node is told so, beside those that commands add for good.
    package var trust: [Trust] = []
    /// Namespaces that this node is a mirror repository of.
    package var mirrors: [Mirror] = []
    /// Seconds between looks at the catalogs of other repositories.
    package var catalogInterval = 2.0

    package static let defaultTransitLimit = 256 << 20

    /// Whom to ask for names under a prefix.
    package struct Route: Sendable, Hashable {
        package let prefix: Name
        package let address: FaceAddress
        /// Lower is asked first.
        package let cost: UInt32

        package static let defaultCost: UInt32 = 10

        package init(prefix: Name, address: FaceAddress, cost: UInt32 = Route.defaultCost) {
            self.prefix = prefix
            self.address = address
            self.cost = cost
        }

        /// Reads `ccnx:/mycorp.com=tcp:host:9695`.
        package init(_ text: String) throws(Failure) {
            guard let equals = text.firstIndex(of: "=") else {
                throw Failure(
                    .usage,
                    "route \"\(text)\" has no =",
                    hint: "write it as ccnx:/mycorp.com=tcp:HOST:9695"
                )
            }
            let address = try FaceAddress(String(text[text.index(after: equals)...]))
            self.init(prefix: try Name(uri: String(text[..<equals])), address: address)
        }
    }

    /// A namespace to keep in step with another repository of it.
    package struct Mirror: Sendable, Hashable {
        package let namespace: Name
        package let source: FaceAddress
        package let intervalMilliseconds: Int

        package static let defaultIntervalMilliseconds = 60_000

        package init(
            namespace: Name,
            source: FaceAddress,
            intervalMilliseconds: Int = Mirror.defaultIntervalMilliseconds
        ) {
            self.namespace = namespace
            self.source = source
            self.intervalMilliseconds = intervalMilliseconds
        }
    }

    /// What the key in a file may do with all names under a prefix.
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

    package init(stateDirectory: String, cacheDirectory: String) {
        self.stateDirectory = stateDirectory
        self.cacheDirectory = cacheDirectory
    }

    /// Where a node listens for the `ccnfs` commands of its own machine.
    package static func controlPath(stateDirectory: String) -> String {
        "\(stateDirectory)/node.sock"
    }

    /// The homes used when none are named: root's are the system's, others' those of XDG.
    package static func defaultHomes(
        environment: [String: String]
    ) -> (state: String, cache: String) {
        let home = environment["HOME"] ?? "/"
        let isRoot = geteuid() == 0
        let state =
            environment["CCNFS_STATE"]
            ?? (isRoot
                ? "/var/lib/ccnfs"
                : "\(environment["XDG_STATE_HOME"] ?? "\(home)/.local/state")/ccnfs")
        let cache =
            environment["CCNFS_CACHE"]
            ?? (isRoot
                ? "/var/cache/ccnfs" : "\(environment["XDG_CACHE_HOME"] ?? "\(home)/.cache")/ccnfs")
        return (FileTree.absolute(state), FileTree.absolute(cache))
    }
}
