import Control
import Faces
import Failures
import Publishing
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 40 segments at the start, one at the end.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in Array(0..<40) + [255] { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

/// Nodes that nobody told of each other; over loopback.
@Suite(.timeLimit(.minutes(1))) struct DiscoveredPeersTests {
    private static func settings(port: Int) -> DiscoverySettings {
        DiscoverySettings(devices: .named(["lo"]), port: port, intervalMilliseconds: 1_000)
    }

    private func peers(of node: TestNode) async throws -> [PeerSummary] {
        guard case .neighbours(.peers(let peers)) = try await node.perform(.neighbours(.peers))
        else { throw Failure(.invalid, "the answer is about something else") }
        return peers
    }

    private func until(_ isMet: () async throws -> Bool) async throws {
        while try await !isMet() { try await Task.sleep(for: .milliseconds(20)) }
    }

    @Test func aNodeReadsFromANeighbourThatItFound() async throws {
        let settings = Self.settings(port: 29_601)
        let repository = try TestNode()
        try await repository.trustPublisher()
        try await repository.publish(image)
        let address = try #require(try await repository.start())
        let first = try TestNode(asking: address, discovery: settings)
        let second = try TestNode(asking: address, discovery: settings)
        var following: [Task<Void, Never>] = []
        for node in [first, second] {
            try await node.trustPublisher()
            try await node.start()
            following.append(
                Task { await node.operations.followCatalogs(every: .milliseconds(100)) }
            )
        }
        for node in [first, second] {
            try await until {
                let peers = try await peers(of: node)
                return peers.count == 1 && peers.allSatisfy { $0.isUp && $0.isFound }
            }
            try await until { try await node.status().templates == 1 }
        }
        #expect(try await peers(of: second).map(\.isConfigured) == [false])
        #expect(try await second.status().discovery?.neighbours == 1)

        let bytes = try await first.read(try first.openDisk(), at: 0, byteCount: 40 * 4096)
        #expect(bytes == Array(image.bytes.prefix(40 * 4096)))
        let again = try await second.read(try second.openDisk(), at: 0, byteCount: 40 * 4096)
        #expect(again == bytes)
        let sources = try await second.status().sources
        let fromPeer = sources.filter(\.isPeer).reduce(0) { $0 + $1.bytes }
        #expect(fromPeer >= 40 * 4096)

        await first.exchange.stop()
        try await until { try await peers(of: second).isEmpty }
        for task in following { task.cancel() }
        await second.exchange.stop()
        await repository.exchange.stop()
    }

    @Test func aNeighbourThatIsNamedIsNotConnectedToTwice() async throws {
        let settings = Self.settings(port: 29_602)
        let neighbour = try TestNode(discovery: settings)
        let address = try #require(try await neighbour.start())
        guard case .tcp(_, let port) = address else { return }
        let node = try TestNode(peers: [.tcp(host: "localhost", port: port)], discovery: settings)
        try await node.start()
        // It is heard, and is the peer that there is already; before that it may be both for a moment.
        try await until {
            let peers = try await peers(of: node)
            let heard = try await node.status().discovery?.neighbours == 1
            return heard && peers.map(\.isConfigured) == [true] && peers.allSatisfy(\.isUp)
        }
        await node.exchange.stop()
        await neighbour.exchange.stop()
    }

    @Test func withoutTheSettingANodeIsNeitherFoundNorFinds() async throws {
        let settings = Self.settings(port: 29_603)
        let (quiet, other) = (try TestNode(), try TestNode(discovery: settings))
        try await quiet.start()
        try await other.start()
        try await until { try await (other.status().discovery?.announcementsSent ?? 0) >= 3 }
        #expect(try await peers(of: quiet).isEmpty)
        #expect(try await quiet.status().discovery == nil)
        #expect(try await peers(of: other).isEmpty)
        await quiet.exchange.stop()
        await other.exchange.stop()
    }
}
