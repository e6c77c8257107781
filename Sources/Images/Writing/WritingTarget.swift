internal import Failures
internal import Glibc
internal import Synchronization

/// Where an image is written: a file beside the target that takes its name at the end, or a block
/// device in place.
///
/// The file is `TARGET.partial.PID`. It goes with this object unless it was given its name; only a
/// process that is killed leaves it behind.
///
/// Concurrency: `state` is held for a few lines, never for a write. ``abandon()`` may come at any
/// time: a finish under way then finds the file gone and fails, or was faster.
final class WritingTarget: Sendable {
    private enum State {
        case writing
        /// With what the first write failed with; others fail with it too.
        case failed(Failure)
        case finishing
        case finished
        case abandoned
    }

    /// The target, for messages too.
    let path: String
    /// Where the bytes go until the end; the same as `path` for a device.
    let workPath: String
    let isDevice: Bool
    /// Open for writing; closed at the end of the object, so that a write under way never meets a
    /// number that was given to another file.
    let descriptor: Descriptor
    private let overwrite: Bool
    private let state = Mutex(State.writing)

    init(path: String, overwrite: Bool) throws(Failure) {
        try requirePath(path)
        guard !path.isEmpty, !path.hasSuffix("/") else {
            throw Failure(.invalid, "\(path.isEmpty ? "an empty path" : path) names no file")
        }
        let found = try ExistingTarget(path: path)
        try found?.requireReplaceable(overwrite: overwrite)
        // A link is followed, so that the file it leads to is replaced and not the link.
        let path = found.map(\.path) ?? path
        isDevice = found?.isDevice ?? false
        workPath = isDevice ? path : "\(path).partial.\(getpid())"
        descriptor = try WritingTarget.open(
            workPath,
            flags: isDevice ? O_EXCL : O_CREAT | O_EXCL,
            mode: found?.permissions ?? 0o644
        )
        self.path = path
        self.overwrite = overwrite
    }

    deinit {
        abandon()
    }

    /// Fails unless bytes may still be written.
    func requireWriting() throws(Failure) {
        try state.withLock { (state) throws(Failure) in try requireWriting(state) }
    }

    /// Remembers that something failed, so that nobody finishes the image, and answers what to throw.
    func fail(_ failure: Failure) -> Failure {
        state.withLock { (state) in
            switch state {
            case .writing, .finishing:
                let failure = explained(failure)
                state = .failed(failure)
                return failure
            case .failed(let first):
                return first
            case .abandoned:
                return abandonedFailure
            case .finished:
                return explained(failure)
            }
        }
    }

    /// Runs `complete`, makes what was written durable and gives it the target's name.
    func finish(_ complete: () throws(Failure) -> Void = {}) throws(Failure) {
        try state.withLock { (state) throws(Failure) in
            try requireWriting(state)
            state = .finishing
        }
        do throws(Failure) {
            try complete()
            let number = descriptor.number
            _ = try systemCall("cannot make it durable") { fdatasync(number) }
            if !isDevice { try takeName() }
        } catch {
            throw fail(error)
        }
        state.withLock { $0 = .finished }
        if !isDevice { try syncFolder() }
    }

    func abandon() {
        state.withLock { (state) in
            switch state {
            case .writing, .failed, .finishing:
                state = .abandoned
                // Looks at the string for the length of the call. A file that is gone is well gone.
                if !isDevice { _ = unsafe unlink(workPath) }
            case .finished, .abandoned:
                break
            }
        }
    }

    private func requireWriting(_ state: borrowing State) throws(Failure) {
        switch copy state {
        case .writing: return
        case .failed(let failure): throw failure
        case .abandoned: throw abandonedFailure
        case .finishing, .finished:
            throw Failure(.invalid, "the image \(path) is finished; nothing more can be written")
        }
    }

    private var abandonedFailure: Failure {
        Failure(.cancelled, "the image \(path) was given up")
    }

    private func explained(_ failure: Failure) -> Failure {
        switch failure.kind {
        case .noSpace:
            Failure(
                .noSpace,
                "there is no space left for the image \(path)",
                hint: "free some space, or quota, on its file system or write it to another one",
                cause: failure
            )
        default:
            failure.wrapped("cannot write the image \(path)")
        }
    }

    private static func open(_ path: String, flags: Int32, mode: mode_t) throws(Failure)
        -> Descriptor
    {
        do throws(SystemError) {
            // The string lives until the call returns; open keeps no pointer to it.
            let number = try systemCall {
                unsafe Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | flags, mode)
            }
            return Descriptor(owning: number)
        } catch {
            let failure = error.failure("cannot open \(path) for writing")
            switch failure.kind {
            case .exists:
                throw Failure(
                    .busy,
                    "\(path) is there already: the same image is being written, or an attempt was cut"
                        + " short",
                    hint: "if nothing writes it, remove it"
                )
            case .busy:
                throw Failure(
                    .busy,
                    failure.message,
                    hint: "unmount the device, or stop what uses it"
                )
            default:
                throw failure
            }
        }
    }
}

extension WritingTarget {
    private func takeName() throws(Failure) {
        if overwrite { return try rename() }
        do throws(SystemError) {
            // A second name, unlike a new one, is refused where there is a file. Both calls look at
            // the strings for their length only.
            _ = try systemCall { unsafe link(workPath, path) }
        } catch {
            switch error.number {
            case EEXIST: throw WritingTarget.exists(path)
            // A file system without hard links, such as FAT.
            case EPERM, EOPNOTSUPP, ENOSYS: return try renameOverPlaceholder()
            default: throw error.failure("cannot give it its name")
            }
        }
        // The image is whole under its name; a first name that stays does it no harm.
        _ = unsafe unlink(workPath)
    }

    /// Takes the name with an empty file, which fails if there is one, and then replaces that.
    private func renameOverPlaceholder() throws(Failure) {
        do throws(SystemError) {
            let number = try systemCall {
                unsafe Glibc.open(path, O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0o600)
            }
            _ = Descriptor(owning: number)
        } catch {
            guard error.number != EEXIST else { throw WritingTarget.exists(path) }
            throw error.failure("cannot take its name")
        }
        do throws(Failure) {
            try rename()
        } catch {
            _ = unsafe unlink(path)
            throw error
        }
    }

    private func rename() throws(Failure) {
        // Looks at the strings for the length of the call.
        _ = try systemCall("cannot give it its name") { unsafe Glibc.rename(workPath, path) }
    }

    /// A name is durable when its folder is.
    private func syncFolder() throws(Failure) {
        let end = path.lastIndex(of: "/")
        let folder = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = try Descriptor(reading: folder)
        let number = descriptor.number
        do throws(SystemError) {
            _ = try systemCall { fsync(number) }
        } catch {
            // A file system that has no such thing.
            if error.number == EINVAL { return }
            throw error.failure(
                "the image \(path) is written, but its folder cannot be made durable"
            )
        }
    }

    fileprivate static func exists(_ path: String) -> Failure {
        Failure(
            .exists,
            "\(path) exists already",
            hint: "give another path, or ask for it to be overwritten"
        )
    }
}

/// What is at the path of a target before anything is written.
private struct ExistingTarget {
    /// Without links.
    let path: String
    private let status: stat

    var isDevice: Bool { kind == S_IFBLK }
    /// Who may read an image may read the one that replaces it, and nobody else.
    var permissions: mode_t { status.st_mode & 0o777 | 0o600 }
    private var kind: mode_t { status.st_mode & S_IFMT }

    /// Nil if nothing is there.
    init?(path: String) throws(Failure) {
        var status = stat()
        do throws(SystemError) {
            // lstat and stat fill the structure they are given and keep no pointer.
            _ = try systemCall { unsafe lstat(path, &status) }
            if status.st_mode & S_IFMT == S_IFLNK {
                _ = try systemCall { unsafe stat(path, &status) }
            }
        } catch {
            guard error.number == ENOENT else { throw error.failure("cannot look at \(path)") }
            // A link that leads nowhere is something, too.
            guard status.st_mode & S_IFMT == S_IFLNK else { return nil }
        }
        // The text is ours to free once it was copied.
        let resolved = unsafe realpath(path, nil)
        self.path = unsafe resolved.map { unsafe String(cString: $0) } ?? path
        unsafe free(resolved)
        self.status = status
    }

    func requireReplaceable(overwrite: Bool) throws(Failure) {
        switch kind {
        case S_IFDIR:
            throw Failure(.isDirectory, "\(path) is a directory; give a path with a file's name")
        case S_IFREG, S_IFBLK:
            guard overwrite else { throw WritingTarget.exists(path) }
        default:
            throw Failure(
                .invalid,
                "\(path) is neither a file nor a block device, so no image can be written to it"
            )
        }
    }
}
