internal import Failures
internal import Glibc

/// A listening socket under a name in a folder that only this user can enter.
struct Listener: ~Copyable {
    let socket: Descriptor
    private let path: String
    private var folder: PrivateFolder?

    /// - Parameter backlog: connections that can be made before anyone accepts them.
    init(backlog: Int) throws(Failure) {
        let folder = try PrivateFolder()
        let path = folder.path(of: Listener.socketName)
        let socket = try Listener.makeSocket()
        let number = socket.number
        try unsafe Listener.withAddress(path) { (address, length) throws(Failure) in
            _ = try systemCall("cannot make the socket \(path)") {
                unsafe bind(number, address, length)
            }
        }
        _ = try systemCall("cannot listen on the socket \(path)") {
            listen(number, Int32(backlog))
        }
        self.socket = socket
        self.path = path
        self.folder = consume folder
    }

    /// A new connection to the socket. It waits in the backlog until someone accepts it.
    borrowing func connect() throws(Failure) -> Descriptor {
        let connection = try Listener.makeSocket()
        let number = connection.number
        try unsafe Listener.withAddress(path) { (address, length) throws(Failure) in
            _ = try systemCall("cannot connect to the socket \(path)") {
                unsafe Glibc.connect(number, address, length)
            }
        }
        return connection
    }

    /// Takes the socket's name away: those who are connected stay so, nobody else can come.
    mutating func removeName() {
        folder = nil
    }

    fileprivate static let socketName = "nbd"

    private static func makeSocket() throws(Failure) -> Descriptor {
        Descriptor(
            owning: try systemCall("cannot make a socket") {
                Glibc.socket(AF_UNIX, SocketType.stream | SocketType.closeOnExec, 0)
            }
        )
    }

    /// Lends the address of the socket at `path` to `body`.
    private static func withAddress(
        _ path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Failure) -> Void
    ) throws(Failure) {
        let name = Array(path.utf8)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // The name is shorter than its field, whose other bytes are zeros.
        precondition(name.count < MemoryLayout.size(ofValue: address.sun_path), "a short folder")
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        // A sockaddr_un is passed as the sockaddr it begins with, for the length of the closure.
        try unsafe withUnsafePointer(to: &address) { (pointer) throws(Failure) in
            let bytes = unsafe UnsafeRawPointer(pointer)
            try unsafe body(
                bytes.assumingMemoryBound(to: sockaddr.self),
                socklen_t(MemoryLayout<sockaddr_un>.size)
            )
        }
    }
}

/// A new folder, mode 0700, for one socket; both are removed at its end.
struct PrivateFolder: ~Copyable {
    private let path: String

    /// A socket's address has room for 108 bytes.
    private static let parentLimit = 64

    init() throws(Failure) {
        let wish = Spawn.variable("TMPDIR") ?? ""
        let parent = wish.hasPrefix("/") && wish.utf8.count <= Self.parentLimit ? wish : "/tmp"
        var template = Array("\(parent)/ccnfs-XXXXXX".utf8CString)
        // mkdtemp replaces the six X in the array, which ends with a zero, and keeps no pointer.
        let isMade = unsafe mkdtemp(&template) != nil
        let number = errno
        guard isMade else {
            throw SystemError(number: number).failure("cannot make a folder in \(parent)")
        }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    borrowing func path(of name: String) -> String { "\(path)/\(name)" }

    deinit {
        // Both look at the string for the length of the call. If something else was put there, it
        // stays; nothing can be done about it here.
        _ = unsafe unlink("\(path)/\(Listener.socketName)")
        _ = unsafe rmdir(path)
    }
}
