internal import Failures
internal import Glibc

/// A program of QEMU's, and how to run it to its end.
struct QEMUTool {
    static let image = QEMUTool(name: "qemu-img")
    static let server = QEMUTool(name: "qemu-nbd")

    /// The check of a whole image reads all its tables: 0.01 s for one of 400 MB, 1.6 s for one of
    /// 1 TiB with every cluster allocated (measured warm, QEMU 7.2). The rest is for a cold disk.
    static let timeLimit: Duration = .seconds(1800)

    let name: String

    /// How it ended, and what it said on standard error.
    struct Result {
        let end: ChildProcess.End
        let errors: String
    }

    /// Where the program is.
    func executable() throws(Failure) -> String {
        let folders =
            Spawn.path.split(separator: ":").map(String.init) + ["/usr/bin", "/usr/local/bin"]
        for folder in folders {
            let path = "\(folder)/\(name)"
            // access looks at the string for the length of the call.
            if folder.hasPrefix("/"), unsafe access(path, X_OK) == 0 { return path }
        }
        throw Failure(
            .unavailable,
            "\(name) is not installed, and images other than raw ones need it",
            hint: "apt install qemu-utils"
        )
    }

    /// Runs it and hands each piece of its standard output to `consume`.
    func run(
        _ arguments: [String],
        consume: ([UInt8]) throws(Failure) -> Void
    ) throws(Failure) -> Result {
        let deadline = ContinuousClock.now + QEMUTool.timeLimit
        let output = try DescriptorPair(isBlocking: true)
        let child = try ChildProcess(
            try executable(),
            arguments,
            output: output.writer.number
        )
        let reader = output.finishWriting()
        while true {
            try waitForOutput(reader, deadline: deadline)
            let bytes: [UInt8]
            do throws(SystemError) {
                bytes = try reader.nextBytes(limit: 65_536)
            } catch {
                throw error.failure("cannot read what \(name) says")
            }
            if bytes.isEmpty { break }
            try consume(bytes)
        }
        guard let end = child.waitForEnd(limit: deadline - .now) else { throw timedOut() }
        return Result(end: end, errors: child.takeErrors())
    }

    private func waitForOutput(
        _ reader: borrowing Descriptor,
        deadline: ContinuousClock.Instant
    ) throws(Failure) {
        var waiting = pollfd(fd: reader.number, events: Int16(POLLIN), revents: 0)
        let milliseconds = deadline.millisecondsLeft
        // poll fills the one structure it is told of.
        let readyCount = try systemCall("cannot wait for \(name)") {
            unsafe poll(&waiting, 1, milliseconds)
        }
        guard readyCount > 0 else { throw timedOut() }
    }

    private func timedOut() -> Failure {
        Failure(.timedOut, "\(name) did not finish within \(QEMUTool.timeLimit)")
    }
}

extension ContinuousClock.Instant {
    /// For poll: not negative, rounded up.
    var millisecondsLeft: Int32 {
        let left = self - .now
        guard left > .zero else { return 0 }
        return Int32(clamping: Int(left / .milliseconds(1)) + 1)
    }
}
