import CCNx
import Control
import Faces
import Failures
import Foundation
import Publishing
import Repositories
import Store
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 40 segments at the start, one at the end.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in Array(0..<40) + [255] { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

@Suite(.timeLimit(.minutes(2))) struct DatagramNodesTests {
    private static let anyPort = FaceAddress.udp(host: "127.0.0.1", port: 0)
    private static let seed = SplitMix.seed()
    /// Kernels without it have no such file.
    private static let hasIPv6 =
        (try? String(contentsOfFile: "/proc/net/if_inet6", encoding: .utf8))?.isEmpty == false

    /// Has the template, and listens over UDP.
    private func repository(
        listening address: FaceAddress = Self.anyPort
    ) async throws -> (TestNode, FaceAddress) {
        let repository = try TestNode()
        try await repository.trustPublisher()
        try await repository.publish(image)
        return (repository, try #require(try await repository.start(listening: address)))
    }

    private func reader(_ node: TestNode) async throws {
        try await node.trustPublisher()
        try await node.start(listening: nil)
        await node.operations.followCatalog(of: TestNode.namespace)
        #expect(try await node.status().catalogs.first?.problem == nil)
    }

    private func readsAll(_ node: TestNode) async throws {
        let handle = try node.openDisk()
        #expect(try await node.read(handle, at: 0, byteCount: 2 << 20) == image.bytes)
    }

    @Test func readsADiskOverUDPInChunks() async throws {
        let (repository, address) = try await repository()
        let node = try TestNode(asking: address)
        try await reader(node)
        let before = try await node.status()
        try await readsAll(node)
        let after = try await node.status()
        // Each segment, and the manifest's root of 256 entries.
        #expect(after.store.fetchedObjects - before.store.fetchedObjects == 42)
        let source = try #require(after.sources.first)
        #expect(source.address == address.description)
        #expect(after.interestsSent - before.interestsSent >= 41 * 4 + 8)
        #expect(source.objects >= 42 && source.wrongObjects == 0)
        #expect(after.store.failedFetches == 0)
        #expect(try await repository.status().malformedDatagrams == 0)
        await node.exchange.stop()
        await repository.exchange.stop()
    }

    @Test(.enabled(if: hasIPv6))
    func readsADiskOverIPv6() async throws {
        let (repository, address) = try await repository(listening: .udp(host: "::1", port: 0))
        let node = try TestNode(asking: address)
        try await reader(node)
        try await readsAll(node)
        #expect(try await node.status().sources.first?.address == address.description)
        await node.exchange.stop()
        await repository.exchange.stop()
    }

    @Test func readsADiskThoughDatagramsAreLostDoubledAndLate() async throws {
        let (repository, address) = try await repository()
        let relay = try await LossyRelay(to: address, loss: 5, seed: Self.seed)
        let node = try TestNode(asking: relay.address)
        try await reader(node)
        try await readsAll(node)
        #expect(relay.lostCount > 0, "seed \(Self.seed)")
        let status = try await node.status()
        #expect(status.store.failedFetches == 0, "seed \(Self.seed)")
        #expect(status.sources.first?.wrongObjects == 0)
        #expect(status.sources.first?.timeouts ?? 0 > 0)
        await node.exchange.stop()
        await relay.stop()
        await repository.exchange.stop()
    }

    @Test func takesFromAPeerOverUDPWhatItHasAndTheRestOverTCP() async throws {
        let near = try TestNode()
        try await near.trustPublisher()
        try await near.publish(image)
        let far = PacketExchange(routes: [], logger: quiet)
        let repository = try #require(
            try await far.start(
                responder: near.responder,
                listening: [.tcp(host: "127.0.0.1", port: 0)]
            ).first
        )
        let (peer, address) = (try TestNode(), Self.anyPort)
        let listening = try #require(try await peer.start(listening: address))
        let node = try TestNode(asking: repository, peers: [listening])
        try await reader(node)
        while try await node.status().sources.contains(where: { !$0.isUp }) { await Task.yield() }
        try await readsAll(node)
        let sources = try await node.status().sources
        // The peer has nothing; the repository all.
        #expect(sources.first { $0.isPeer }?.misses ?? 0 > 0)
        #expect(sources.first { !$0.isPeer }?.objects ?? 0 >= 42)
        await node.exchange.stop()
        await peer.exchange.stop()
        await far.stop()
        await near.exchange.stop()
    }

    @Test func readsOverTCPWhenTheOneOverUDPIsGone() async throws {
        let (repository, address) = try await repository()
        let other = PacketExchange(routes: [], logger: quiet)
        let stream = try #require(
            try await other.start(
                responder: repository.responder,
                listening: [.tcp(host: "127.0.0.1", port: 0)]
            ).first
        )
        // The one over UDP costs less.
        let node = try TestNode(asking: stream, silent: address)
        try await reader(node)
        while try await node.status().sources.contains(where: { !$0.isUp }) { await Task.yield() }
        let handle = try node.openDisk()
        let half = 20 * 4096
        #expect(
            try await node.read(handle, at: 0, byteCount: half) == Array(image.bytes[..<half])
        )
        let before = try await node.status().sources.first { $0.address == "\(address)" }
        #expect(before?.objects ?? 0 >= 21)
        await repository.exchange.stop()
        try await readsAll(node)
        let after = try await node.status().sources.first { $0.address == "\(stream)" }
        #expect(after?.objects ?? 0 >= 21)
        await node.exchange.stop()
        await other.stop()
    }

    @Test func publishesAtARepositoryOverUDP() async throws {
        let repository = try TestNode(acceptsPublishing: true)
        try await repository.trustPublisher()
        let address = try #require(try await repository.start(listening: Self.anyPort))
        let node = try TestNode()
        try await node.start(listening: nil)
        let report = try await node.publish(image, at: address, withKeyOf: repository)
        #expect(report.version == 1)
        #expect(try await repository.status().published.segmentCount == 41)
        try await readsAll(repository)
        await node.exchange.stop()
        await repository.exchange.stop()
    }
}
