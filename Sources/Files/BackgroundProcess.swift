internal import CLinux
package import Failures
internal import Glibc

/// Starts a program that goes on after this one: in a session of its own, with nothing of its caller
/// held open but a pipe over which it says how its start went.
package struct BackgroundProcess: Sendable {
    package let processId: Int32
    private let notes: File

    /// The descriptor on which the program writes one note and closes it.
    package static let noteDescriptor: Int32 = 3

    /// - Parameters:
    ///   - path: of the program; `arguments` begin with its name.
    ///   - logPath: takes what it writes to standard error, behind what is there.
    package init(_ path: String, _ arguments: [String], logPath: String) throws(Failure) {
        var ends: [Int32] = [-1, -1]
        _ = try systemCall("cannot make a pipe") { unsafe clinux_pipe(&ends) }
        notes = File(adopting: ends[0], path: "the start of \(path)")
        defer { close(ends[1]) }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        unsafe posix_spawn_file_actions_addopen(
            &actions,
            2,
            logPath,
            O_WRONLY | O_CREAT | O_APPEND,
            0o600
        )
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], Self.noteDescriptor)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // POSIX_SPAWN_SETSID, which Swift's Glibc does not show.
        unsafe posix_spawnattr_setflags(&attributes, 0x80)
        var words = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { unsafe words.forEach { unsafe free($0) } }
        var id: pid_t = 0
        let code = unsafe posix_spawn(&id, path, &actions, &attributes, &words, environ)
        guard code == 0 else { throw Failure(errno: code, "cannot start \(path)") }
        processId = id
    }

    /// What the program noted; nil if it ended without a word.
    package func note() throws(Failure) -> String? {
        var bytes: [UInt8] = []
        while true {
            var failure: Failure?
            let more = [UInt8](capacity: 4096) { output in
                do throws(Failure) {
                    _ = try notes.readNext(byteCount: 4096, into: &output)
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
            if more.isEmpty { break }
            bytes += more
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }

    /// Leaves a note for the program that started this one, if it asked for one.
    package static func leaveNote(_ text: String) throws(Failure) {
        let file = File(adopting: noteDescriptor, path: "the caller")
        try file.writeNext(Array(text.utf8).span)
    }
}
