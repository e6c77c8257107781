package import Failures
internal import Files
internal import Glibc

/// The one owner of a home: held from construction to the last reference.
///
/// The lock is the kernel's (flock), so it ends with the process whatever ends it; the text in the
/// file only names the holder.
package final class StoreLock: Sendable {
    private let file: File

    /// - Throws: `.busy`, naming the holder.
    package init(home directory: String, purpose: String) throws(Failure) {
        let path = "\(directory)/lock"
        let file = try File(path, .create)
        guard try file.tryLock() else {
            throw Failure(
                .busy,
                "\(directory) is in use by \(Self.holder(of: directory) ?? "another process")",
                hint: "only one process may own it; stop that one, or use it through its node"
            )
        }
        let text = Array("process \(getpid()) (\(purpose))\n".utf8)
        try file.truncate(to: 0)
        try file.write(text.span, at: 0)
        self.file = file
    }

    /// Who wrote itself into the lock file last; nil when nobody did.
    package static func holder(of directory: String) -> String? {
        guard let bytes = try? FileTree.bytes(of: "\(directory)/lock", limit: 4096) else {
            return nil
        }
        let text = String(decoding: bytes.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        return text.isEmpty ? nil : text
    }
}
