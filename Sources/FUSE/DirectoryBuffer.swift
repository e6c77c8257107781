internal import CFUSE
internal import Glibc
internal import Namespace

/// Directory entries as the kernel takes them.
@safe
struct DirectoryBuffer {
    private let request: fuse_req_t?
    private let room: Int
    private(set) var bytes: [UInt8] = []

    init(_ request: fuse_req_t?, byteCount: Int) {
        unsafe self.request = unsafe request
        room = byteCount
    }

    /// - Parameter next: where a later read goes on behind this entry.
    /// - Returns: false when there is no room for it.
    mutating func append(_ entry: DirectoryEntry, next: Int) -> Bool {
        var attributes = stat()
        attributes.st_ino = UInt(entry.inode)
        attributes.st_mode = entry.kind.fileType
        let byteCount = unsafe fuse_add_direntry(
            request,
            nil,
            0,
            entry.name,
            &attributes,
            off_t(next)
        )
        guard bytes.count + byteCount <= room else { return false }
        let more = unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
            unsafe buffer.withMemoryRebound(to: CChar.self) { buffer in
                _ = unsafe fuse_add_direntry(
                    request,
                    buffer.baseAddress,
                    buffer.count,
                    entry.name,
                    &attributes,
                    off_t(next)
                )
            }
            count = byteCount
        }
        bytes += more
        return true
    }
}

extension NodeAttributes.Kind {
    var fileType: mode_t {
        switch self {
        case .directory: S_IFDIR
        case .file: S_IFREG
        case .symbolicLink: S_IFLNK
        }
    }
}
