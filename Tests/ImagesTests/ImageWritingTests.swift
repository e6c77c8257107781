import Failures
import Foundation
import Images
import Testing

func write(
    _ bytes: some Collection<UInt8>,
    at offset: Int,
    to writer: any ImageWriter
) throws(Failure) {
    let bytes = Array(bytes)
    try writer.write(bytes.span, at: offset)
}

@Suite(.enabled(if: TemporaryImages.hasTools), .timeLimit(.minutes(2)))
struct ImageWritingTests {
    let images: TemporaryImages

    init() throws {
        images = try TemporaryImages()
    }

    static let formats = [ImageFormat.raw, .qcow2]

    private func allocatedByteCount(_ path: String) throws -> Int {
        var status = stat()
        try #require(unsafe stat(path, &status) == 0)
        return Int(status.st_blocks) * 512
    }

    @Test(arguments: formats)
    func readsBackWhatWasWrittenInAnyOrder(_ format: ImageFormat) async throws {
        let disk = try images.makeDisk()
        var random = SplitMix(state: 3)
        // A name that QEMU would take for a protocol with options.
        let path = images.path("nbd:a,b=c.img")
        let writer = try ImageWriters.open(path: path, format: format, virtualSize: disk.count)
        let pieces = stride(from: 0, to: disk.count, by: 99_999).shuffled(using: &random)
        try await withThrowingTaskGroup(of: Void.self) { (group) in
            for part in 0..<4 {
                group.addTask {
                    for start in pieces.indices.filter({ $0 % 4 == part }).map({ pieces[$0] }) {
                        try write(
                            disk[start..<min(start + 99_999, disk.count)],
                            at: start,
                            to: writer
                        )
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(!FileManager.default.fileExists(atPath: path))
        try writer.finish()
        #expect(try images.names() == ["disk.raw", "nbd:a,b=c.img"])
        let image = try ImageSources.open(path: path)
        #expect(image.virtualSize == disk.count)
        #expect(image.description.contains(format.rawValue))
        #expect(try readWhole(image) == disk)
    }

    @Test(arguments: formats)
    func whatIsNeverWrittenIsAHole(_ format: ImageFormat) throws {
        let size = 64 << 20
        let path = images.path("a")
        let writer = try ImageWriters.open(path: path, format: format, virtualSize: size)
        let data = [UInt8](repeating: 7, count: 1 << 20)
        try write(data, at: 32 << 20, to: writer)
        try write([9], at: size - 1, to: writer)
        try write([], at: size, to: writer)
        try writer.finish()
        #expect(try allocatedByteCount(path) < 2 << 20)
        let image = try ImageSources.open(path: path)
        let extents = try image.extents(from: 0, byteCount: size)
        #expect(extents.map(\.kind) == [.zero, .data, .zero, .data])
        #expect(extents[0].end == 32 << 20)
        #expect(extents[1].end == 33 << 20)
        var disk = [UInt8](repeating: 0, count: size)
        disk.replaceSubrange(32 << 20..<33 << 20, with: data)
        disk[size - 1] = 9
        #expect(try readWhole(image) == disk)
    }

    @Test(arguments: formats)
    func anImageNothingIsWrittenToReadsAsZeros(_ format: ImageFormat) throws {
        let path = images.path("empty")
        let writer = try ImageWriters.open(path: path, format: format, virtualSize: 512 * 3)
        try writer.finish()
        let image = try ImageSources.open(path: path, format: format)
        #expect(try readWhole(image) == [UInt8](repeating: 0, count: 512 * 3))
        #expect(try read(image, at: 0, byteCount: 512) == [UInt8](repeating: 0, count: 512))
    }

    @Test(arguments: formats)
    func aLargeWriteIsWrittenWhole(_ format: ImageFormat) throws {
        var random = SplitMix(state: 5)
        let disk = (0..<(9 << 20) + 512).map { _ in random.byte() }
        let path = images.path("a")
        let writer = try ImageWriters.open(path: path, format: format, virtualSize: disk.count)
        try write(disk, at: 0, to: writer)
        try writer.finish()
        #expect(try readWhole(ImageSources.open(path: path)) == disk)
    }

    @Test(arguments: formats)
    func refusesATargetThatIsThere(_ format: ImageFormat) throws {
        let path = try images.write([1, 2, 3], as: "a")
        let failure = #expect(throws: Failure.self) {
            _ = try ImageWriters.open(path: path, format: format, virtualSize: 4096)
        }
        #expect(failure?.kind == .exists)
        #expect(failure?.message.contains(path) == true)
        #expect(try images.bytes(path) == [1, 2, 3])
        #expect(try images.names() == ["a"])
    }

    @Test(arguments: formats)
    func refusesATargetThatAppearsMeanwhile(_ format: ImageFormat) throws {
        let path = images.path("a")
        do {
            let writer = try ImageWriters.open(path: path, format: format, virtualSize: 4096)
            try write([5], at: 0, to: writer)
            try images.write([1, 2, 3], as: "a")
            let failure = #expect(throws: Failure.self) { try writer.finish() }
            #expect(failure?.kind == .exists)
            #expect(failure?.description.contains(path) == true)
        }
        #expect(try images.bytes(path) == [1, 2, 3])
        #expect(try images.names() == ["a"])
    }

    @Test(arguments: formats)
    func replacesAFileOnlyWhenAskedToAndOnlyAtTheEnd(_ format: ImageFormat) throws {
        let path = try images.write([1, 2, 3], as: "a")
        try images.run("/bin/chmod", "600", path)
        try images.run("/bin/ln", "-s", "a", "link")
        let writer = try ImageWriters.open(
            path: images.path("link"),
            format: format,
            virtualSize: 4096,
            overwrite: true
        )
        try write([5], at: 4095, to: writer)
        #expect(try images.bytes(path) == [1, 2, 3])
        try writer.finish()
        #expect(try images.names() == ["a", "link"])
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        let disk = try readWhole(ImageSources.open(path: images.path("link")))
        #expect(disk == [UInt8](repeating: 0, count: 4095) + [5])
        #expect(attributes[.type] as? FileAttributeType == .typeRegular)
    }

    @Test(arguments: formats)
    func whatIsAbandonedLeavesNothing(_ format: ImageFormat) throws {
        let path = try images.write([1, 2, 3], as: "a")
        let partial = "\(path).partial.\(getpid())"
        func open() throws -> any ImageWriter {
            try ImageWriters.open(path: path, format: format, virtualSize: 1 << 20, overwrite: true)
        }
        let writer = try open()
        try write([5], at: 0, to: writer)
        #expect(try images.names() == ["a", "a.partial.\(getpid())"])
        #expect(try TemporaryImages.servers(of: partial).count == (format == .raw ? 0 : 1))
        writer.abandon()
        writer.abandon()
        #expect(try images.names() == ["a"])
        #expect(try TemporaryImages.servers(of: partial) == [])
        for failure in [
            #expect(throws: Failure.self) { try write([5], at: 0, to: writer) },
            #expect(throws: Failure.self) { try writer.finish() },
        ] {
            #expect(failure?.kind == .cancelled)
        }
        do {
            let writer = try open()
            try write([5], at: 0, to: writer)
        }
        #expect(try images.names() == ["a"])
        #expect(try TemporaryImages.servers(of: partial) == [])
        #expect(try images.bytes(path) == [1, 2, 3])
    }

    @Test(arguments: formats)
    func aFinishedImageStays(_ format: ImageFormat) throws {
        let path = images.path("a")
        do {
            let writer = try ImageWriters.open(path: path, format: format, virtualSize: 4096)
            try writer.finish()
            #expect(throws: Failure.self) { try write([5], at: 0, to: writer) }
            #expect(throws: Failure.self) { try writer.finish() }
            writer.abandon()
        }
        #expect(try images.names() == ["a"])
    }

    @Test(arguments: formats)
    func refusesToWriteTheSameImageTwiceAtOnce(_ format: ImageFormat) throws {
        let path = images.path("a")
        let writer = try ImageWriters.open(path: path, format: format, virtualSize: 4096)
        let failure = #expect(throws: Failure.self) {
            _ = try ImageWriters.open(path: path, format: format, virtualSize: 4096)
        }
        #expect(failure?.kind == .busy)
        try writer.finish()
        #expect(try images.names() == ["a"])
    }

    @Test func aServerKilledWhileItWritesIsSaidAndNothingIsLeft() throws {
        let path = images.path("a.qcow2")
        do {
            let writer = try ImageWriters.open(path: path, format: .qcow2, virtualSize: 1 << 20)
            try write([5], at: 0, to: writer)
            for id in try TemporaryImages.servers(of: "\(path).partial.\(getpid())") {
                kill(id, SIGKILL)
            }
            for failure in [
                #expect(throws: Failure.self) { try write([6], at: 1, to: writer) },
                #expect(throws: Failure.self) { try writer.finish() },
            ] {
                #expect(failure?.kind == .io)
                #expect(failure?.description.contains("qemu-nbd ended with signal 9") == true)
                #expect(failure?.message.contains(path) == true)
            }
        }
        #expect(try images.names() == [])
    }

    @Test func aServerKilledBeforeTheEndGivesNoImage() throws {
        let path = images.path("a.qcow2")
        do {
            let writer = try ImageWriters.open(path: path, format: .qcow2, virtualSize: 1 << 20)
            try write([5], at: 0, to: writer)
            for id in try TemporaryImages.servers(of: "\(path).partial.\(getpid())") {
                kill(id, SIGKILL)
            }
            let failure = #expect(throws: Failure.self) { try writer.finish() }
            #expect(failure?.kind == .io)
            #expect(failure?.description.contains("signal 9") == true, "\(failure as Any)")
        }
        #expect(try images.names() == [])
    }

    @Test(arguments: [ImageFormat.vmdk, .vhdx, .vdi])
    func refusesFormatsThatAreOnlyReadWithTheRemedy(_ format: ImageFormat) throws {
        let failure = #expect(throws: Failure.self) {
            _ = try ImageWriters.open(path: images.path("a"), format: format, virtualSize: 4096)
        }
        #expect(failure?.kind == .unsupported)
        #expect(failure?.hint?.contains("qemu-img convert -f qcow2 -O \(format.rawValue)") == true)
    }

    @Test(arguments: formats)
    func refusesWhatIsNoPlaceForAnImage(_ format: ImageFormat) throws {
        try images.run("/bin/ln", "-s", "nowhere", "dangling")
        try images.run("/usr/bin/mkfifo", "pipe")
        let cases: [(path: String, kind: Failure.Kind)] = [
            ("", .invalid), ("a\0b", .invalid), (images.path("a/"), .invalid),
            (images.folder, .isDirectory), (images.path("absent/a"), .notFound),
            (images.path("dangling"), .invalid), (images.path("pipe"), .invalid),
            ("/dev/null", .invalid),
        ]
        for (path, kind) in cases {
            for overwrite in [false, true] {
                let failure = #expect(throws: Failure.self, "\(path)") {
                    _ = try ImageWriters.open(
                        path: path,
                        format: format,
                        virtualSize: 4096,
                        overwrite: overwrite
                    )
                }
                #expect(failure?.kind == kind, "\(path): \(failure as Any)")
            }
        }
        for size in [0, -512, 1000] {
            let failure = #expect(throws: Failure.self) {
                _ = try ImageWriters.open(path: images.path("a"), format: format, virtualSize: size)
            }
            #expect(failure?.kind == .invalid)
        }
        #expect(try images.names() == ["dangling", "pipe"])
    }

    @Test func aWriteBeyondTheDiskTraps() async {
        await #expect(processExitsWith: .failure) { [path = images.path("a") as String] in
            let writer = try ImageWriters.open(path: path, format: .raw, virtualSize: 512)
            try write([1, 2], at: 511, to: writer)
        }
    }
}
