import CCNx
import Control
import Failures
import Files
import Signing
import Store
import Templates
import TestSupport
import Testing

@testable import Node

private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in 0..<4 { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

/// Keys that the settings file trusts, beside those that commands have added.
struct TrustSettingsTests {
    private let folder: TemporaryFolder
    private let keyPath: String
    private let node: TestNode

    /// A node that trusted its publisher when it published, and whose settings are about to say so.
    init() async throws {
        folder = try TemporaryFolder()
        keyPath = "\(folder.path)/publisher.pub"
        let pem = try TestNode.publisherKey.get().publicKey.pem()
        try FileTree.replace(keyPath, with: pem, permissions: 0o644)
        node = try TestNode()
        try await node.trustPublisher()
        try await node.publish(image)
    }

    private func entries() async throws -> [TrustSummary] {
        guard case .trust(let entries) = try await node.perform(.trustEntries) else { return [] }
        return entries
    }

    private func removeTrust() async throws {
        let key = try TestNode.publisherKey.get().publicKey.keyId.digest.hex
        _ = try await node.perform(.removeTrust(prefix: TestNode.namespace.uri, keyId: key))
    }

    private func reload(_ trust: [NodeConfiguration.Trust]) async {
        var settings = node.operations.configuration
        settings.trust = trust
        let requests = AsyncStream<Void> { requests in
            requests.yield()
            requests.finish()
        }
        await node.operations.reload(at: requests) { [settings] in settings }
    }

    private func isServed() async throws -> Bool {
        guard case .templates(let found) = try await node.perform(.listTemplates) else {
            return false
        }
        return found.first?.versions.first?.isTrusted == true
    }

    @Test func serveWhatTheKeySignedUntilTheyAreReadAnewWithoutIt() async throws {
        try await removeTrust()
        #expect(try await !isServed())
        await reload([.init(prefix: TestNode.namespace, keyPath: keyPath)])
        #expect(try await isServed())
        #expect(try await entries().map(\.isConfigured) == [true])
        #expect(try await entries().map(\.rights) == [["publish"]])
        await reload([])
        #expect(try await !isServed())
        #expect(try await entries().isEmpty)
    }

    @Test func addTheirRightsToThoseOfCommands() async throws {
        await reload([
            .init(prefix: TestNode.namespace, keyPath: keyPath, rights: [.manage, .operate])
        ])
        #expect(try await entries().map(\.rights) == [["publish", "manage", "operate"]])
        #expect(try await entries().map(\.isConfigured) == [true])
        // A command takes nothing away while the file says otherwise.
        let refused = await failure { try await removeTrust() }
        #expect(refused?.kind == .exists)
        #expect(refused?.message.contains("settings file") == true)
        #expect(try await isServed())
        await reload([])
        #expect(try await entries().map(\.rights) == [["publish"]])
        #expect(try await entries().map(\.isConfigured) == [false])
        try await removeTrust()
        #expect(try await entries().isEmpty)
    }

    @Test func stayAsTheyWereIfAKeyCannotBeRead() async throws {
        try await removeTrust()
        await reload([.init(prefix: TestNode.namespace, keyPath: keyPath)])
        await reload([.init(prefix: TestNode.namespace, keyPath: "\(folder.path)/none.pub")])
        #expect(try await isServed())
        try FileTree.replace(keyPath, with: Array("no key".utf8), permissions: 0o644)
        await reload([.init(prefix: TestNode.namespace, keyPath: keyPath)])
        #expect(try await isServed())
    }

    @Test func areReadBeforeANodeServesAnything() async throws {
        var configuration = NodeConfiguration(
            stateDirectory: "\(folder.path)/state",
            cacheDirectory: "\(folder.path)/cache"
        )
        configuration.trust = [.init(prefix: TestNode.namespace, keyPath: keyPath)]
        let operations = try NodeOperations(
            configuration,
            exchange: PacketExchange(routes: [], logger: quiet),
            purpose: "a test",
            logger: quiet
        )
        #expect(operations.homes.templates.trust.entries.count == 1)
        #expect(try operations.homes.database.trustEntries().isEmpty)

        configuration.stateDirectory += "2"
        configuration.cacheDirectory += "2"
        configuration.trust = [
            .init(prefix: TestNode.namespace, keyPath: "\(folder.path)/none.pub")
        ]
        let refused = await failure { [configuration] in
            try NodeOperations(
                configuration,
                exchange: PacketExchange(routes: [], logger: quiet),
                purpose: "a test",
                logger: quiet
            )
        }
        #expect(refused?.kind == .notFound)
        #expect(refused?.message.contains("none.pub") == true)
    }
}
