import CCNx
import Control
import Failures
import Fetching
import Repositories
import Store
import TestSupport
import Testing

@testable import Node

/// What is asked for while a node ends, and after.
@Suite(.timeLimit(.minutes(1))) struct StoppedNodeTests {
    /// A node whose repository says nothing, so that what is asked waits.
    private func scene() async throws -> (TestNode, SilentListener) {
        let silent = try await SilentListener()
        let node = try TestNode(asking: silent.address)
        try await node.start(listening: nil)
        try await silent.waitForConnection()
        return (node, silent)
    }

    private func fetch(_ number: UInt8, by node: TestNode) async -> Failure.Kind? {
        let name = ObjectName(ObjectRequest(ObjectId(of: [number]), under: TestNode.namespace)).name
        let result = await node.exchange.fetch(
            name,
            lane: .reader,
            patience: 3_600_000,
            mayPeersAnswer: true
        )
        guard case .failure(let failure) = result else { return nil }
        return failure.kind
    }

    @Test func whatWaitsEndsWithTheNode() async throws {
        let (node, silent) = try await scene()
        async let waiting = fetch(1, by: node)
        while try await node.status().interestsSent == 0 { await Task.yield() }
        await node.exchange.stop()
        #expect(await waiting == .cancelled)
        await silent.stop()
    }

    @Test func whatIsAskedForLaterFailsAtOnce() async throws {
        let (node, silent) = try await scene()
        await node.exchange.stop()
        #expect(await fetch(1, by: node) == .cancelled)
        #expect(await node.exchange.report() == nil)
        #expect(await node.exchange.repositories(for: TestNode.namespace).isEmpty)
        let refused = await #expect(throws: Failure.self) {
            try await node.exchange.source(at: silent.address, for: .mirror)
        }
        #expect(refused?.kind == .cancelled)
        // Once more is nothing.
        await node.exchange.stop()
        await silent.stop()
    }

    @Test func nothingIsLeftWaitingHoweverItMeetsTheEnd() async throws {
        let (node, silent) = try await scene()
        await withTaskGroup(of: Failure.Kind?.self) { group in
            for number in 0..<200 {
                group.addTask { await fetch(UInt8(number), by: node) }
                if number == 100 {
                    group.addTask {
                        await node.exchange.stop()
                        return .cancelled
                    }
                }
            }
            for await kind in group { #expect(kind == .cancelled) }
        }
        await silent.stop()
    }
}
