import Control
import Faces
import Failures
import Store
import TestSupport
import Testing

@testable import Node

/// 2 MiB, of which 200 segments are text.
private let image = {
    var image = SparseImage(size: 2 << 20)
    for index in 0..<200 {
        let lines = (0..<200).map { "line \($0) of segment \(index)\n" }.joined()
        image.put(Array(lines.utf8.prefix(4096)), at: index * 4096)
    }
    return image
}()

struct CompressedLinksTests {
    private static let contentByteCount = 200 * 4096

    /// A node that reads the whole disk from a repository, and what went over the face between them.
    private func read(
        compressing: Bool,
        accepting: Bool
    ) async throws -> (node: FaceSummary, repository: FaceSummary) {
        var settings = FaceSettings()
        settings.acceptsCompression = accepting
        let repository = try TestNode(faces: settings)
        try await repository.trustPublisher()
        try await repository.publish(image)
        let address = try #require(try await repository.start())
        settings = FaceSettings()
        if compressing { settings.compressedAddresses = [address] }
        let node = try TestNode(asking: address, faces: settings)
        try await node.trustPublisher()
        try await node.start(listening: nil)
        await node.operations.followCatalog(of: TestNode.namespace)
        let handle = try node.openDisk()
        #expect(try await node.read(handle, at: 0, byteCount: 4 << 20) == image.bytes)
        #expect(try await node.status().store.failedFetches == 0)
        let faces = (node: try await node.face(), repository: try await repository.face())
        await node.exchange.stop()
        await repository.exchange.stop()
        return faces
    }

    @Test(.timeLimit(.minutes(1)))
    func fewerBytesCrossThanTheDiskHas() async throws {
        let faces = try await read(compressing: true, accepting: true)
        for face in [faces.node, faces.repository] { #expect(face.isCompressed) }
        let received = try #require(faces.node.traffic)
        #expect(received.bytesReceived > Self.contentByteCount)
        #expect(received.linkBytesReceived < Self.contentByteCount / 2)
        // Interests are small.
        #expect(received.linkBytesSent <= received.bytesSent)
        let sent = try #require(faces.repository.traffic)
        #expect(sent.linkBytesSent >= received.linkBytesReceived)
        #expect(sent.bytesSent >= received.bytesReceived)
    }

    @Test(.timeLimit(.minutes(1)), arguments: [(true, false), (false, true)])
    func whereOneSideDoesNotWantItTheOtherReadsAllTheSame(
        compressing: Bool,
        accepting: Bool
    ) async throws {
        let faces = try await read(compressing: compressing, accepting: accepting)
        for face in [faces.node, faces.repository] {
            #expect(!face.isCompressed)
            let traffic = try #require(face.traffic)
            #expect(traffic.linkBytesReceived == traffic.bytesReceived)
            #expect(traffic.linkBytesSent == traffic.bytesSent)
        }
        let traffic = try #require(faces.node.traffic)
        #expect(traffic.bytesReceived > Self.contentByteCount)
    }
}

extension TestNode {
    /// The one there is.
    fileprivate func face() async throws -> FaceSummary {
        guard case .neighbours(.faces(let faces)) = try await perform(.neighbours(.faces)) else {
            throw Failure(.invalid, "the answer is about something else")
        }
        return try #require(faces.first)
    }
}
