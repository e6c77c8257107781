internal import Failures
internal import Glibc
internal import Synchronization

/// A process this one started; it is killed and waited for at the latest when the object ends.
///
/// Concurrency: `end` guards the process id, so that no signal is sent to an id already waited for.
/// Error output goes to a pair that drops what does not fit, so the child never waits for a reader.
final class ChildProcess: Sendable {
    /// How a process ended.
    enum End: Sendable, Equatable {
        case exited(Int32)
        case killed(signal: Int32)
        /// Somebody else waited for it.
        case unknown
    }

    /// Error output kept for a message, in bytes.
    private static let errorLimit = 16_384
    /// A killed process is gone within this, unless a file system holds it in the kernel.
    private static let killLimit: Duration = .seconds(10)

    private let id: pid_t
    private let errors: Descriptor
    private let end = Mutex<End?>(nil)

    /// - Parameters:
    ///   - executable: a path; it is not looked for.
    ///   - output: where standard output goes; nowhere if nil.
    ///   - third: what the child finds as descriptor 3.
    init(
        _ executable: String,
        _ arguments: [String],
        output: Int32? = nil,
        third: Int32? = nil
    ) throws(Failure) {
        let pair = try DescriptorPair(isBlocking: false)
        id = try Spawn.start(
            executable,
            arguments,
            descriptors: [2: pair.writer.number, 1: output, 3: third].compactMapValues { $0 }
        )
        errors = pair.finishWriting()
    }

    deinit {
        kill()
    }

    /// How it ended, or nil if it has not within `limit`.
    func waitForEnd(limit: Duration) -> End? {
        let deadline = ContinuousClock.now + limit
        var pauseMicroseconds: UInt32 = 100
        while true {
            if let end = end.withLock({ reap(&$0) }) { return end }
            if ContinuousClock.now >= deadline { return nil }
            usleep(pauseMicroseconds)
            pauseMicroseconds = min(pauseMicroseconds * 2, 10_000)
        }
    }

    /// Ends it at once and waits until it is gone. Sound for what only reads.
    func kill() {
        end.withLock { (end) in
            if reap(&end) == nil { _ = Glibc.kill(id, SIGKILL) }
        }
        _ = waitForEnd(limit: ChildProcess.killLimit)
    }

    /// What it has written to standard error since the last call.
    func takeErrors() -> String {
        // An empty or closed pair gives no bytes; there is nobody to tell of another error.
        var text: [UInt8] = []
        while text.count < ChildProcess.errorLimit,
            let bytes = try? errors.nextBytes(limit: 4096), !bytes.isEmpty
        {
            text += bytes
        }
        return String(decoding: text, as: UTF8.self)
    }

    private func reap(_ end: inout End?) -> End? {
        if end != nil { return end }
        var status: Int32 = 0
        do throws(SystemError) {
            // waitpid fills the status it is given and keeps no pointer.
            let reaped = try systemCall { unsafe waitpid(id, &status, WNOHANG) }
            guard reaped == id else { return nil }
        } catch {
            end = .unknown
            return end
        }
        let signal = status & 0x7f
        end = signal == 0 ? .exited((status >> 8) & 0xff) : .killed(signal: signal)
        return end
    }
}

extension ChildProcess.End: CustomStringConvertible {
    var description: String {
        switch self {
        case .exited(let code): "exit status \(code)"
        case .killed(let signal): "signal \(signal)"
        case .unknown: "an unknown end"
        }
    }
}

extension Descriptor {
    /// The next bytes of a stream, as many as are there; none at its end.
    borrowing func nextBytes(limit: Int) throws(SystemError) -> [UInt8] {
        let number = number
        var bytes = [UInt8](repeating: 0, count: limit)
        // The buffer is the array's own, and read gets its exact length.
        let count = try systemCall {
            unsafe bytes.withUnsafeMutableBytes { unsafe read(number, $0.baseAddress, $0.count) }
        }
        bytes.removeLast(limit - count)
        return bytes
    }
}
