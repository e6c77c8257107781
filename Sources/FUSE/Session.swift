internal import CFUSE
internal import Dispatch
package import Failures
internal import Files
internal import Glibc
package import Logging
package import Namespace

/// One mount: kernel requests become calls on the tree.
///
/// Requests that need nothing from elsewhere are answered on libfuse's worker threads; those that
/// have to wait leave the worker at once and are answered by a task.
///
/// Concurrency: `serve` blocks its thread; libfuse calls the operations from many. `handle` is used by
/// libfuse's thread-safe calls only, so sharing it is sound.
@safe
package final class Session: @unchecked Sendable {
    let tree: Tree
    let logger: Logger
    let buffers = BufferPool()
    /// For what may wait for a disk or a lock: threads that answer reads and writes do not.
    let changes = DispatchQueue(label: "ccnfs.changes", attributes: .concurrent)
    private let mountPoint: String
    private let handle: OpaquePointer

    /// Requests the kernel may have under way in the background: far more than ``ParkingLot/limit``
    /// lets wait for the network, so local disks always get their turn.
    private static let backgroundLimit: UInt32 = 4096
    private static let threadLimit: UInt32 = 16
    private static let idleThreadLimit: UInt32 = 8
    /// KiB; the default of 128 caps a sequential reader at a quarter of the speed.
    private static let readAheadKiB = 1024

    package struct Options: Sendable {
        package var isReadOnly = false
        package var allowsOthers = false

        package init() {}
    }

    /// Mounts the tree. Nothing is answered before ``serve()``.
    package init(
        mounting tree: Tree,
        at mountPoint: String,
        options: Options,
        logger: Logger
    ) throws(Failure) {
        self.tree = tree
        self.logger = logger
        self.mountPoint = mountPoint
        var words = ["fsname=ccnfs", "subtype=ccnfs", "default_permissions"]
        if options.isReadOnly { words.append("ro") }
        if options.allowsOthers { words.append("allow_other") }
        var operations = Self.operations
        let arguments = ["ccnfs", "-o", words.joined(separator: ",")]
        // The session is made before `self` is whole; `userdata` is passed at the first request.
        let box = SessionBox()
        let created = unsafe Self.withArguments(arguments) { args in
            unsafe fuse_session_new(
                &args,
                &operations,
                MemoryLayout<fuse_lowlevel_ops>.size,
                Unmanaged.passRetained(box).toOpaque()
            )
        }
        guard let created = unsafe created else {
            throw Failure(.unavailable, "libfuse refused the mount options \(words)")
        }
        unsafe handle = unsafe created
        box.session = self
        guard unsafe fuse_session_mount(handle, mountPoint) == 0 else {
            throw Failure(
                .unavailable,
                "cannot mount at \(mountPoint)",
                hint: "is it an empty directory you may use, is /dev/fuse there, and without root: "
                    + "is fusermount3 installed, and for --allow-other, does /etc/fuse.conf say "
                    + "user_allow_other?"
            )
        }
        let result = unsafe cfuse_session_read_requests(handle)
        guard result == 0 else { throw Failure(errno: -result, "cannot serve \(mountPoint)") }
        raiseReadAhead()
        tree.onInvalidate { [weak self] parent, name in self?.invalidate(name, in: parent) }
    }

    private static func withArguments(
        _ words: [String],
        _ body: (inout fuse_args) -> OpaquePointer?
    ) -> OpaquePointer? {
        var pointers = unsafe words.map { unsafe strdup($0) }
        defer { unsafe pointers.forEach { unsafe free($0) } }
        return unsafe pointers.withUnsafeMutableBufferPointer { buffer in
            var args = unsafe fuse_args(
                argc: Int32(buffer.count),
                argv: buffer.baseAddress,
                allocated: 0
            )
            defer { unsafe fuse_opt_free_args(&args) }
            return unsafe body(&args)
        }
    }

    /// Answers requests until the filesystem is unmounted.
    ///
    /// libfuse's session is never destroyed: others may be telling it of changes at that moment, and
    /// it goes with the process.
    package func serve() throws(Failure) {
        let result = unsafe cfuse_session_loop(
            handle,
            Self.threadLimit,
            Self.idleThreadLimit
        )
        // ENODEV is how an unmount from outside looks to the loop.
        if result != 0, result != -ENODEV {
            throw Failure(errno: abs(result), "serving \(mountPoint) ended")
        }
    }

    /// Ends the mount; open files keep it alive for their holders only as long as this process lives.
    package func unmount() {
        unsafe fuse_session_exit(handle)
        do throws(Failure) {
            try Mounts.unmount(mountPoint, lazily: false)
        } catch {
            logger.notice("the mount is in use and detached", metadata: ["cause": "\(error)"])
            try? Mounts.unmount(mountPoint, lazily: true)
        }
    }

    private func raiseReadAhead() {
        guard let device = try? Mounts.device(of: mountPoint) else { return }
        let path = "/sys/class/bdi/\(device)/read_ahead_kb"
        do throws(Failure) {
            let file = try File(path, .readWrite)
            try file.write(Array("\(Self.readAheadKiB)\n".utf8).span, at: 0)
        } catch {
            logger.info(
                "read-ahead stays at the kernel's default",
                metadata: ["cause": "\(error)"]
            )
        }
    }

    private func invalidate(_ name: String, in parent: UInt64) {
        // The kernel may not know the name; then there is nothing to drop.
        _ = unsafe fuse_lowlevel_notify_inval_entry(handle, parent, name, name.utf8.count)
    }

    func negotiate(_ connection: UnsafeMutablePointer<fuse_conn_info>) {
        func refuse(_ flag: Int32) { unsafe connection.pointee.want &= ~UInt32(flag) }
        unsafe connection.pointee.max_write = UInt32(BufferPool.bufferByteCount)
        unsafe connection.pointee.max_background = Self.backgroundLimit
        unsafe connection.pointee.congestion_threshold = Self.backgroundLimit * 3 / 4
        // FUSE_CAP_ATOMIC_O_TRUNC stays: as a request of its own the truncation would come when the
        // opener counts as one who has the disk open already.
        // An answered write must outlive this process: nothing may stay in the kernel.
        refuse(FUSE_CAP_WRITEBACK_CACHE)
        // Unadvertised, so that the kernel itself keeps two openers of a disk apart.
        refuse(FUSE_CAP_POSIX_LOCKS)
        refuse(FUSE_CAP_FLOCK_LOCKS)
        // Reading into a buffer and replying beats splice here (measured, Docs/Decisions).
        refuse(FUSE_CAP_SPLICE_READ)
        refuse(FUSE_CAP_SPLICE_WRITE)
        refuse(FUSE_CAP_SPLICE_MOVE)
    }
}

/// What libfuse keeps as user data. Lives as long as the process: libfuse never says when it is done.
final class SessionBox {
    /// Strong: a weak reference costs two atomic operations on a shared word with every request.
    var session: Session?
}
