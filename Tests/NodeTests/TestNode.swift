import CCNx
import Control
import Faces
import Failures
import Files
import Logging
import Management
import Namespace
import Publishing
import Repositories
import Signing
import Store
import TestSupport

@testable import Node

/// A node without a mount, in a folder of its own, in this process.
final class TestNode: Sendable {
    static let template = "ccnx:/mycorp.com/app1/linuxvm"
    static let disk = "mycorp.com/app1/linuxvm/disk0"
    static let namespace = Name(segments: [.name("mycorp.com")])

    /// Made once a run.
    static let publisherKey = Result { try PrivateKey.generate(.ecP384) }

    let folder: TemporaryFolder
    let exchange: PacketExchange
    let operations: NodeOperations

    /// - Parameters:
    ///   - repository: the address of the node to ask for everything.
    ///   - peers: addresses of nodes to ask before.
    ///   - silent: another repository, which costs less.
    ///   - discovery: how it finds neighbours; nil: not at all.
    ///   - mirrors: namespaces that the settings say are mirrored here.
    ///   - acceptsPublishing: whether templates may be published here from elsewhere.
    ///   - acceptsManagement: whether it may be managed from elsewhere.
    ///   - name: what it is called from elsewhere.
    ///   - faces: among others whom it asks to compress, and whether it does when it is asked.
    init(
        asking repository: FaceAddress? = nil,
        peers: [FaceAddress] = [],
        silent: FaceAddress? = nil,
        discovery: DiscoverySettings? = nil,
        mirrors: [NodeConfiguration.Mirror] = [],
        acceptsPublishing: Bool = false,
        acceptsManagement: Bool = false,
        name: Name? = nil,
        cacheLimit: Int = .max,
        transitLimit: Int = NodeConfiguration.defaultTransitLimit,
        faces: FaceSettings = FaceSettings()
    ) throws {
        folder = try TemporaryFolder()
        var configuration = NodeConfiguration(
            stateDirectory: "\(folder.path)/state",
            cacheDirectory: "\(folder.path)/cache"
        )
        configuration.cacheLimit = cacheLimit
        configuration.transitLimit = transitLimit
        configuration.acceptsPublishing = acceptsPublishing
        configuration.acceptsManagement = acceptsManagement
        configuration.nodeName = name
        configuration.mirrors = mirrors
        configuration.routes = repository.map { [.init(prefix: Self.namespace, address: $0)] } ?? []
        if let silent {
            configuration.routes.append(.init(prefix: Self.namespace, address: silent, cost: 1))
        }
        exchange = PacketExchange(
            routes: configuration.routes,
            peers: peers,
            faces: faces,
            discovery: discovery,
            logger: quiet
        )
        operations = try NodeOperations(
            configuration,
            exchange: exchange,
            purpose: "a test",
            logger: quiet
        )
    }

    /// Begins to serve others.
    ///
    /// - Returns: where it listens.
    @discardableResult
    func start(
        listening: FaceAddress? = .tcp(host: "127.0.0.1", port: 0)
    ) async throws(Failure) -> FaceAddress? {
        try await exchange.start(
            responder: responder,
            answerers: operations.answerers(),
            transit: operations.transit,
            listening: listening.map { [$0] } ?? []
        ).first
    }

    var responder: Responder { operations.responder }

    func perform(
        _ request: ControlRequest,
        session: any ControlSession = TestSession()
    ) async throws(Failure) -> ControlResponse {
        try await operations.perform(request, session: session)
    }

    func trustPublisher() async throws {
        try await trust(try Self.publisherKey.get().publicKey, ["publish"])
    }

    func trust(
        _ key: PublicKey,
        _ rights: [String],
        for prefix: Name = namespace
    ) async throws {
        _ = try await perform(
            .addTrust(
                prefix: prefix.uri,
                publicKeyPEM: String(decoding: try key.pem(), as: UTF8.self),
                rights: rights
            )
        )
    }

    @discardableResult
    func publish(
        _ image: SparseImage,
        at repository: FaceAddress? = nil,
        withKeyOf owner: TestNode? = nil,
        segmentSize: Int = 4096
    ) async throws -> PublishReport {
        let path = "\(folder.path)/image.raw"
        try? FileTree.remove(path)
        try image.write(to: path)
        var publication = try Self.publication(path: path, segmentSize: segmentSize)
        publication.repository = repository?.description
        publication.repositoryKey = owner?.operations.homes.nodeKey.publicKey.keyId.digest.hex
        let response = try await perform(.publish(publication), session: TestSession())
        guard case .published(let report) = response else {
            throw Failure(.invalid, "publish answered \(response)")
        }
        return report
    }

    static func publication(
        path: String?,
        segmentSize: Int = 4096
    ) throws -> ControlRequest.Publication {
        ControlRequest.Publication(
            template: template,
            disks: [.init(name: "disk0", path: path, format: "raw")],
            properties: [:],
            files: [],
            segmentSize: segmentSize,
            isDryRun: false,
            publicKeyPEM: String(
                decoding: try publisherKey.get().publicKey.pem(),
                as: UTF8.self
            )
        )
    }

    func status() async throws -> NodeStatus {
        guard case .status(let status) = try await perform(.status) else {
            throw Failure(.invalid, "status answered something else")
        }
        return status
    }

    /// Opens the template's disk through the tree.
    func openDisk() throws(Failure) -> UInt64 {
        var inode: UInt64 = 1
        for component in Self.disk.split(separator: "/") {
            inode = try operations.tree.lookUp(String(component), in: inode).attributes.inode
        }
        return try operations.tree.open(inode, forWriting: false).handle
    }

    func read(_ handle: UInt64, at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8] {
        try await operations.tree.read(handle, at: offset, byteCount: byteCount)
    }
}

/// Signs with the publisher's key and gives bytes.
final class TestSession: ControlSession {
    private let bytes: [UInt8]
    private let position = Counter()
    private let reports = Counter()

    init(bytes: [UInt8] = []) { self.bytes = bytes }

    var reportCount: Int { reports.value }

    func report(_ progress: ControlProgress) async { reports.increment() }

    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        let key: PrivateKey
        do { key = try TestNode.publisherKey.get() } catch {
            throw Failure(.unavailable, "\(error)")
        }
        return try SignedContentObject.sign(
            object,
            with: key,
            signatureTimeMilliseconds: signatureTimeMilliseconds
        )
    }

    /// Every read is of the same size, so their number says where to go on.
    func read(byteCount: Int) async throws(Failure) -> [UInt8] {
        let start = (position.increment() - 1) * byteCount
        return Array(bytes.dropFirst(start).prefix(byteCount))
    }
}

extension TestNode {
    /// Has another node do something, as the publisher.
    @discardableResult
    func manage(
        _ operation: ManagementRequest.Operation,
        _ target: String,
        at address: FaceAddress? = nil
    ) async throws -> ControlResponse {
        try await perform(
            .manage(
                .init(
                    target: target,
                    operation: operation,
                    place: address?.description,
                    publicKeyPEM: String(
                        decoding: try Self.publisherKey.get().publicKey.pem(),
                        as: UTF8.self
                    )
                )
            )
        )
    }
}
