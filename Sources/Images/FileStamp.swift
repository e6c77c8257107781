internal import Failures
internal import Glibc

/// What a file looked like at one moment, to notice that somebody wrote to it since.
struct FileStamp: Sendable, Equatable {
    enum Kind: Sendable {
        case file, blockDevice, directory, other
    }

    let kind: Kind
    private let device: dev_t
    private let inode: ino_t
    private let byteCount: Int
    private let modifiedSeconds: Int
    private let modifiedNanoseconds: Int

    init(path: String) throws(Failure) {
        try requirePath(path)
        var status = stat()
        // stat fills the structure it is given and keeps no pointer.
        _ = try systemCall("cannot read \(path)") { unsafe stat(path, &status) }
        self.init(status)
    }

    init(_ descriptor: borrowing Descriptor, path: String) throws(Failure) {
        var status = stat()
        let number = descriptor.number
        // fstat fills the structure it is given and keeps no pointer.
        _ = try systemCall("cannot read \(path)") { unsafe fstat(number, &status) }
        self.init(status)
    }

    private init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFBLK: .blockDevice
            case S_IFDIR: .directory
            default: .other
            }
        device = status.st_dev
        inode = status.st_ino
        byteCount = status.st_size
        // The times of a block device are those of its node, which nobody's writes change.
        modifiedSeconds = kind == .file ? status.st_mtim.tv_sec : 0
        modifiedNanoseconds = kind == .file ? status.st_mtim.tv_nsec : 0
    }

    /// Refuses what cannot be read at any offset.
    func requireImage(at path: String) throws(Failure) {
        switch kind {
        case .file, .blockDevice:
            return
        case .directory:
            throw Failure(.isDirectory, "\(path) is a directory, not a disk image")
        case .other:
            throw Failure(
                .invalid,
                "\(path) is neither a file nor a block device",
                hint: "a pipe is read from standard input, as raw bytes: give - instead of a path"
            )
        }
    }

    /// The one sentence about an image that moved under its reader.
    func requireUnchanged(since earlier: FileStamp, at path: String) throws(Failure) {
        guard self == earlier else {
            throw Failure(
                .io,
                "\(path) was changed while it was being read",
                hint: "stop what writes to it, such as a running virtual machine, and start again"
            )
        }
    }
}
