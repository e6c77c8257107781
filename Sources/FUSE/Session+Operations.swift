internal import CFUSE
internal import Failures
internal import Files
internal import Glibc
internal import Namespace

// The kernel's requests, one closure each: recover the session, wrap the request in a `Reply`, call a
// method. Pointers are valid for the call only and turned into values here.

extension Session {
    static var operations: fuse_lowlevel_ops {
        var ops = fuse_lowlevel_ops()
        unsafe ops.`init` = { box, connection in
            guard let connection = unsafe connection else { return }
            unsafe session(box)?.negotiate(connection)
        }
        unsafe ops.lookup = { request, parent, name in
            unsafe answer(request) { $0.lookUp($1, parent, unsafe string(name)) }
        }
        unsafe ops.forget = { request, inode, count in
            unsafe answer(request) { $0.forget($1, inode, count) }
        }
        unsafe ops.getattr = { request, inode, _ in
            unsafe answer(request) { $0.attributes($1, inode) }
        }
        unsafe ops.setattr = { request, inode, attributes, mask, info in
            let changes = unsafe AttributeChanges(attributes, mask)
            let handle = unsafe info?.pointee.fh
            unsafe answer(request) { $0.setAttributes($1, inode, changes, handle) }
        }
        unsafe ops.readlink = { request, inode in
            unsafe answer(request) { $0.readLink($1, inode) }
        }
        unsafe ops.mkdir = { request, parent, name, mode in
            let caller = unsafe Caller(request)
            unsafe answer(request) {
                $0.makeDirectory($1, parent, unsafe string(name), mode, caller)
            }
        }
        unsafe ops.rmdir = { request, parent, name in
            unsafe answer(request) { $0.removeDirectory($1, parent, unsafe string(name)) }
        }
        unsafe ops.unlink = { request, parent, name in
            unsafe answer(request) { $0.removeFile($1, parent, unsafe string(name)) }
        }
        unsafe ops.rename = { request, parent, name, newParent, newName, flags in
            unsafe answer(request) {
                $0.rename(
                    $1,
                    parent,
                    unsafe string(name),
                    newParent,
                    unsafe string(newName),
                    flags
                )
            }
        }
        unsafe ops.create = { request, parent, name, mode, info in
            let caller = unsafe Caller(request)
            let info = unsafe value(info)
            unsafe answer(request) {
                $0.create($1, parent, unsafe string(name), mode, caller, info)
            }
        }
        unsafe ops.open = { request, inode, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.open($1, inode, info) }
        }
        unsafe ops.flush = { request, _, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.flush($1, info.fh) }
        }
        unsafe ops.fallocate = { request, inode, mode, offset, length, info in
            let info = unsafe value(info)
            unsafe answer(request) {
                $0.allocate($1, inode, info.fh, Int(offset)..<Int(offset + length), mode)
            }
        }
        unsafe ops.release = { request, _, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.release($1, info.fh) }
        }
        unsafe ops.read = { request, inode, byteCount, offset, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.read($1, inode, info.fh, Int(offset), byteCount) }
        }
        unsafe ops.write = { request, inode, bytes, byteCount, offset, info in
            let info = unsafe value(info)
            let isSynchronous = info.flags & (O_DSYNC | O_SYNC) != 0
            unsafe answer(request) {
                let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: byteCount)
                let span = unsafe Span<UInt8>(_unsafeBytes: buffer)
                $0.write($1, inode, info.fh, span, Int(offset), isSynchronous: isSynchronous)
            }
        }
        unsafe ops.fsync = { request, inode, _, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.synchronize($1, inode, info.fh) }
        }
        unsafe ops.fsyncdir = { request, _, _, _ in
            unsafe answer(request) { $0.synchronizeNames($1) }
        }
        unsafe ops.opendir = { request, inode, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.openDirectory($1, inode, info) }
        }
        unsafe ops.readdir = { request, _, byteCount, offset, info in
            let info = unsafe value(info)
            let room = unsafe DirectoryBuffer(request, byteCount: byteCount)
            unsafe answer(request) { $0.readDirectory($1, info.fh, Int(offset), room) }
        }
        unsafe ops.releasedir = { request, _, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.releaseDirectory($1, info.fh) }
        }
        unsafe ops.statfs = { request, _ in
            unsafe answer(request) { $0.space($1) }
        }
        unsafe ops.getxattr = { request, inode, name, room in
            unsafe answer(request) { $0.attribute($1, inode, unsafe string(name), room) }
        }
        unsafe ops.listxattr = { request, inode, room in
            unsafe answer(request) { $0.attributeNames($1, inode, room) }
        }
        unsafe ops.lseek = { request, inode, offset, whence, info in
            let info = unsafe value(info)
            unsafe answer(request) { $0.seek($1, inode, info.fh, Int(offset), whence) }
        }
        unsafe ops.copy_file_range = {
            request,
            _,
            offset,
            info,
            _,
            targetOffset,
            targetInfo,
            byteCount,
            _ in
            let source = unsafe value(info).fh
            let target = unsafe value(targetInfo).fh
            unsafe answer(request) {
                $0.cloneRange(
                    $1,
                    from: source,
                    Int(offset),
                    to: target,
                    Int(targetOffset),
                    byteCount
                )
            }
        }
        return ops
    }
}

private func session(_ box: UnsafeMutableRawPointer?) -> Session? {
    guard let box = unsafe box else { return nil }
    return unsafe Unmanaged<SessionBox>.fromOpaque(box).takeUnretainedValue().session
}

private func answer(
    _ request: fuse_req_t?,
    _ body: (Session, consuming sending Reply) -> Void
) {
    guard let request = unsafe request else { return }
    let reply = unsafe Reply(request)
    guard let session = unsafe session(fuse_req_userdata(request)) else {
        return reply.fail(errno: ENODEV)
    }
    body(session, reply)
}

private func string(_ pointer: UnsafePointer<CChar>?) -> String {
    guard let pointer = unsafe pointer else { return "" }
    // Bytes that are no UTF-8 name nothing here; repaired, they might name something else.
    return unsafe String(validatingCString: pointer) ?? ""
}

private func value(
    _ info: UnsafeMutablePointer<fuse_file_info>?
) -> fuse_file_info {
    unsafe info?.pointee ?? fuse_file_info()
}

extension Caller {
    fileprivate init(_ request: fuse_req_t?) {
        let context = unsafe request.flatMap { unsafe fuse_req_ctx($0) }
        self.init(
            userId: unsafe context?.pointee.uid ?? 0,
            groupId: unsafe context?.pointee.gid ?? 0
        )
    }
}

extension AttributeChanges {
    fileprivate init(_ attributes: UnsafeMutablePointer<stat>?, _ mask: Int32) {
        self.init()
        guard let attributes = unsafe attributes?.pointee else { return }
        if mask & FUSE_SET_ATTR_MODE != 0 { mode = attributes.st_mode }
        if mask & FUSE_SET_ATTR_UID != 0 { userId = attributes.st_uid }
        if mask & FUSE_SET_ATTR_GID != 0 { groupId = attributes.st_gid }
        if mask & FUSE_SET_ATTR_SIZE != 0 { size = Int(attributes.st_size) }
        if mask & FUSE_SET_ATTR_MTIME_NOW != 0 {
            modified = WallClock.nanoseconds
        } else if mask & FUSE_SET_ATTR_MTIME != 0 {
            modified = attributes.st_mtim.nanoseconds
        }
    }
}

extension timespec {
    /// As far as 64 bits reach: the years 1677 to 2262.
    fileprivate var nanoseconds: Int {
        min(max(tv_sec, -9_223_372_036), 9_223_372_035) * 1_000_000_000 + tv_nsec
    }
}
