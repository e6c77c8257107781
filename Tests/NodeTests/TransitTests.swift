import CCNx
import Control
import Faces
import Failures
import Repositories
import Store
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 60 segments.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in 0..<60 { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

/// What a node forwards, and what it keeps of it.
struct TransitTests {
    /// A repository, a node in between that wants nothing itself, and nodes that know only that one.
    private struct Line {
        let repository: TestNode
        let middle: TestNode
        let address: FaceAddress

        init(transitLimit: Int = NodeConfiguration.defaultTransitLimit) async throws {
            repository = try TestNode()
            try await repository.trustPublisher()
            try await repository.publish(image)
            middle = try TestNode(
                asking: try await repository.start(),
                transitLimit: transitLimit
            )
            address = try #require(try await middle.start())
            while await middle.exchange.report()?.faces.isEmpty != false { await Task.yield() }
        }

        /// Reads the whole disk on a node that has nothing, then ends it.
        func read() async throws {
            let node = try TestNode(asking: address)
            try await node.trustPublisher()
            try await node.start(listening: nil)
            await node.operations.followCatalog(of: TestNode.namespace)
            let handle = try node.openDisk()
            #expect(try await node.read(handle, at: 0, byteCount: 1 << 20) == image.bytes)
            await node.exchange.stop()
        }

        func transit() async throws -> NodeStatus.TransitReport {
            try #require(try await middle.status().transit)
        }

        func stop() async {
            await middle.exchange.stop()
            await repository.exchange.stop()
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func answersTheSecondReaderByItself() async throws {
        let line = try await Line()
        try await line.read()
        let first = try await line.repository.status().interestsReceived
        #expect(first >= 61)
        // What passed is written beside the forwarding.
        while try await line.transit().keptSegments < 60 { await Task.yield() }
        // Record and manifest pass as packets, as does the pointer to the catalog.
        while try await line.transit().keptPackets < 3 { await Task.yield() }

        try await line.read()
        let second = try await line.repository.status().interestsReceived
        // Only the pointer is of low value after a second.
        #expect(second - first <= 2)
        let transit = try await line.transit()
        #expect(transit.answeredSegments >= 60)
        #expect(transit.answeredPackets >= 1)
        #expect(transit.segmentBytes >= 60 * 4096)
        #expect(transit.wrongObjects == 0)
        let middle = try await line.middle.status()
        #expect(middle.pendingInterests == 0)
        // It is not in the cache, which is for this node's own readers.
        #expect(middle.cache.segmentCount == 0)
        #expect(middle.store.fetchedObjects == 0)
        await line.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func forwardsEverythingWhenNothingIsKept() async throws {
        let line = try await Line(transitLimit: 0)
        try await line.read()
        let first = try await line.repository.status().interestsReceived
        try await line.read()
        let second = try await line.repository.status().interestsReceived
        #expect(second - first >= 61)
        #expect(try await line.middle.status().transit == nil)
        await line.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func readersOfTheNodeInBetweenReadWhatPassedThrough() async throws {
        let line = try await Line()
        try await line.read()
        while try await line.transit().keptSegments < 60 { await Task.yield() }
        try await line.middle.trustPublisher()
        await line.middle.operations.followCatalog(of: TestNode.namespace)
        let before = try await line.repository.status().interestsReceived
        let handle = try line.middle.openDisk()
        #expect(try await line.middle.read(handle, at: 0, byteCount: 1 << 20) == image.bytes)
        let after = try await line.repository.status().interestsReceived
        // The manifest's root.
        #expect(after - before <= 1)
        await line.stop()
    }

    // MARK: What is what

    private func scene() throws -> (TemporaryFolder, TransitCache) {
        let folder = try TemporaryFolder()
        let store = try TransitStore(directory: "\(folder.path)/transit", limit: 1 << 20)
        return (folder, TransitCache(store: store, logger: quiet))
    }

    private func packet(
        _ id: ObjectId,
        _ payload: [UInt8],
        chunkSize: Int = ObjectName.streamChunkSize,
        chunk: Int = 0,
        last: UInt64? = nil,
        expires: UInt64? = nil
    ) throws -> DecodedPacket {
        let request = ObjectRequest(id, under: TestNode.namespace)
        let name = ObjectName(request, chunkSize: chunkSize, chunk: chunk).name
        return try PacketEncoder().encode(
            .contentObject(
                ContentObject(
                    name: name,
                    payload: payload,
                    expiryTimeMilliseconds: expires,
                    endChunkNumber: last
                )
            )
        )
    }

    @Test(.timeLimit(.minutes(1)))
    func refusesAnObjectThatIsNotWhatItsNameSays() async throws {
        let (folder, transit) = try scene()
        let bytes = SparseImage.bytes(1)
        let wrong = try packet(ObjectId(of: bytes), SparseImage.bytes(2))
        transit.offer(wrong)
        transit.offer(try packet(ObjectId(of: bytes), Array(bytes.prefix(9)), chunkSize: 1_024))
        // Nor can these be parts: too long, longer than any object, a short one that is not the last.
        let id = ObjectId(of: bytes)
        transit.offer(try packet(id, Array(bytes.prefix(1_025)), chunkSize: 1_024, chunk: 1))
        transit.offer(try packet(id, Array(bytes.prefix(1_024)), chunkSize: 1_024, chunk: 32))
        transit.offer(try packet(id, Array(bytes.prefix(9)), chunkSize: 1_024, chunk: 1, last: 3))
        transit.offer(try packet(id, Array(bytes.prefix(1_024)), chunkSize: 1_024, last: 0))
        transit.offer(try packet(id, [], chunkSize: 1_024, chunk: 1))
        while transit.report.wrongObjects < 7 { await Task.yield() }
        #expect(transit.report.keptSegments == 0)
        #expect(transit.report.packets == 0)
        withExtendedLifetime(folder) {}
    }

    @Test(.timeLimit(.minutes(1)))
    func keepsPartsAndWhatExpiresAsPackets() async throws {
        let (folder, transit) = try scene()
        let bytes = SparseImage.bytes(1)
        let id = ObjectId(of: bytes)
        for chunk in 0..<4 {
            let part = Array(bytes[chunk * 1_024..<(chunk + 1) * 1_024])
            transit.offer(try packet(id, part, chunkSize: 1_024, chunk: chunk))
        }
        let expiring = try packet(id, bytes, expires: .max)
        transit.offer(expiring)
        while transit.report.packets < 5 { await Task.yield() }
        #expect(transit.report.keptSegments == 0)
        let request = ObjectRequest(id, under: TestNode.namespace)
        let last = Interest(name: ObjectName(request, chunkSize: 1_024, chunk: 3).name)
        let (one, other) = (FaceId(1), FaceId(2))
        #expect(transit.answer(last, from: one, now: 1) != nil)
        #expect(transit.answer(last, from: other, now: 1) != nil)
        // It was lost, or the whole was wrong.
        #expect(transit.answer(last, from: one, now: 1) == nil)
        let whole = Interest(name: ObjectName(request).name)
        for _ in 0..<2 { #expect(transit.answer(whole, from: one, now: 1) == expiring) }
        withExtendedLifetime(folder) {}
    }
}
