import Failures
import Images
import Testing

@Suite(.enabled(if: TemporaryImages.hasTools))
struct DamagedImageTests {
    let images: TemporaryImages

    init() throws {
        images = try TemporaryImages()
    }

    /// Opening or reading fails with one of `kinds`, or every byte is right.
    private func requireFailureOrTruth(
        _ path: String,
        _ format: ImageFormat,
        _ disk: [UInt8],
        _ what: String
    ) throws -> Bool {
        do throws(Failure) {
            let image = try ImageSources.open(path: path, format: format)
            let isSame = try readWhole(image) == disk
            #expect(isSame, "\(what) was read with wrong bytes and no error")
            return false
        } catch {
            let kinds: [Failure.Kind] = [.corrupt, .invalid, .io, .unsupported]
            #expect(kinds.contains(error.kind), "\(what): \(error)")
            #expect(error.description.contains(path), "\(what): \(error)")
            return true
        }
    }

    struct Sample: Sendable, CustomTestStringConvertible {
        let format: ImageFormat
        var options: String?
        var isCompressed = false

        var testDescription: String { "\(format) \(options ?? "") \(isCompressed ? "-c" : "")" }
    }

    static let samples = [
        Sample(format: .qcow2), Sample(format: .qcow2, isCompressed: true),
        Sample(format: .qcow2, options: "compression_type=zstd", isCompressed: true),
        Sample(format: .qcow2, options: "preallocation=metadata"),
        Sample(format: .vmdk), Sample(format: .vmdk, options: "subformat=streamOptimized"),
        Sample(format: .vdi), Sample(format: .vhdx),
        Sample(format: .vhdx, options: "subformat=fixed"),
    ]

    @Test(arguments: samples)
    func aTruncatedImageIsRefusedAndNeverReadAsZeros(_ sample: Sample) throws {
        let disk =
            sample.isCompressed || sample.options == "subformat=streamOptimized"
            ? try images.makeCompressible("disk.raw") : try images.makeDisk()
        let whole = try images.convert(
            to: sample.format,
            as: "whole",
            options: sample.options,
            isCompressed: sample.isCompressed
        )
        let bytes = try images.bytes(whole)
        var random = SplitMix(state: 11)
        var refusedCount = 0
        let cuts =
            [1, 100, 511, 512, 513, 1000, 4096, 5000, 65_536, bytes.count / 2, bytes.count - 1]
            + (0..<10).map { _ in Int.random(in: 1..<bytes.count, using: &random) }
        for cut in cuts {
            let path = try images.write(Array(bytes[..<(bytes.count - cut)]), as: "cut")
            let what = "\(sample.testDescription) without its last \(cut) of \(bytes.count) bytes"
            if try requireFailureOrTruth(path, sample.format, disk, what) { refusedCount += 1 }
        }
        #expect(refusedCount >= cuts.count / 2)
    }

    @Test func theMessageOfATruncatedImageNamesItAndSaysSo() throws {
        try images.makeDisk()
        for format in [ImageFormat.qcow2, .vmdk, .vdi, .vhdx] {
            let path = try images.convert(to: format, as: "a.\(format)")
            try images.truncate(path, to: images.bytes(path).count * 2 / 3)
            let failure = #expect(throws: Failure.self) { _ = try ImageSources.open(path: path) }
            #expect(failure?.kind == .corrupt, "\(format): \(failure as Any)")
            #expect(failure?.message.contains(path) == true)
            #expect(failure?.message.contains("truncated") == true, "\(failure as Any)")
            #expect(failure?.firstHint != nil)
        }
    }

    /// Random bytes over one sector of the tables: a qcow2 image vouches for them by its counts.
    @Test func aQcow2WithDamagedTablesIsRefusedAndNeverReadWrongly() throws {
        let disk = try images.makeDisk()
        let whole = try images.convert(to: .qcow2, as: "whole")
        let bytes = try images.bytes(whole)
        // Header, first table, reference table and block, second table: the clusters before the data.
        for target in stride(from: 0, to: 5 * 65_536, by: 65_536) {
            for (fill, what) in [(UInt8(0), "zeros"), (0xff, "ones"), (0x5a, "5a")] {
                var damaged = bytes
                damaged.replaceSubrange(
                    target..<target + 512,
                    with: repeatElement(fill, count: 512)
                )
                let path = try images.write(damaged, as: "damaged")
                _ = try requireFailureOrTruth(
                    path,
                    .qcow2,
                    disk,
                    "qcow2 with \(what) at byte \(target)"
                )
            }
        }
    }

    @Test func aClusterNobodyRefersToIsRefusedWithTheRemedy() throws {
        try images.makeDisk()
        let path = try images.convert(to: .qcow2, as: "a.qcow2")
        let bytes = try images.bytes(path)
        // The first table's first entry, at 0x30000 in what qemu-img writes, is the only one.
        let table = bytes[40..<48].reduce(0) { $0 << 8 | Int($1) }
        try images.overwrite(path, at: table, with: [UInt8](repeating: 0, count: 8))
        let failure = #expect(throws: Failure.self) { _ = try ImageSources.open(path: path) }
        #expect(failure?.kind == .corrupt)
        #expect(failure?.hint?.contains("qemu-img check -r leaks") == true)
    }

    @Test func aDamagedCompressedStreamFailsTheRead() throws {
        try images.makeCompressible("disk.raw")
        let path = try images.convert(to: .qcow2, as: "a.qcow2", isCompressed: true)
        try images.overwrite(
            path,
            at: 5 * 65_536 + 1000,
            with: [UInt8](repeating: 0xff, count: 60_000)
        )
        let image = try ImageSources.open(path: path)
        let failure = #expect(throws: Failure.self) { _ = try readWhole(image) }
        #expect(failure?.kind == .io)
        #expect(failure?.message.contains(path) == true)
    }

    @Test func aDamagedBackingFileIsRefusedByItsOwnName() throws {
        try images.makeDisk()
        let base = try images.convert(to: .qcow2, as: "base.qcow2")
        try images.run(
            "qemu-img",
            "create",
            "-f",
            "qcow2",
            "-b",
            "base.qcow2",
            "-F",
            "qcow2",
            "top.qcow2"
        )
        try images.truncate(base, to: images.bytes(base).count - 200_000)
        let failure = #expect(throws: Failure.self) {
            _ = try ImageSources.open(path: images.path("top.qcow2"))
        }
        #expect(failure?.kind == .corrupt)
        #expect(failure?.message.contains("base.qcow2") == true)
    }

    @Test func aMissingBackingFileIsNamed() throws {
        try images.makeDisk()
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
            "top.qcow2"
        )
        try images.run("/bin/rm", "base.qcow2")
        let failure = #expect(throws: Failure.self) {
            _ = try ImageSources.open(path: images.path("top.qcow2"))
        }
        #expect(failure?.kind == .notFound)
        #expect(failure?.message.contains("base.qcow2") == true)
    }

    @Test func aBackingFileOfUnstatedFormatIsRefused() throws {
        try images.makeDisk()
        let base = try images.convert(to: .qcow2, as: "base.qcow2")
        try images.run(
            "qemu-img",
            "create",
            "-f",
            "qcow2",
            "-b",
            base,
            "-F",
            "qcow2",
            "top.qcow2"
        )
        // The header extension with the format gets a number that readers must pass over.
        let path = images.path("top.qcow2")
        let magic: [UInt8] = [0xe2, 0x79, 0x2a, 0xca]
        let head = try images.bytes(path)[..<512]
        let place = try #require(
            head.indices.first { head[$0...].prefix(4).elementsEqual(magic) }
        )
        try images.overwrite(path, at: place, with: [0x12, 0x34, 0x56, 0x78])
        let failure = #expect(throws: Failure.self) {
            _ = try ImageSources.open(path: images.path("top.qcow2"))
        }
        #expect(failure?.kind == .invalid)
        #expect(failure?.hint?.contains("qemu-img rebase -u") == true)
    }

    @Test func anImageInAnotherFormatThanStatedIsRefused() throws {
        try images.makeDisk()
        for format in [ImageFormat.qcow2, .vmdk, .vdi, .vhdx] {
            let failure = #expect(throws: Failure.self) {
                _ = try ImageSources.open(path: images.path("disk.raw"), format: format)
            }
            #expect([.invalid, .unsupported].contains(failure?.kind), "\(failure as Any)")
            #expect(failure?.message.contains("disk.raw") == true)
        }
    }

    @Test func anEncryptedImageIsRefusedAsSuch() throws {
        try images.run(
            "qemu-img",
            "create",
            "-f",
            "qcow2",
            "--object",
            "secret,id=s,data=abc",
            "-o",
            "encrypt.format=aes,encrypt.key-secret=s",
            "e.qcow2",
            "1M"
        )
        let failure = #expect(throws: Failure.self) {
            _ = try ImageSources.open(path: images.path("e.qcow2"))
        }
        #expect(failure?.kind == .unsupported)
        #expect(failure?.message.contains("encrypted") == true)
    }

    @Test func anImageWithItsDataElsewhereIsRefused() throws {
        try images.run(
            "qemu-img",
            "create",
            "-f",
            "qcow2",
            "-o",
            "data_file=d.raw",
            "d.qcow2",
            "1M"
        )
        let failure = #expect(throws: Failure.self) {
            _ = try ImageSources.open(path: images.path("d.qcow2"))
        }
        #expect(failure?.kind == .unsupported)
        #expect(failure?.message.contains("d.raw") == true)
    }
}
