import Failures
import Foundation
import Images
import Testing

struct ImageFormatTests {
    let images: TemporaryImages

    init() throws {
        images = try TemporaryImages()
    }

    static let signatures: [(bytes: [UInt8], says: String, remedy: String)] = [
        (Array("conectix".utf8), "VHD", "qemu-img convert -f vpc"),
        ([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1], "qcow", "qemu-img convert -f qcow "),
        ([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 9], "unknown version", "newer"),
        (Array("QED\0".utf8), "QED", "qemu-img convert -f qed"),
        (Array("WithoutFreeSpace".utf8), "Parallels", "qemu-img convert -f parallels"),
        (Array("WithouFreSpacExt".utf8), "Parallels", "qemu-img convert -f parallels"),
        (Array("Bochs Virtual HD Image".utf8), "Bochs", "qemu-img convert -f bochs"),
        ([0x1f, 0x8b, 8], "gzip", "gunzip"),
        ([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], "xz", "unxz"),
        ([0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
        (Array("BZh91AY&SY".utf8), "bzip2", "bunzip2"),
        (Array("PK\u{3}\u{4}".utf8), "zip", "unzip"),
        ([UInt8](repeating: 0, count: 257) + Array("ustar".utf8), "tar", "tar -xf"),
    ]

    @Test(arguments: signatures.indices)
    func refusesAKnownFormatThatIsNotReadWithItsRemedy(_ index: Int) throws {
        let signature = ImageFormatTests.signatures[index]
        let path = try images.write(
            signature.bytes + [UInt8](repeating: 0, count: 4096 - signature.bytes.count),
            as: "a"
        )
        let failure = #expect(throws: Failure.self) { _ = try ImageFormat.detect(path: path) }
        #expect(failure?.kind == .unsupported)
        #expect(failure?.message.contains(signature.says) == true)
        #expect(failure?.message.contains(path) == true)
        #expect(failure?.hint?.contains(signature.remedy) == true)
        // Whoever knows better may say so.
        #expect(try ImageSources.open(path: path, format: .raw).virtualSize == 4096)
    }

    @Test(arguments: ["conectix", "koly"])
    func recognisesAFormatByItsLastSector(_ mark: String) throws {
        var bytes = [UInt8](repeating: 0, count: 8192)
        bytes.replaceSubrange(8192 - 512..<8192 - 512 + mark.utf8.count, with: mark.utf8)
        let path = try images.write(bytes, as: "a")
        let failure = #expect(throws: Failure.self) { _ = try ImageFormat.detect(path: path) }
        #expect(failure?.kind == .unsupported)
    }

    @Test func takesAllElseForRaw() throws {
        for bytes in [[UInt8](repeating: 0, count: 512), [1], Array("QFI".utf8)] {
            #expect(try ImageFormat.detect(path: images.write(bytes, as: "a")) == .raw)
        }
        var iso = [UInt8](repeating: 0, count: 65_536)
        iso.replaceSubrange(0x8001..<0x8006, with: "CD001".utf8)
        #expect(try ImageFormat.detect(path: images.write(iso, as: "iso")) == .raw)
    }

    @Test func refusesWhatIsNoImage() throws {
        let cases: [(String, Failure.Kind)] = [
            (images.folder, .isDirectory), ("/dev/zero", .invalid),
            (images.path("absent"), .notFound), ("a\0b", .invalid),
            (try images.write([], as: "empty"), .invalid),
        ]
        for (path, kind) in cases {
            let failure = #expect(throws: Failure.self, "\(path)") {
                _ = try ImageSources.open(path: path)
            }
            #expect(failure?.kind == kind, "\(path): \(failure as Any)")
        }
        try images.run("/usr/bin/mkfifo", "pipe")
        let failure = #expect(throws: Failure.self) {
            _ = try ImageSources.open(path: images.path("pipe"))
        }
        #expect(failure?.hint?.contains("standard input") == true)
    }

    @Test func refusesARawImageThatEndsInsideASector() throws {
        let path = try images.write([UInt8](repeating: 1, count: 1000), as: "odd.raw")
        let failure = #expect(throws: Failure.self) { _ = try ImageSources.open(path: path) }
        #expect(failure?.kind == .invalid)
        #expect(failure?.message.contains("1000 bytes") == true)
        #expect(failure?.hint?.contains("truncate -s %512") == true)
        try images.run("/usr/bin/truncate", "-s", "%512", path)
        #expect(try ImageSources.open(path: path).virtualSize == 1024)
    }

    @Test func noticesARawImageThatShrinksWhileItIsRead() throws {
        let path = try images.write([UInt8](repeating: 1, count: 1 << 20), as: "a.raw")
        let image = try ImageSources.open(path: path)
        try images.truncate(path, to: 600_000)
        let failure = #expect(throws: Failure.self) {
            _ = try read(image, at: 0, byteCount: 1 << 20)
        }
        #expect(failure?.kind == .io)
        #expect(failure?.message.contains("ends at byte 600000") == true)
        #expect(throws: Failure.self) { try image.verifyUnchanged() }
    }
}
