import CCNx
import Failures
import Images
import Profiles
import Store
import Synchronization
import Templates
import TestSupport
import Testing

@testable import Publishing

struct InterruptedPublishTests {
    /// 3 MiB of segments that are all different.
    private static let image = {
        var image = SparseImage(size: 3 << 20)
        for index in 0..<768 { image.put(UInt64(1000 + index), at: index * 4096) }
        return image
    }()

    @Test func showsNothingOfAStreamThatBreaksAndUsesItAgain() async throws {
        let scene = try PublishingScene()
        let bytes = Self.image.bytes
        let failure = await failure {
            try await scene.publish(
                PublishingScene.streamRequest(),
                stream: ByteStream(bytes, failsAt: 2 << 20).stream
            )
        }
        #expect(failure?.kind == .io)
        #expect(failure?.message == "the stream broke at byte 2097152")
        #expect(try scene.showsNothing())

        let report = try await scene.publish(
            PublishingScene.streamRequest(),
            stream: ByteStream(bytes).stream
        )
        #expect(report.version == 1)
        #expect(report.disks[0].knownSegments == 512)
        #expect(report.disks[0].newSegments == 256)
        #expect(try await scene.bytes() == bytes)
    }

    @Test func showsNothingOfAnImageThatShrinksAndUsesItAgain() async throws {
        let scene = try PublishingScene()
        let bytes = Self.image.bytes
        let sink = SegmentSink(
            store: scene.store.published,
            segmentSize: 4096,
            isDryRun: false
        )
        let shrinking = ShrinkingImage(bytes, endsAt: 1 << 20)
        let failure = await failure { try await DiskReader(sink: sink).read(shrinking) }
        #expect(failure?.kind == .io)
        #expect(try scene.showsNothing())

        try sink.recordRest()
        let report = try await scene.publish(Self.image)
        #expect(report.disks[0].knownSegments >= 256)
        #expect(report.disks[0].newSegments + report.disks[0].knownSegments == 768)
        #expect(try await scene.bytes() == bytes)
    }

    @Test func freesWhatAnInterruptedPublishLeft() async throws {
        let scene = try PublishingScene()
        _ = await failure {
            try await scene.publish(
                PublishingScene.streamRequest(),
                stream: ByteStream(Self.image.bytes, failsAt: 1 << 20).stream
            )
        }
        #expect(try scene.store.published.usage().segmentCount == 256)
        #expect(try await scene.reclaim().freedSegments == 256)
        #expect(try scene.store.published.usage().segmentCount == 0)
    }

    @Test func endsWhenItIsCancelled() async throws {
        let scene = try PublishingScene()
        let sink = SegmentSink(
            store: scene.store.published,
            segmentSize: 4096,
            isDryRun: false
        )
        let reader = DiskReader(sink: sink)
        reader.cancel()
        let failure = await failure {
            try await reader.read(ShrinkingImage(Self.image.bytes, endsAt: .max))
        }
        #expect(failure?.kind == .cancelled)
    }

    @Test func missingImageIsNamed() async throws {
        let scene = try PublishingScene()
        let failure = await failure {
            try await scene.publish(
                PublishRequest(
                    template: PublishingScene.template,
                    disks: [.init(name: "disk0", path: "/nowhere/image.raw", format: nil)]
                )
            )
        }
        #expect(failure?.kind == .notFound)
        #expect(failure.map { "\($0)" }?.contains("/nowhere/image.raw") == true)
        #expect(try scene.showsNothing())
    }
}

/// An image that someone truncates while it is read.
final class ShrinkingImage: ImageSource {
    let virtualSize: Int
    private let bytes: [UInt8]
    private let end: Int

    init(_ bytes: [UInt8], endsAt end: Int) {
        self.bytes = bytes
        self.end = end
        virtualSize = bytes.count
    }

    var description: String { "an image that shrinks" }

    func extents(from offset: Int, byteCount: Int) throws(Failure) -> [ImageExtent] {
        [ImageExtent(offset: offset, byteCount: byteCount, kind: .data)]
    }

    func read(at offset: Int, into buffer: inout OutputSpan<UInt8>) throws(Failure) {
        guard offset < end else { throw Failure(.io, "the image ends at byte \(end)") }
        for index in offset..<offset + buffer.freeCapacity { buffer.append(bytes[index]) }
    }

    func verifyUnchanged() throws(Failure) {}

    func close() {}
}
