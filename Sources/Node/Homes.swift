internal import CCNx
internal import Disks
internal import Failures
internal import Files
internal import Foundation
internal import Logging
internal import Publishing
internal import Signing
internal import Store
internal import Templates

/// The two homes of a node, owned by this process, and everything that lives in them.
///
/// *State* is what exists nowhere else; *cache* may be deleted while nobody uses it.
final class Homes: Sendable {
    let stateDirectory: String
    let cacheDirectory: String
    let database: StateDatabase
    let store: LayeredStore
    let templates: Templates
    let machines: VirtualMachines
    let nodeKey: PrivateKey
    let reserve: SpaceReserve
    let gate = PublishingGate()
    private let locks: [StoreLock]

    /// - Parameter source: asked for what is not here.
    init(
        _ configuration: NodeConfiguration,
        source: any ContentSource,
        purpose: String,
        logger: Logger
    ) throws(Failure) {
        let state = configuration.stateDirectory
        let cache = configuration.cacheDirectory
        guard state != cache else {
            throw Failure(.configuration, "state and cache cannot be the same directory, \(state)")
        }
        stateDirectory = state
        cacheDirectory = cache
        try FileTree.makeDirectory(state, permissions: 0o700)
        try FileTree.makeDirectory(cache, permissions: 0o700)
        locks = [
            try StoreLock(home: state, purpose: purpose),
            try StoreLock(home: cache, purpose: purpose),
        ]
        reserve = SpaceReserve(directory: state)
        database = try StateDatabase(path: "\(state)/state.sqlite")
        store = LayeredStore(
            published: try ContentStore(directory: "\(state)/content"),
            cache: try ContentStore(directory: "\(cache)/content"),
            transit: try Self.transit(in: cache, configuration.transitLimit, logger),
            source: source,
            cacheLimit: configuration.cacheLimit,
            logger: logger
        )
        let templates = try Templates(
            database: database,
            store: store,
            configuredTrust: try configuration.trustEntries(),
            logger: logger
        )
        self.templates = templates
        machines = try VirtualMachines(
            database: database,
            overlaysDirectory: "\(state)/overlays",
            bootId: try BootId.current(),
            reserve: reserve,
            logger: logger,
            overlayPlace: configuration.overlayPlace,
            content: { templates.content($0, prefix: $1) }
        )
        nodeKey = try Self.nodeKey(in: state)
    }

    /// - Returns: nil, and what there was is gone, if the limit is 0.
    private static func transit(
        in cache: String,
        _ limit: Int,
        _ logger: Logger
    ) throws(Failure) -> TransitStore? {
        let directory = "\(cache)/transit"
        guard limit > 0 else {
            try FileTree.removeAll(directory)
            return nil
        }
        do throws(Failure) {
            return try TransitStore(directory: directory, limit: limit)
        } catch {
            // Nobody needs what is in it.
            logger.warning(
                "what passed through before is given up",
                metadata: ["cause": "\(error)"]
            )
            try FileTree.removeAll(directory)
            return try TransitStore(directory: directory, limit: limit)
        }
    }

    /// The key that signs this node's catalogs and answers; made at first use.
    private static func nodeKey(in state: String) throws(Failure) -> PrivateKey {
        let path = "\(state)/keys/node.pem"
        if FileTree.exists(path) {
            let key = try PrivateKey(pem: try FileTree.bytes(of: path))
            try writePublicHalf(of: key, in: state)
            return key
        }
        try FileTree.makeDirectory("\(state)/keys", permissions: 0o700)
        let key = try PrivateKey.generate(.ecP384)
        try FileTree.replace(path, with: try key.pem(), permissions: 0o600)
        try writePublicHalf(of: key, in: state)
        return key
    }

    /// For whoever lets this node speak for a name.
    private static func writePublicHalf(of key: PrivateKey, in state: String) throws(Failure) {
        let path = "\(state)/keys/node.pub"
        if FileTree.exists(path) { return }
        try FileTree.replace(path, with: try key.publicKey.pem(), permissions: 0o644)
    }

    var editor: CatalogEditor {
        CatalogEditor(
            store: store.published,
            database: database,
            templates: templates,
            nodeKey: nodeKey,
            gate: gate
        )
    }
}
