internal import Failures
internal import Files

/// A directory outside of the state directory for written blocks: another local disk, or a networked
/// filesystem.
enum OverlayPlace {
    private static let probeByteCount = 1 << 20

    /// The folder in `place` that is this node's own, made when absent.
    ///
    /// - Parameter home: tells nodes apart that use one place.
    /// - Throws: `.unsupported` for a filesystem that cannot keep written blocks: one that lives in memory,
    ///   or that has no holes.
    static func directory(in place: String, home: String) throws(Failure) -> String {
        guard let status = try FileTree.status(of: place) else {
            throw Failure(
                .notFound,
                "there is no directory \(place) for written blocks",
                hint: "make it, or mount its filesystem first"
            )
        }
        guard status.kind == .directory else {
            throw Failure(.notDirectory, "\(place) is not a directory")
        }
        let directory = "\(try FileTree.canonical(place))/ccnfs-\(home)"
        if FileTree.exists(directory) { return directory }
        try FileTree.makeDirectory(directory, permissions: 0o700)
        do throws(Failure) {
            try check(directory)
        } catch {
            try? FileTree.removeDirectory(directory)
            throw error
        }
        try FileTree.synchronizeDirectory(place)
        return directory
    }

    private static func check(_ directory: String) throws(Failure) {
        guard try !FileTree.livesInMemory(directory) else {
            throw Failure(
                .unsupported,
                "the filesystem of \(directory) lives in memory: written blocks would not outlive the "
                    + "power, whatever fsync answers",
                hint: "name a directory on a disk"
            )
        }
        let path = "\(directory)/probe"
        try FileTree.remove(path)
        defer { try? FileTree.remove(path) }
        let file = try File(path, .createNew)
        let bytes = [UInt8](repeating: 1, count: probeByteCount)
        try file.write(bytes.span, at: 16 * probeByteCount)
        try file.synchronizeData()
        let sparse = try file.status().allocatedByteCount
        guard sparse < 8 * probeByteCount else {
            throw Failure(
                .unsupported,
                "the filesystem of \(directory) has no sparse files: a disk would take its full size",
                hint: "ext4, xfs and btrfs have them"
            )
        }
        do throws(Failure) {
            try file.punchHole(at: 16 * probeByteCount, byteCount: probeByteCount)
            try file.synchronizeData()
        } catch {
            throw Failure(
                .unsupported,
                "the filesystem of \(directory) cannot give back space inside of a file",
                hint: "ext4, xfs and btrfs can; NFS from version 4.2 on",
                cause: error
            )
        }
    }
}
