internal import CFUSE
internal import Dispatch
internal import Failures
internal import Glibc
internal import Namespace

extension Session {
    /// Seconds the kernel may keep what can change behind its back: a publish or deploy by the CLI.
    private static let changingSeconds = 1.0
    /// Seconds it may keep what cannot.
    private static let immutableSeconds = 86_400.0

    /// Answers with what `body` gives, or with its failure.
    private func answering<Value>(
        _ reply: consuming sending Reply,
        _ body: () throws(Failure) -> Value,
        _ send: (consuming sending Reply, Value) -> Void
    ) {
        let value: Value
        do throws(Failure) {
            value = try body()
        } catch {
            return reply.fail(error)
        }
        send(reply, value)
    }

    /// The same, away from the threads that answer reads and writes.
    func answeringAside<Value: Sendable>(
        _ reply: consuming sending Reply,
        _ body: @escaping @Sendable () throws(Failure) -> Value,
        _ send: @escaping @Sendable (consuming sending Reply, Value) -> Void
    ) {
        let pending = PendingReply(reply)
        changes.async {
            do throws(Failure) {
                let value = try body()
                if let reply = pending.take() { send(reply, value) }
            } catch {
                pending.take()?.fail(error)
            }
        }
    }

    func lookUp(_ reply: consuming sending Reply, _ parent: UInt64, _ name: String) {
        answering(reply) { () throws(Failure) in
            try tree.lookUp(name, in: parent)
        } _: { reply, found in
            reply.entry(Self.entry(found))
        }
    }

    func forget(_ reply: consuming sending Reply, _ inode: UInt64, _ count: UInt64) {
        tree.forget(inode, count: count)
        reply.none()
    }

    func attributes(_ reply: consuming sending Reply, _ inode: UInt64) {
        answering(reply) { () throws(Failure) in
            try tree.attributes(of: inode)
        } _: { reply, attributes in
            reply.attributes(attributes.raw, timeoutSeconds: Self.changingSeconds)
        }
    }

    func setAttributes(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ changes: AttributeChanges,
        _ handle: UInt64?
    ) {
        guard let size = changes.size else {
            return answering(reply) { () throws(Failure) in
                try tree.setAttributes(of: inode, changes, handle: handle)
            } _: { reply, attributes in
                Self.send(attributes, to: reply)
            }
        }
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.setAttributes(of: inode, changes, handle: handle)
        } _: { [self] reply, attributes in
            if attributes != nil { return Self.send(attributes, to: reply) }
            park(reply, inode) { (tree) throws(Failure) in
                let fills = try await tree.fills(inode, forResizeTo: size)
                return try tree.setAttributes(of: inode, changes, handle: handle, fills: fills)
            } answer: { reply, attributes in
                Self.send(attributes, to: reply)
            }
        }
    }

    private static func send(_ attributes: NodeAttributes?, to reply: consuming sending Reply) {
        // What was fetched is gone again: the disk's profile changed meanwhile.
        guard let attributes else { return reply.fail(errno: EAGAIN) }
        reply.attributes(attributes.raw, timeoutSeconds: changingSeconds)
    }

    func readLink(_ reply: consuming sending Reply, _ inode: UInt64) {
        answering(reply) { () throws(Failure) in
            try tree.target(ofLink: inode)
        } _: { reply, target in
            reply.link(target)
        }
    }

    func makeDirectory(
        _ reply: consuming sending Reply,
        _ parent: UInt64,
        _ name: String,
        _ mode: mode_t,
        _ caller: Caller
    ) {
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.makeDirectory(name, in: parent, mode: mode, by: caller)
        } _: { reply, found in
            reply.entry(Self.entry(found))
        }
    }

    func removeDirectory(_ reply: consuming sending Reply, _ parent: UInt64, _ name: String) {
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.removeDirectory(name, in: parent)
        } _: { reply, _ in
            reply.done()
        }
    }

    func removeFile(_ reply: consuming sending Reply, _ parent: UInt64, _ name: String) {
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.removeFile(name, in: parent)
        } _: { reply, _ in
            reply.done()
        }
    }

    func rename(
        _ reply: consuming sending Reply,
        _ parent: UInt64,
        _ name: String,
        _ newParent: UInt64,
        _ newName: String,
        _ flags: UInt32
    ) {
        // RENAME_NOREPLACE is what a rename here always does; the others are not offered.
        guard flags & ~1 == 0 else { return reply.fail(errno: EINVAL) }
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.rename(name, in: parent, to: newName, in: newParent)
        } _: { reply, _ in
            reply.done()
        }
    }

    func create(
        _ reply: consuming sending Reply,
        _ parent: UInt64,
        _ name: String,
        _ mode: mode_t,
        _ caller: Caller,
        _ info: fuse_file_info
    ) {
        answeringAside(reply) { [tree] () throws(Failure) in
            try tree.makeFile(name, in: parent, mode: mode, by: caller)
        } _: { reply, made in
            reply.created(Self.entry(made.found), Self.info(info, made.opened))
        }
    }

    // MARK: Directories

    func openDirectory(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ info: fuse_file_info
    ) {
        answering(reply) { () throws(Failure) in
            try tree.openDirectory(inode)
        } _: { reply, handle in
            var info = info
            info.fh = handle
            reply.opened(info)
        }
    }

    func readDirectory(
        _ reply: consuming sending Reply,
        _ handle: UInt64,
        _ offset: Int,
        _ room: DirectoryBuffer
    ) {
        answering(reply) { () throws(Failure) in
            try tree.entries(of: handle, from: offset)
        } _: { reply, entries in
            var buffer = room
            for (index, entry) in zip(entries.indices, entries) {
                guard buffer.append(entry, next: index + 1) else { break }
            }
            reply.send(buffer.bytes.span)
        }
    }

    func releaseDirectory(_ reply: consuming sending Reply, _ handle: UInt64) {
        tree.closeDirectory(handle)
        reply.done()
    }

    func space(_ reply: consuming sending Reply) {
        answering(reply) { () throws(Failure) in
            try tree.space()
        } _: { reply, space in
            var raw = statvfs()
            raw.f_bsize = 4096
            raw.f_frsize = 4096
            raw.f_blocks = UInt(space.totalByteCount / 4096)
            raw.f_bfree = UInt(space.availableByteCount / 4096)
            raw.f_bavail = raw.f_bfree
            raw.f_namemax = 255
            reply.space(raw)
        }
    }

    // MARK: Extended attributes

    func attributeNames(_ reply: consuming sending Reply, _ inode: UInt64, _ room: Int) {
        answering(reply) { () throws(Failure) in
            try tree.extendedAttributeNames(of: inode)
        } _: { reply, names in
            reply.attribute(names.flatMap { Array($0.utf8) + [0] }, room: room)
        }
    }

    /// Some values take a walk over the manifest, so none is answered on a worker thread.
    func attribute(
        _ reply: consuming sending Reply,
        _ inode: UInt64,
        _ name: String,
        _ room: Int
    ) {
        // What the kernel asks on its own (security.capability, before a write) must not cost a task.
        guard name.hasPrefix(Tree.attributePrefix) else { return reply.fail(errno: ENODATA) }
        let pending = PendingReply(reply)
        Task {
            do throws(Failure) {
                guard let value = try await tree.extendedAttribute(name, of: inode) else {
                    pending.take()?.fail(errno: ENODATA)
                    return
                }
                pending.take()?.attribute(Array(value.utf8), room: room)
            } catch {
                pending.take()?.fail(error)
            }
        }
    }

    // MARK: In the kernel's terms

    private static func entry(_ found: Tree.Found) -> fuse_entry_param {
        var entry = fuse_entry_param()
        entry.ino = found.attributes.inode
        entry.generation = 0
        entry.attr = found.attributes.raw
        entry.attr_timeout = changingSeconds
        entry.entry_timeout =
            switch found.name {
            case .changing: changingSeconds
            case .immutable: immutableSeconds
            }
        return entry
    }

    static func info(_ info: fuse_file_info, _ opened: Tree.Opened) -> fuse_file_info {
        var info = info
        info.fh = opened.handle
        info.keep_cache = opened.keepsPageCache ? 1 : 0
        return info
    }
}

extension NodeAttributes {
    var raw: stat {
        var raw = stat()
        raw.st_ino = UInt(inode)
        raw.st_mode = kind.fileType | mode
        raw.st_nlink = UInt(linkCount)
        raw.st_uid = userId
        raw.st_gid = groupId
        raw.st_size = off_t(size)
        raw.st_blocks = blkcnt_t(blocks512)
        raw.st_blksize = 32 << 10
        // The nanoseconds count up from the second also before 1970.
        let (seconds, rest) = modified.quotientAndRemainder(dividingBy: 1_000_000_000)
        let time = timespec(
            tv_sec: rest < 0 ? seconds - 1 : seconds,
            tv_nsec: rest < 0 ? rest + 1_000_000_000 : rest
        )
        raw.st_mtim = time
        raw.st_ctim = time
        raw.st_atim = time
        return raw
    }
}
