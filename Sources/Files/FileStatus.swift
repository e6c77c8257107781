internal import Glibc

/// What `stat` says of a file. Sizes are in bytes.
package struct FileStatus: Sendable {
    package let size: Int
    package let allocatedByteCount: Int
    package let kind: Kind
    package let mode: UInt32
    package let userId: UInt32
    package let groupId: UInt32
    package let modificationSeconds: Int
    package let device: UInt64
    package let inode: UInt64

    package enum Kind: Sendable { case file, directory, blockDevice, other }

    init(_ raw: stat) {
        size = Int(raw.st_size)
        allocatedByteCount = Int(raw.st_blocks) * 512
        kind =
            switch raw.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFBLK: .blockDevice
            default: .other
            }
        mode = raw.st_mode & 0o7777
        userId = raw.st_uid
        groupId = raw.st_gid
        modificationSeconds = Int(raw.st_mtim.tv_sec)
        device = UInt64(raw.st_dev)
        inode = UInt64(raw.st_ino)
    }
}
