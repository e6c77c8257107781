internal import Foundation
internal import Testing

/// A folder for one test, removed at its end.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() throws {
        path = NSTemporaryDirectory() + "ccnfs-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: path,
            withIntermediateDirectories: true
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A filesystem of a few pages, for tests of what happens when it is full. Needs root.
package final class SmallFilesystem: Sendable {
    package let path: String
    private let folder: TemporaryFolder

    package static let isPossible: Bool = {
        guard let folder = try? TemporaryFolder() else { return false }
        guard (try? run("mount", ["-t", "tmpfs", "-o", "size=64k", "none", folder.path])) == 0
        else { return false }
        return (try? run("umount", [folder.path])) == 0
    }()

    package init(byteCount: Int) throws {
        folder = try TemporaryFolder()
        path = folder.path
        let status = try Self.run(
            "mount",
            ["-t", "tmpfs", "-o", "size=\(byteCount)", "none", path]
        )
        try #require(status == 0, "no filesystem could be mounted on \(path)")
    }

    deinit { _ = try? Self.run("umount", ["-l", path]) }

    private static func run(_ tool: String, _ arguments: [String]) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [tool] + arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }
}
