package import Failures
internal import Files
internal import Foundation
internal import Glibc
internal import Namespace

/// Mounts as the kernel lists them, and their end.
package enum Mounts {
    package struct Entry: Sendable {
        /// `major:minor`.
        package let device: String
        package let mountPoint: String
        package let type: String
    }

    /// Everything mounted, in the order of mounting.
    package static func all() throws(Failure) -> [Entry] {
        var text: [UInt8] = []
        let file = try File("/proc/self/mountinfo", .readOnly)
        while true {
            let more = try file.bytes(at: text.count, byteCount: 64 << 10)
            if more.isEmpty { break }
            text += more
        }
        return String(decoding: text, as: UTF8.self).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count > 6, let dash = words.firstIndex(of: "-"), dash + 1 < words.count
            else { return nil }
            return Entry(
                device: String(words[2]),
                mountPoint: unescaped(words[4]),
                type: String(words[dash + 1])
            )
        }
    }

    /// `\040` and the like, as the kernel writes blanks in paths.
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The topmost mount at a path; nil when nothing is mounted there.
    package static func entry(at mountPoint: String) throws(Failure) -> Entry? {
        try all().last { $0.mountPoint == mountPoint }
    }

    static func device(of mountPoint: String) throws(Failure) -> String? {
        try entry(at: mountPoint)?.device
    }

    /// The process that serves a mount of ours; nil when it does not say.
    package static func process(serving mountPoint: String) -> Int32? {
        FileTree.extendedAttribute(Tree.nodeAttribute, of: mountPoint).flatMap { Int32($0) }
    }

    /// True for a FUSE mount whose serving process is gone.
    package static func isDead(_ mountPoint: String) -> Bool {
        // statfs always asks the server; a path may be answered from the attribute cache.
        var space = statvfs()
        return unsafe statvfs(mountPoint, &space) == -1 && errno == ENOTCONN
    }

    /// Unmounts; without root through fusermount3.
    ///
    /// - Parameter lazily: at once out of the tree, and away when the last user is.
    package static func unmount(_ mountPoint: String, lazily: Bool) throws(Failure) {
        if geteuid() == 0 {
            let result = unsafe umount2(mountPoint, lazily ? Int32(MNT_DETACH) : 0)
            let code = errno
            guard result == 0 else { throw Failure(errno: code, "cannot unmount \(mountPoint)") }
            return
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["fusermount3", "-u"] + (lazily ? ["-z"] : []) + ["--", mountPoint]
        let pipe = Pipe()
        process.standardError = pipe
        do {
            try process.run()
        } catch {
            throw Failure(.unavailable, "fusermount3 cannot be run: \(error)")
        }
        let said = String(
            decoding: pipe.fileHandleForReading.readDataToEndOfFile(),
            as: UTF8.self
        )
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            let isBusy = said.contains("busy")
            throw Failure(
                isBusy ? .busy : .unavailable,
                "cannot unmount \(mountPoint): \(said.split(separator: "\n").first ?? "refused")"
            )
        }
    }
}
