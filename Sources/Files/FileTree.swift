internal import CLinux
package import Failures
internal import Glibc

/// Paths: what is done with names rather than with open files.
package enum FileTree {
    /// Makes a directory and those above it; an existing one is left as it is.
    package static func makeDirectory(_ path: String, permissions: UInt32 = 0o755) throws(Failure) {
        if let status = try status(of: path) {
            guard status.kind == .directory else {
                throw Failure(.notDirectory, "\(path) is not a directory")
            }
            return
        }
        if let parent = parent(of: path) { try makeDirectory(parent, permissions: permissions) }
        do throws(Failure) {
            _ = try systemCall("cannot make directory \(path)") {
                unsafe mkdir(path, permissions)
            }
        } catch  where error.kind == .exists {
            return
        }
    }

    /// Absence is an answer: nil.
    package static func status(of path: String) throws(Failure) -> FileStatus? {
        var raw = stat()
        do throws(Failure) {
            _ = try systemCall("cannot look at \(path)") { unsafe stat(path, &raw) }
        } catch  where error.kind == .notFound {
            return nil
        }
        return FileStatus(raw)
    }

    package static func exists(_ path: String) -> Bool {
        unsafe access(path, F_OK) == 0
    }

    /// Removes a file; one that is not there is no error.
    package static func remove(_ path: String) throws(Failure) {
        do throws(Failure) {
            _ = try systemCall("cannot remove \(path)") { unsafe unlink(path) }
        } catch  where error.kind == .notFound {
            return
        }
    }

    /// Removes an empty directory; one that is not there is no error.
    package static func removeDirectory(_ path: String) throws(Failure) {
        do throws(Failure) {
            _ = try systemCall("cannot remove \(path)") { unsafe rmdir(path) }
        } catch  where error.kind == .notFound {
            return
        }
    }

    /// Removes a file, or a directory with everything in it; one that is not there is no error.
    package static func removeAll(_ path: String) throws(Failure) {
        guard let status = try status(of: path) else { return }
        guard status.kind == .directory else { return try remove(path) }
        for name in try names(in: path) { try removeAll("\(path)/\(name)") }
        try removeDirectory(path)
    }

    package static func rename(_ from: String, to: String) throws(Failure) {
        _ = try systemCall("cannot rename \(from) to \(to)") {
            unsafe Glibc.rename(from, to)
        }
    }

    package static func setPermissions(of path: String, to mode: UInt32) throws(Failure) {
        _ = try systemCall("cannot change the mode of \(path)") { unsafe chmod(path, mode) }
    }

    /// The names in a directory, sorted, without `.` and `..`.
    package static func names(in path: String) throws(Failure) -> [String] {
        guard let directory = unsafe opendir(path) else {
            throw Failure(errno: errno, "cannot list \(path)")
        }
        defer { _ = unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Copies a file, holes as holes, on disk when this returns.
    ///
    /// - Returns: the bytes that the copy takes on disk.
    package static func copySparse(_ from: String, to: String) throws(Failure) -> Int {
        let source = try File(from, .readOnly)
        let target = try File(to, .createNew)
        var offset = 0
        while let data = try source.nextData(at: offset) {
            for start in stride(from: data.lowerBound, to: data.upperBound, by: copyByteCount) {
                let count = min(copyByteCount, data.upperBound - start)
                let bytes = try source.bytes(at: start, byteCount: count)
                try target.write(bytes.span, at: start)
            }
            offset = data.upperBound
        }
        try target.truncate(to: try source.size())
        try target.synchronizeData()
        return try target.status().allocatedByteCount
    }

    private static let copyByteCount = 1 << 20

    /// New, renamed and removed names of a directory reach the disk before this returns.
    package static func synchronizeDirectory(_ path: String) throws(Failure) {
        let descriptor = try systemCall("cannot open \(path)") {
            unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        defer { _ = close(descriptor) }
        _ = try systemCall("cannot make \(path) durable") { fsync(descriptor) }
    }

    /// Writes a small file whole: readers see the old bytes or the new, also after a power cut.
    package static func replace(
        _ path: String,
        with bytes: [UInt8],
        permissions: UInt32 = 0o644
    ) throws(Failure) {
        let temporary = "\(path).new.\(getpid())"
        try remove(temporary)
        do throws(Failure) {
            let file = try File(temporary, .createNew, permissions: permissions)
            try file.write(bytes.span, at: 0)
            try file.synchronizeData()
            try rename(temporary, to: path)
        } catch {
            try? remove(temporary)
            throw error
        }
        try synchronizeDirectory(parent(of: path) ?? ".")
    }

    /// All bytes of a file, at most `limit`.
    package static func bytes(of path: String, limit: Int = 16 << 20) throws(Failure) -> [UInt8] {
        let file = try File(path, .readOnly)
        let size = try file.size()
        guard size <= limit else {
            throw Failure(.tooLarge, "\(path) has \(size) bytes, more than the \(limit) allowed")
        }
        return try file.bytes(at: 0, byteCount: size)
    }

    /// Space of the filesystem that holds `path`, in bytes.
    package static func space(at path: String) throws(Failure) -> FileSystemSpace {
        var raw = statvfs()
        _ = try systemCall("cannot look at the filesystem of \(path)") {
            unsafe statvfs(path, &raw)
        }
        let unit = Int(raw.f_frsize)
        return FileSystemSpace(
            totalByteCount: Int(raw.f_blocks) * unit,
            availableByteCount: Int(raw.f_bavail) * unit
        )
    }

    /// Whether the filesystem that holds `path` is gone with the power (tmpfs, ramfs).
    package static func livesInMemory(_ path: String) throws(Failure) -> Bool {
        var type = 0
        _ = try systemCall("cannot look at the filesystem of \(path)") {
            unsafe clinux_filesystem_type(path, &type)
        }
        // TMPFS_MAGIC and RAMFS_MAGIC of linux/magic.h.
        return [0x0102_1994, 0x8584_58f6].contains(type)
    }

    /// The path without symbolic links and dots; the file must be there.
    package static func canonical(_ path: String) throws(Failure) -> String {
        guard let resolved = unsafe realpath(path, nil) else {
            throw Failure(errno: errno, "cannot find \(path)")
        }
        defer { unsafe free(resolved) }
        return unsafe String(cString: resolved)
    }

    /// The value of an xattr; nil when there is none.
    package static func extendedAttribute(_ name: String, of path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe buffer.withUnsafeMutableBytes {
            unsafe clinux_get_xattr(path, name, $0.baseAddress, $0.count)
        }
        return count >= 0 ? String(decoding: buffer.prefix(count), as: UTF8.self) : nil
    }

    /// The path made absolute against the working directory; symbolic links stay.
    package static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let current = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(current) }
        let base = unsafe String(cString: current)
        return base == "/" ? "/\(path)" : "\(base)/\(path)"
    }

    /// The directory part of a path; nil for a bare name and for `/`.
    package static func parent(of path: String) -> String? {
        guard let slash = path.lastIndex(of: "/") else { return nil }
        if slash == path.startIndex { return path.count > 1 ? "/" : nil }
        return String(path[..<slash])
    }
}

/// The room of a filesystem, in bytes.
package struct FileSystemSpace: Sendable {
    package let totalByteCount: Int
    package let availableByteCount: Int
}
