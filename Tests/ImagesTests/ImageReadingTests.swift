import Failures
import Foundation
import Images
import Testing

@Suite(.enabled(if: TemporaryImages.hasTools))
struct ImageReadingTests {
    let images: TemporaryImages
    let disk: [UInt8]

    init() throws {
        images = try TemporaryImages()
        disk = try images.makeDisk()
    }

    private func requireSame(
        _ path: String,
        _ expected: [UInt8],
        _ format: ImageFormat,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        #expect(try ImageFormat.detect(path: path) == format, sourceLocation: location)
        let image = try ImageSources.open(path: path)
        #expect(image.virtualSize == expected.count, sourceLocation: location)
        #expect(try readWhole(image) == expected, sourceLocation: location)
        let all = try read(image, at: 0, byteCount: image.virtualSize)
        #expect(all == expected, sourceLocation: location)
        let odd = try read(image, at: 699_999, byteCount: 1234)
        #expect(odd == [UInt8](expected[699_999..<701_233]), sourceLocation: location)
        try image.verifyUnchanged()
        image.close()
    }

    @Test func readsARawImage() throws {
        try requireSame(images.path("disk.raw"), disk, .raw)
    }

    @Test(arguments: [ImageFormat.qcow2, .vhdx, .vdi, .vmdk])
    func readsTheSameDiskFromEveryFormat(_ format: ImageFormat) throws {
        try requireSame(images.convert(to: format, as: "a"), disk, format)
    }

    @Test(arguments: [
        "compat=0.10", "cluster_size=512", "cluster_size=2M", "preallocation=metadata",
        "preallocation=full", "lazy_refcounts=on", "extended_l2=on,cluster_size=32k",
        "refcount_bits=1",
    ])
    func readsEveryKindOfQcow2(_ options: String) throws {
        try requireSame(
            images.convert(to: .qcow2, as: "a.qcow2", options: options),
            disk,
            .qcow2
        )
    }

    @Test(arguments: ["zlib", "zstd"])
    func readsACompressedQcow2(_ method: String) throws {
        let path = try images.convert(
            to: .qcow2,
            as: "a.qcow2",
            options: "compression_type=\(method)",
            isCompressed: true
        )
        try requireSame(path, disk, .qcow2)
    }

    @Test(arguments: [
        "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
        "streamOptimized",
    ])
    func readsEveryKindOfVMDK(_ kind: String) throws {
        try requireSame(
            images.convert(to: .vmdk, as: "a.vmdk", options: "subformat=\(kind)"),
            disk,
            .vmdk
        )
    }

    @Test(arguments: ["fixed", "dynamic"])
    func readsEveryKindOfVHDX(_ kind: String) throws {
        try requireSame(
            images.convert(to: .vhdx, as: "a.vhdx", options: "subformat=\(kind)"),
            disk,
            .vhdx
        )
    }

    @Test func readsAChainOfBackingFiles() throws {
        _ = try images.convert(to: .qcow2, as: "base.qcow2")
        try images.run(
            "qemu-img",
            "create",
            "-f",
            "qcow2",
            "-b",
            "base.qcow2",
            "-F",
            "qcow2",
            "mid.qcow2"
        )
        try images.run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 100k", "mid.qcow2")
        try images.run(
            "qemu-img",
            "create",
            "-f",
            "qcow2",
            "-b",
            "mid.qcow2",
            "-F",
            "qcow2",
            "top.qcow2",
            "8M"
        )
        try images.run("qemu-io", "-f", "qcow2", "-c", "write -z 0 64k", "top.qcow2")
        var expected = disk + [UInt8](repeating: 0, count: (8 << 20) - disk.count)
        expected.replaceSubrange(
            1 << 20..<(1 << 20) + 102_400,
            with: repeatElement(7, count: 102_400)
        )
        expected.replaceSubrange(0..<65_536, with: repeatElement(0, count: 65_536))
        try requireSame(images.path("top.qcow2"), expected, .qcow2)
    }

    @Test func readsAnOverlayOfARawFileOfOddSize() throws {
        let base = Array(disk[..<700_100])
        try images.write(base, as: "base.raw")
        try images.run(
            "qemu-img",
            "create",
            "-f",
            "qcow2",
            "-b",
            "base.raw",
            "-F",
            "raw",
            "top.qcow2",
            "1M"
        )
        let image = try ImageSources.open(path: images.path("top.qcow2"))
        #expect(try readWhole(image) == base + [UInt8](repeating: 0, count: (1 << 20) - base.count))
    }

    @Test func readsAnImageWhoseNameLooksLikeAProtocolOrAnOption() throws {
        for name in ["nbd:localhost", "--help", "a,b=c d\"e'$x", "json:{}"] {
            let path = try images.convert(to: .qcow2, as: "./" + name)
            try requireSame(path, disk, .qcow2)
        }
    }

    @Test(arguments: [ImageFormat.raw, .qcow2, .vdi, .vmdk])
    func reportsHolesThatAreThenNotRead(_ format: ImageFormat) throws {
        var sparse = [UInt8](repeating: 0, count: 16 << 20)
        sparse.replaceSubrange(8 << 20..<9 << 20, with: repeatElement(5, count: 1 << 20))
        try images.write(sparse, as: "sparse.raw")
        try images.run("/usr/bin/fallocate", "--dig-holes", "sparse.raw")
        let path =
            format == .raw
            ? images.path("sparse.raw") : try images.convert("sparse.raw", to: format, as: "a")
        let image = try ImageSources.open(path: path)
        #expect(
            try image.extents(from: 0, byteCount: 16 << 20) == [
                ImageExtent(offset: 0, byteCount: 8 << 20, kind: .zero),
                ImageExtent(offset: 8 << 20, byteCount: 1 << 20, kind: .data),
                ImageExtent(offset: 9 << 20, byteCount: 7 << 20, kind: .zero),
            ]
        )
        #expect(
            try image.extents(from: 8_900_000, byteCount: 1000) == [
                ImageExtent(offset: 8_900_000, byteCount: 1000, kind: .data)
            ]
        )
        #expect(try image.extents(from: 0, byteCount: 0) == [])
    }

    @Test func answersTheExtentsOfAHundredGigabytesOfNothing() throws {
        try images.run("qemu-img", "create", "-f", "qcow2", "big.qcow2", "100G")
        let image = try ImageSources.open(path: images.path("big.qcow2"))
        #expect(
            try image.extents(from: 0, byteCount: 100 << 30) == [
                ImageExtent(offset: 0, byteCount: 100 << 30, kind: .zero)
            ]
        )
    }

    @Test(arguments: [ImageFormat.raw, .qcow2])
    func servesMoreReadersAtOnceThanItHasConnections(_ format: ImageFormat) async throws {
        let path =
            format == .raw
            ? images.path("disk.raw") : try images.convert(to: format, as: "a")
        let image = try ImageSources.open(path: path)
        let disk = disk
        try await withThrowingTaskGroup(of: Void.self) { (group) in
            for reader in 0..<8 {
                group.addTask {
                    var random = SplitMix(state: UInt64(reader))
                    for _ in 0..<40 {
                        let offset = Int.random(in: 0..<disk.count, using: &random)
                        let length = min(200_000, disk.count - offset)
                        let bytes = try read(image, at: offset, byteCount: length)
                        #expect(bytes.elementsEqual(disk[offset..<offset + length]))
                    }
                }
            }
            try await group.waitForAll()
        }
        image.close()
    }

    @Test func noticesThatAnImageWasWrittenToWhileItWasRead() throws {
        for format in [ImageFormat.raw, .qcow2] {
            let path = try images.convert(to: format, as: "a.\(format)")
            let image = try ImageSources.open(path: path)
            try image.verifyUnchanged()
            let size = try images.bytes(path).count
            try images.overwrite(path, at: size, with: [0])
            let failure = #expect(throws: Failure.self) { try image.verifyUnchanged() }
            #expect(failure?.kind == .io)
            #expect(failure?.message.contains(path) == true)
        }
    }
}
