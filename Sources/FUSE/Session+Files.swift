internal import CFUSE
internal import Failures
internal import Glibc
internal import Namespace
internal import Profiles

extension Session {
    /// How often a write is tried again because what was below its blocks changed meanwhile.
    private static let writeAttemptLimit = 4

    func open(_ reply: consuming sending Reply, _ inode: UInt64, _ info: fuse_file_info) {
        let isWriter = info.flags & O_ACCMODE != O_RDONLY
        let truncates = info.flags & O_TRUNC != 0
        if !truncates, tree.opensAtOnce(inode) {
            let opened: Tree.Opened
            do throws(Failure) {
                opened = try tree.open(inode, forWriting: isWriter)
            } catch {
                return reply.fail(error)
            }
            return reply.opened(Self.info(info, opened))
        }
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.open(inode, forWriting: isWriter, truncates: truncates)
        } _: { reply, opened in
            reply.opened(Self.info(info, opened))
        }
    }

    func flush(_ reply: consuming sending Reply, _ handle: UInt64) {
        tree.noteFlush(handle)
        reply.done()
    }

    func release(_ reply: consuming sending Reply, _ handle: UInt64) {
        tree.close(handle)
        reply.done()
    }

    /// Keeps the cause of an I/O error; other answers say what they are by their errno.
    private func note(_ failure: Failure, of inode: UInt64) {
        if failure.kind.errno == EIO { tree.note(failure, of: inode) }
    }

    // MARK: Reading

    func read(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ handle: UInt64,
        _ offset: Int,
        _ byteCount: Int
    ) {
        let count = min(byteCount, BufferPool.bufferByteCount)
        let buffer = buffers.take()
        defer { buffers.giveBack(buffer) }
        let pending = PendingReply(reply)
        do throws(Failure) {
            try buffer.with { (output) throws(Failure) -> Residency in
                try tree.readResident(handle, at: offset, byteCount: count, into: &output)
            } then: { residency, bytes in
                if case .complete = residency { pending.take()?.send(bytes) }
            }
        } catch {
            note(error, of: inode)
            pending.take()?.fail(error)
        }
        // Not answered yet: something has to come from elsewhere.
        guard let reply = pending.take() else { return }
        park(reply, inode) { (tree) throws(Failure) in
            try await tree.read(handle, at: offset, byteCount: count)
        } answer: { reply, bytes in
            reply.send(bytes.span)
        }
    }

    /// Lets a request wait for the network, away from the worker threads and not too many at once.
    func park<Value: Sendable>(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ body: @escaping @Sendable (Tree) async throws(Failure) -> Value,
        answer: @escaping @Sendable (consuming sending Reply, Value) -> Void
    ) {
        do throws(Failure) {
            try tree.parked.enter(inode)
        } catch {
            note(error, of: inode)
            return reply.fail(error)
        }
        let pending = PendingReply(reply)
        Task { [self] in
            defer { tree.parked.leave(inode) }
            do throws(Failure) {
                let value = try await body(tree)
                if let reply = pending.take() { answer(reply, value) }
            } catch {
                note(error, of: inode)
                pending.take()?.fail(error)
            }
        }
    }

    // MARK: Writing

    func write(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ handle: UInt64,
        _ bytes: Span<UInt8>,
        _ offset: Int,
        isSynchronous: Bool
    ) {
        let byteCount = bytes.count
        let residency: Residency
        do throws(Failure) {
            residency = try tree.write(handle, bytes, at: offset)
        } catch {
            note(error, of: inode)
            return reply.fail(error)
        }
        switch residency {
        case .complete:
            written(reply, inode, handle, byteCount, isSynchronous: isSynchronous)
        case .missing:
            let copy = (0..<byteCount).map { bytes[$0] }
            park(reply, inode) { (tree) throws(Failure) in
                try await Self.fillAndWrite(tree, handle, copy, offset)
            } answer: { [self] reply, _ in
                written(reply, inode, handle, byteCount, isSynchronous: isSynchronous)
            }
        }
    }

    private static func fillAndWrite(
        _ tree: Tree,
        _ handle: UInt64,
        _ bytes: [UInt8],
        _ offset: Int
    ) async throws(Failure) {
        for _ in 0..<writeAttemptLimit {
            let fills = try await tree.fills(
                handle,
                forWriteAt: offset,
                byteCount: bytes.count
            )
            let residency = try tree.write(handle, bytes.span, at: offset, fills: fills)
            if case .complete = residency { return }
        }
        throw Failure(.busy, "the disk's profile keeps changing under a write")
    }

    private func written(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ handle: UInt64,
        _ byteCount: Int,
        isSynchronous: Bool
    ) {
        guard isSynchronous else { return reply.written(byteCount) }
        let pending = PendingReply(reply)
        tree.flush(handle) { [self] failure in
            guard let failure else {
                pending.take()?.written(byteCount)
                return
            }
            note(failure, of: inode)
            pending.take()?.fail(failure)
        }
    }

    func synchronize(_ reply: consuming sending Reply, _ inode: UInt64, _ handle: UInt64) {
        let pending = PendingReply(reply)
        tree.flush(handle) { [self] failure in
            guard let failure else {
                pending.take()?.done()
                return
            }
            note(failure, of: inode)
            pending.take()?.fail(failure)
        }
    }

    func synchronizeNames(_ reply: consuming sending Reply) {
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.synchronizeNames()
        } _: { reply, _ in
            reply.done()
        }
    }

    // MARK: Ranges

    func cloneRange(
        _ reply: consuming sending Reply,
        from source: UInt64,
        _ sourceOffset: Int,
        to target: UInt64,
        _ targetOffset: Int,
        _ byteCount: Int
    ) {
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.cloneRange(
                from: source,
                at: sourceOffset,
                to: target,
                at: targetOffset,
                byteCount: byteCount
            )
        } _: { reply, count in
            reply.copied(count)
        }
    }

    /// Modes of fallocate(2) that are offered; linux/falloc.h.
    private enum AllocationMode {
        static let keepSize: Int32 = 0x01
        static let punchHole: Int32 = 0x02
        static let zeroRange: Int32 = 0x10
    }

    func allocate(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ handle: UInt64,
        _ range: Range<Int>,
        _ mode: Int32
    ) {
        let keepsSize = mode & AllocationMode.keepSize != 0
        let what: Tree.Reservation
        switch mode & ~AllocationMode.keepSize {
        case 0: what = .allocate
        case AllocationMode.zeroRange: what = .zero
        case AllocationMode.punchHole where keepsSize: what = .zero
        default: return reply.fail(errno: EOPNOTSUPP)
        }
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.reserve(handle, range, what, keepsSize: keepsSize)
        } _: { [self] reply, residency in
            if case .complete = residency { return reply.done() }
            park(reply, inode) { (tree) throws(Failure) in
                try await Self.fillAndReserve(tree, handle, range, what, keepsSize: keepsSize)
            } answer: { reply, _ in
                reply.done()
            }
        }
    }

    private static func fillAndReserve(
        _ tree: Tree,
        _ handle: UInt64,
        _ range: Range<Int>,
        _ what: Tree.Reservation,
        keepsSize: Bool
    ) async throws(Failure) {
        for _ in 0..<writeAttemptLimit {
            let fills = try await tree.fills(
                handle,
                forWriteAt: range.lowerBound,
                byteCount: range.count
            )
            let residency = try tree.reserve(
                handle,
                range,
                what,
                keepsSize: keepsSize,
                fills: fills
            )
            if case .complete = residency { return }
        }
        throw Failure(.busy, "the disk's profile keeps changing under a fallocate")
    }

    func seek(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ handle: UInt64,
        _ offset: Int,
        _ whence: Int32
    ) {
        // SEEK_DATA is 3, SEEK_HOLE is 4; the kernel answers the others itself.
        guard whence == 3 || whence == 4 else { return reply.fail(errno: EINVAL) }
        // The kernel passes negative offsets on unchecked.
        guard offset >= 0 else { return reply.fail(errno: ENXIO) }
        park(reply, inode) { (tree) throws(Failure) in
            try await tree.seek(handle, toData: whence == 3, from: offset)
        } answer: { reply, found in
            guard let found else { return reply.fail(errno: ENXIO) }
            reply.offset(found)
        }
    }
}
