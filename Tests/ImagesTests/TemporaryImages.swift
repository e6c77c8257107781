import Foundation
import Images

/// A folder of images for one test, removed at its end.
final class TemporaryImages: Sendable {
    static let hasTools = ["qemu-img", "qemu-nbd", "qemu-io"].allSatisfy {
        FileManager.default.isExecutableFile(atPath: "/usr/bin/\($0)")
    }

    let folder: String

    init() throws {
        folder = NSTemporaryDirectory() + "images-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true
        )
    }

    deinit {
        try? FileManager.default.removeItem(atPath: folder)
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    @discardableResult
    func write(_ bytes: [UInt8], as name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
        return path(name)
    }

    /// A disk with data, holes, and an end that is no multiple of any cluster.
    @discardableResult
    func makeDisk(_ name: String = "disk.raw") throws -> [UInt8] {
        try write(TemporaryImages.disk, as: name)
        return TemporaryImages.disk
    }

    private static let disk = {
        var random = SplitMix(state: 1)
        var bytes = [UInt8](repeating: 0, count: 6 << 20 | 3 << 9)
        for range in [0..<700_000, 2 << 20..<(2 << 20) + 4096, 5_000_001..<bytes.count] {
            for index in range { bytes[index] = random.byte() }
        }
        return bytes
    }()

    /// Every third byte random, so that it compresses, though not to nothing.
    @discardableResult
    func makeCompressible(_ name: String) throws -> [UInt8] {
        try write(TemporaryImages.compressible, as: name)
        return TemporaryImages.compressible
    }

    private static let compressible = {
        var random = SplitMix(state: 7)
        return (0..<(1 << 20) + 512).map { $0 % 3 == 0 ? random.byte() : 0x61 }
    }()

    @discardableResult
    func run(_ tool: String, _ arguments: String...) throws -> String {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(
            fileURLWithPath: tool.hasPrefix("/") ? tool : "/usr/bin/\(tool)"
        )
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw ToolFailed(text: String(decoding: text, as: UTF8.self))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Converts `disk.raw` and answers the path.
    func convert(
        _ source: String = "disk.raw",
        to format: ImageFormat,
        as name: String,
        options: String? = nil,
        isCompressed: Bool = false
    ) throws -> String {
        let process = ["convert", "-f", "raw", "-O", format.rawValue]
        let extra = (options.map { ["-o", $0] } ?? []) + (isCompressed ? ["-c"] : [])
        try runAll("qemu-img", process + extra + [source, name])
        return path(name)
    }

    private func runAll(_ tool: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/\(tool)")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw ToolFailed(text: "\(arguments)") }
    }

    /// Ids of the servers of the image at `path`, found by it in their command lines.
    static func servers(of path: String) throws -> [Int32] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap(Int32.init).filter {
            let line = FileManager.default.contents(atPath: "/proc/\($0)/cmdline") ?? Data()
            let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return words.first?.hasSuffix("qemu-nbd") == true && words.contains(path)
        }
    }

    /// What is in the folder, sorted.
    func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    func truncate(_ path: String, to byteCount: Int) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.truncate(atOffset: UInt64(byteCount))
        try file.close()
    }

    func overwrite(_ path: String, at offset: Int, with bytes: [UInt8]) throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.seek(toOffset: UInt64(offset))
        try file.write(contentsOf: Data(bytes))
        try file.close()
    }

    func bytes(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }
}

struct ToolFailed: Error {
    let text: String
}

/// A small generator whose seed makes a test repeatable.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next() >> 24) }
}
