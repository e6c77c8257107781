internal import CFUSE
internal import Failures
internal import Glibc
internal import Namespace
internal import Profiles

extension Session {
    /// How often a write is tried again because what was below its blocks changed meanwhile.
    private static let writeAttemptLimit = 4

    func open(_ reply: consuming sending Reply, _ inode: UInt64, _ info: fuse_file_info) {
        let opened: Tree.Opened
        do throws(Failure) {
            let isWriter = info.flags & O_ACCMODE != O_RDONLY
            opened = try tree.open(inode, forWriting: isWriter)
        } catch {
            return reply.fail(error)
        }
        reply.opened(Self.info(info, opened))
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
    private func park<Value: Sendable>(
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
        do throws(Failure) {
            try tree.synchronizeNames()
        } catch {
            return reply.fail(error)
        }
        reply.done()
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
        let count: Int
        do throws(Failure) {
            count = try tree.cloneRange(
                from: source,
                at: sourceOffset,
                to: target,
                at: targetOffset,
                byteCount: byteCount
            )
        } catch {
            return reply.fail(error)
        }
        reply.copied(count)
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
