internal import Files
internal import NIOCore

/// The way onto an event loop that ends one day. NIO drops what comes to a loop that has ended, and whoever waited
/// for it would wait for ever; here it is told.
///
/// Concurrency: any thread. Work is handed over under the lock, so that what got in before the end is done.
final class LoopGate: Sendable {
    private let loop: any EventLoop
    private let hasEnded = Guarded(false)

    init(_ loop: any EventLoop) { self.loop = loop }

    /// - Returns: false if the loop has ended: `work` is not done.
    @discardableResult
    func execute(_ work: @escaping @Sendable () -> Void) -> Bool {
        hasEnded.withLock { hasEnded in
            if !hasEnded { loop.execute(work) }
            return !hasEnded
        }
    }

    /// - Returns: what `work` does; nil if the loop has ended.
    func submit<Outcome: Sendable>(_ work: @escaping @Sendable () -> Outcome) async -> Outcome? {
        await withCheckedContinuation { continuation in
            let isIn = execute { continuation.resume(returning: work()) }
            if !isIn { continuation.resume(returning: nil) }
        }
    }

    /// To be called before the loop ends.
    func close() { hasEnded.withLock { $0 = true } }
}
