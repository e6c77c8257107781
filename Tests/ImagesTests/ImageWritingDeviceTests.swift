import Failures
import Foundation
import Images
import Testing

/// A file system of its own, of a few megabytes, in the folder of a test.
final class SmallFileSystem {
    enum Kind: String, CaseIterable, Sendable {
        case tmpfs, ext4, vfat
    }

    private let images: TemporaryImages
    let folder: String

    static let available = Kind.allCases.filter { (kind) in
        guard geteuid() == 0, TemporaryImages.hasTools else { return false }
        return (try? SmallFileSystem(kind)) != nil
    }

    init(_ kind: Kind) throws {
        images = try TemporaryImages()
        folder = images.path("mounted")
        try images.run("/bin/mkdir", folder)
        switch kind {
        case .tmpfs:
            try images.run("/bin/mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder)
        case .ext4, .vfat:
            try images.run("/usr/bin/truncate", "-s", "8M", "device")
            try images.run("/usr/sbin/mkfs.\(kind.rawValue)", images.path("device"))
            try images.run("/bin/mount", "-o", "loop", "device", folder)
        }
        try? FileManager.default.removeItem(atPath: "\(folder)/lost+found")
    }

    deinit {
        _ = try? images.run("/bin/umount", "-l", folder)
    }

    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder) }
}

/// A loop device over a file of `byteCount` bytes 0xaa.
private final class LoopDevice {
    let images: TemporaryImages
    let path: String

    static let isAvailable =
        geteuid() == 0 && TemporaryImages.hasTools && (try? LoopDevice(byteCount: 4096)) != nil

    init(byteCount: Int) throws {
        images = try TemporaryImages()
        try images.write([UInt8](repeating: 0xaa, count: byteCount), as: "device")
        path = try images.run("/usr/sbin/losetup", "--show", "-f", images.path("device"))
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    deinit {
        _ = try? images.run("/usr/sbin/losetup", "-d", path)
    }
}

@Suite(.enabled(if: !SmallFileSystem.available.isEmpty), .serialized, .timeLimit(.minutes(2)))
struct FullDiskTests {
    @Test(arguments: SmallFileSystem.available, ImageWritingTests.formats)
    func aFullDiskIsSaidAndNothingIsLeft(
        _ kind: SmallFileSystem.Kind,
        _ format: ImageFormat
    ) throws {
        let fileSystem = try SmallFileSystem(kind)
        let path = "\(fileSystem.folder)/a"
        var random = SplitMix(state: 9)
        let piece = (0..<1 << 20).map { _ in random.byte() }
        do {
            let failure = #expect(throws: Failure.self) {
                let writer = try ImageWriters.open(
                    path: path,
                    format: format,
                    virtualSize: 16 << 20
                )
                for offset in stride(from: 0, to: 16 << 20, by: piece.count) {
                    try write(piece, at: offset, to: writer)
                }
                try writer.finish()
            }
            #expect(failure?.kind == .noSpace, "\(failure as Any)")
            #expect(failure?.message.contains(path) == true)
            #expect(failure?.firstHint != nil)
        }
        #expect(try fileSystem.names() == [])
    }

    @Test(arguments: SmallFileSystem.available, ImageWritingTests.formats)
    func anImageThatFitsIsWrittenAndDoesNotReplaceAnother(
        _ kind: SmallFileSystem.Kind,
        _ format: ImageFormat
    ) throws {
        let fileSystem = try SmallFileSystem(kind)
        let path = "\(fileSystem.folder)/a"
        let writer = try ImageWriters.open(path: path, format: format, virtualSize: 2 << 20)
        try write([5], at: 1 << 20, to: writer)
        try writer.finish()
        #expect(try fileSystem.names() == ["a"])
        let disk = try readWhole(ImageSources.open(path: path, format: format))
        #expect(disk.count == 2 << 20 && disk[1 << 20] == 5)

        let other = "\(fileSystem.folder)/b"
        let late = try ImageWriters.open(path: other, format: format, virtualSize: 1 << 20)
        try Data([1]).write(to: URL(fileURLWithPath: other))
        let failure = #expect(throws: Failure.self) { try late.finish() }
        #expect(failure?.kind == .exists)
        late.abandon()
        #expect(FileManager.default.contents(atPath: other) == Data([1]))
        #expect(try fileSystem.names().sorted() == ["a", "b"])
    }
}

@Suite(.enabled(if: LoopDevice.isAvailable), .serialized, .timeLimit(.minutes(2)))
struct DeviceWritingTests {
    @Test func aDeviceIsOverwrittenInPlaceWithZerosWhereNothingIsWritten() throws {
        let device = try LoopDevice(byteCount: 8 << 20)
        let size = (4 << 20) + 512
        let failure = #expect(throws: Failure.self) {
            _ = try ImageWriters.open(path: device.path, format: .raw, virtualSize: size)
        }
        #expect(failure?.kind == .exists)
        do {
            let writer = try ImageWriters.open(
                path: device.path,
                format: .raw,
                virtualSize: size,
                overwrite: true
            )
            try write([1, 2, 3], at: 1_000_001, to: writer)
            try writer.finish()
        }
        var disk = [UInt8](repeating: 0, count: size)
        disk.replaceSubrange(1_000_001..<1_000_004, with: [1, 2, 3])
        disk += [UInt8](repeating: 0xaa, count: (8 << 20) - size)
        #expect(try readWhole(ImageSources.open(path: device.path, format: .raw)) == disk)
        #expect(try images(in: "/dev", of: device) == [])
    }

    @Test func refusesADeviceThatIsTooSmallOrForQcow2() throws {
        let device = try LoopDevice(byteCount: 1 << 20)
        for (format, kind) in [(ImageFormat.raw, Failure.Kind.tooLarge), (.qcow2, .unsupported)] {
            let failure = #expect(throws: Failure.self) {
                _ = try ImageWriters.open(
                    path: device.path,
                    format: format,
                    virtualSize: 2 << 20,
                    overwrite: true
                )
            }
            #expect(failure?.kind == kind)
            #expect(failure?.description.contains(device.path) == true)
        }
        let bytes = try readWhole(ImageSources.open(path: device.path, format: .raw))
        #expect(bytes == [UInt8](repeating: 0xaa, count: 1 << 20))
    }

    private func images(in folder: String, of device: LoopDevice) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { "\(folder)/\($0)".hasPrefix("\(device.path).partial") }
    }
}
