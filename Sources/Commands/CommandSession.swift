internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Foundation
internal import Glibc
internal import Publishing
internal import Signing
internal import Synchronization

/// This command's side of a request: shows progress, signs with its key, reads its standard input.
final class CommandSession: ControlSession {
    private let key: PrivateKey?
    private let isQuiet: Bool
    private let lastShown = Mutex(ContinuousClock.now)
    private let hasLine = Mutex(false)

    /// Between lines where standard error is no terminal.
    private static let lineInterval = Duration.seconds(2)

    init(key: PrivateKey? = nil, isQuiet: Bool = false) {
        self.key = key
        self.isQuiet = isQuiet
    }

    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        guard let key else {
            throw Failure(.notPermitted, "this command holds no key to sign with")
        }
        return try SignedContentObject.sign(
            object,
            with: key,
            signatureTimeMilliseconds: signatureTimeMilliseconds
        )
    }

    func read(byteCount: Int) async throws(Failure) -> [UInt8] {
        try await Threads.run { () throws(Failure) in
            let input = File(adopting: dup(STDIN_FILENO), path: "standard input")
            var failure: Failure?
            let bytes = [UInt8](capacity: byteCount) { output in
                do throws(Failure) {
                    while !output.isFull {
                        let count = try input.readNext(
                            byteCount: output.freeCapacity,
                            into: &output
                        )
                        if count == 0 { break }
                    }
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
            return bytes
        }
    }

    // MARK: Progress

    func report(_ progress: ControlProgress) async {
        if isQuiet { return }
        guard Output.isTerminal else { return reportLine(progress) }
        hasLine.withLock { $0 = true }
        Output.standardErrorPart("\r\u{1B}[K\(Self.text(progress))")
    }

    /// Ends the progress line, if there is one.
    func endProgress() {
        if hasLine.withLock({ $0 }) { Output.standardErrorPart("\r\u{1B}[K") }
    }

    private func reportLine(_ progress: ControlProgress) {
        let now = ContinuousClock.now
        let isDue = lastShown.withLock { last in
            if now - last < Self.lineInterval { return false }
            last = now
            return true
        }
        guard isDue else { return }
        switch progress {
        case .publish(let publish):
            Output.standardError(
                "progress disk=\(publish.disk) done=\(publish.doneBytes) "
                    + "total=\(publish.totalBytes.map(String.init) ?? "-") new=\(publish.newBytes) "
                    + "seconds=\(String(format: "%.1f", publish.seconds))"
            )
        case .work(let what, let done, let total):
            Output.standardError("progress what=\"\(what)\" done=\(done) total=\(total)")
        }
    }

    private static func text(_ progress: ControlProgress) -> String {
        switch progress {
        case .publish(let publish):
            let rate = Double(publish.doneBytes) / max(publish.seconds, 0.001)
            var text = "\(publish.disk)  \(ByteCount.text(publish.doneBytes))"
            if let total = publish.totalBytes, total > 0 {
                let left = Double(total - publish.doneBytes) / max(rate, 1)
                let percent = publish.doneBytes * 100 / total
                text += " of \(ByteCount.text(total)) (\(percent) %)"
                text += "  ETA \(String(format: "%d:%02d", Int(left) / 60, Int(left) % 60))"
            }
            return text
                + "  \(ByteCount.text(Int(rate)))/s  new \(ByteCount.text(publish.newBytes))"
        case .work(let what, let done, let total):
            return "\(what): \(done) of \(total)"
        }
    }
}
