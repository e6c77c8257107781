import CCNx
import Failures
import Profiles
import Publishing
import Store
import Templates
import TestSupport
import Testing

/// What a VM's disk becomes must be what its bytes would become, read as an image.
struct DerivedDiskTests {
    /// The bytes of a disk; counts what is read of them.
    private actor Bytes: DerivedDisk.Reader {
        private let bytes: [UInt8]
        private(set) var readByteCount = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        func read(at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8] {
            readByteCount += byteCount
            return Array(bytes[offset..<min(offset + byteCount, bytes.count)])
        }
    }

    private static func publish(
        _ disk: DerivedDisk,
        in scene: PublishingScene
    ) async throws -> PublishReport {
        try await scene.publish(
            PublishRequest(
                template: PublishingScene.template,
                disks: [.init(name: "disk0", derived: disk)],
                segmentSize: 4096,
                origin: .init(
                    machine: "web-01",
                    snapshot: nil,
                    template: PublishingScene.template,
                    version: 1
                )
            )
        )
    }

    /// A base of several manifest nodes, changed at random, also cut off and grown.
    @Test(arguments: 0..<8)
    func hasTheRootOfItsBytes(_ run: Int) async throws {
        let seed = SplitMix.seed() &+ UInt64(run)
        var random = SplitMix(seed: seed)
        let note: Comment = "repeat with CCNFS_SEED=\(seed &- UInt64(run)), run \(run)"
        let scene = try PublishingScene()
        // Three nodes of 1,024 segments of 4 KiB, the last one not whole.
        var image = SparseImage(size: (9 << 20) + (run % 2 == 0 ? 0 : 512))
        for _ in 0..<40 {
            let segment = Int.random(in: 0..<2304, using: &random)
            image.put(random.next(), at: segment * 4096)
        }
        let first = try await scene.publish(image)
        let base = try scene.templates.served(PublishingScene.template, version: 1).record.disks[0]

        var bytes = image.bytes
        switch run % 3 {
        case 0: bytes += [UInt8](repeating: 0, count: 5 << 20)
        case 1: bytes.removeLast((3 << 20) + 512)
        default: break
        }
        var changed: [Range<Int>] = []
        var position = 0
        for _ in 0..<Int.random(in: 0...5, using: &random) {
            let start = position + Int.random(in: 0...2 << 20, using: &random) / 4096 * 4096
            guard start + 8192 <= bytes.count else { break }
            let range = start..<start + 8192
            let new =
                random.chance(1, in: 3)
                ? [UInt8](repeating: 0, count: range.count) : random.bytes(range.count)
            bytes.replaceSubrange(range, with: new)
            changed.append(range)
            position = range.upperBound
        }
        let reader = Bytes(bytes)
        let report = try await Self.publish(
            DerivedDisk(
                size: bytes.count,
                base: scene.templates.content(base.content, prefix: PublishingScene.template),
                baseDataByteCount: base.dataByteCount,
                changed: changed,
                reader: reader
            ),
            in: scene
        )
        var whole = SparseImage(size: bytes.count)
        for start in stride(from: 0, to: bytes.count, by: 4096) {
            whole.put(Array(bytes[start..<min(start + 4096, bytes.count)]), at: start)
        }
        let asImage = try await scene.publish(whole)
        #expect(report.disks[0].root == asImage.disks[0].root, note)
        let derived = try scene.templates.served(PublishingScene.template, version: 2).record
        let read = try scene.templates.served(PublishingScene.template, version: 3).record
        #expect(derived.disks[0].dataByteCount == read.disks[0].dataByteCount, note)
        #expect(derived.parentVersion == 1)
        #expect(derived.origin?.machine == "web-01")
        #expect(first.disks[0].size == image.size)
        // A segment for each change at its edges, and the one the base ends in.
        let readByteCount = await reader.readByteCount
        #expect(readByteCount == report.disks[0].readBytes)
        #expect(readByteCount <= changed.reduce(8192) { $0 + $1.count + 8192 }, note)
    }

    @Test func readsEverythingWhereThereIsNoBase() async throws {
        let scene = try PublishingScene()
        var image = SparseImage(size: 1 << 20, segments: [(3, 1), (200, 2)])
        image.put(5, at: 7 * 4096, byteCount: 100)
        let reader = Bytes(image.bytes)
        let report = try await Self.publish(
            DerivedDisk(
                size: image.size,
                base: nil,
                baseDataByteCount: nil,
                changed: [12288..<32768, 200 * 4096..<201 * 4096],
                reader: reader
            ),
            in: scene
        )
        let asImage = try await scene.publish(image)
        #expect(report.disks[0].newSegments == 3)
        #expect(asImage.disks[0].newSegments == 0)
    }
}
