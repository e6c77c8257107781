internal import Failures
internal import Glibc

/// The gate to posix_spawn.
enum Spawn {
    /// Starts `executable` in a process group of its own, so that a key pressed in the terminal
    /// interrupts the caller alone, with default signals and an environment in English.
    ///
    /// - Parameter descriptors: which of our descriptors becomes which number there. Standard input
    ///   is empty, what is not named goes nowhere, all else is closed on exec.
    static func start(
        _ executable: String,
        _ arguments: [String],
        descriptors: [Int32: Int32]
    ) throws(Failure) -> pid_t {
        for argument in arguments { try requirePath(argument) }
        // Copies with numbers beyond all targets: placing one never overwrites another's source.
        var copies: [(number: Int32, copy: Int32)] = []
        defer { for (_, copy) in copies { close(copy) } }
        for (number, source) in descriptors {
            let copy = try systemCall("cannot duplicate a file descriptor") {
                fcntl(source, F_DUPFD_CLOEXEC, 16)
            }
            copies.append((number, copy))
        }
        var id: pid_t = 0
        let status = spawn(executable, arguments, copies, &id)
        guard status == 0 else {
            throw SystemError(number: status).failure("cannot start \(executable)")
        }
        return id
    }

    private static func spawn(
        _ executable: String,
        _ arguments: [String],
        _ copies: [(number: Int32, copy: Int32)],
        _ id: inout pid_t
    ) -> Int32 {
        // Initialised here, destroyed at the end of the function, and used in between only.
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        for number in [Int32(1), 2] where !copies.contains(where: { $0.number == number }) {
            unsafe posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_WRONLY, 0)
        }
        for (number, copy) in copies {
            unsafe posix_spawn_file_actions_adddup2(&actions, copy, number)
        }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe posix_spawnattr_setsigmask(&attributes, &signals)
        unsafe sigfillset(&signals)
        unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
        unsafe posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)
        )
        // Both lists end with nil and their strings live until the call returns, when the child has
        // its own copy.
        let words = unsafe ([executable] + arguments).map { unsafe strdup($0) } + [nil]
        let variables = unsafe environment.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe (words + variables).forEach { unsafe free($0) }
        }
        return unsafe posix_spawn(&id, executable, &actions, &attributes, words, variables)
    }

    /// Messages are read by this program, so their language is fixed.
    private static var environment: [String] {
        ["LC_ALL=C", "PATH=\(path)"]
            + ["TMPDIR", "HOME"].compactMap { (name) in variable(name).map { "\(name)=\($0)" } }
    }

    static var path: String { variable("PATH") ?? "/usr/local/bin:/usr/bin:/bin" }

    /// A variable of this process. The text is copied at once; nothing here changes the environment.
    static func variable(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }
}
