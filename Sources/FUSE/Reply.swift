internal import CFUSE
internal import Failures
internal import Glibc
internal import Synchronization

/// The one answer that a request of the kernel gets.
///
/// Every way to answer consumes it, so answering twice cannot be written; one that is dropped answers
/// EIO, so forgetting cannot hang the kernel. Sendable: libfuse lets any thread answer a request.
@safe
struct Reply: ~Copyable, @unchecked Sendable {
    private let request: fuse_req_t

    init(_ request: fuse_req_t) { unsafe self.request = unsafe request }

    deinit { _ = unsafe fuse_reply_err(request, EIO) }

    consuming func done() {
        _ = unsafe fuse_reply_err(request, 0)
        discard self
    }

    consuming func fail(_ failure: Failure) { fail(errno: failure.kind.errno) }

    consuming func fail(errno: Int32) {
        _ = unsafe fuse_reply_err(request, errno)
        discard self
    }

    consuming func none() {
        unsafe fuse_reply_none(request)
        discard self
    }

    consuming func send(_ bytes: Span<UInt8>) {
        _ = unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) {
                unsafe fuse_reply_buf(request, $0.baseAddress, $0.count)
            }
        }
        discard self
    }

    consuming func entry(_ entry: borrowing fuse_entry_param) {
        _ = unsafe withUnsafePointer(to: entry) { unsafe fuse_reply_entry(request, $0) }
        discard self
    }

    consuming func created(_ entry: fuse_entry_param, _ info: fuse_file_info) {
        _ = unsafe withUnsafePointer(to: entry) { entry in
            unsafe withUnsafePointer(to: info) { unsafe fuse_reply_create(request, entry, $0) }
        }
        discard self
    }

    consuming func opened(_ info: fuse_file_info) {
        _ = unsafe withUnsafePointer(to: info) { unsafe fuse_reply_open(request, $0) }
        discard self
    }

    consuming func attributes(_ attributes: stat, timeoutSeconds: Double) {
        _ = unsafe withUnsafePointer(to: attributes) {
            unsafe fuse_reply_attr(request, $0, timeoutSeconds)
        }
        discard self
    }

    consuming func link(_ target: String) {
        _ = unsafe fuse_reply_readlink(request, target)
        discard self
    }

    consuming func written(_ byteCount: Int) {
        _ = unsafe fuse_reply_write(request, byteCount)
        discard self
    }

    consuming func copied(_ byteCount: Int) {
        _ = unsafe cfuse_reply_copied(request, UInt64(byteCount))
        discard self
    }

    consuming func space(_ space: statvfs) {
        _ = unsafe withUnsafePointer(to: space) { unsafe fuse_reply_statfs(request, $0) }
        discard self
    }

    consuming func offset(_ offset: Int) {
        _ = unsafe fuse_reply_lseek(request, off_t(offset))
        discard self
    }

    /// An xattr's value, or its length when the caller asked for that with room for 0 bytes.
    consuming func attribute(_ value: [UInt8], room: Int) {
        if room == 0 {
            _ = unsafe fuse_reply_xattr(request, value.count)
            discard self
        } else if value.count > room {
            fail(errno: ERANGE)
        } else {
            send(value.span)
        }
    }
}

/// A reply on its way to a task, which cannot consume what it captured.
final class PendingReply: Sendable {
    private let reply: Mutex<Reply?>

    init(_ reply: consuming sending Reply) { self.reply = Mutex(reply) }

    /// - Returns: the reply, the first time.
    func take() -> Reply? { reply.withLock { $0.take() } }
}
