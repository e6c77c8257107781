internal import Failures
internal import Synchronization

/// One connection to the server of an image.
///
/// Concurrency: `slot` is held for the length of a command, so callers on one connection take turns.
final class NBDConnection: Sendable {
    private let slot: Mutex<NBDHandle?>

    init(socket: consuming Descriptor) throws(Failure) {
        slot = Mutex(try NBDHandle(socket: socket))
    }

    /// Runs `body` with the connection, or answers nil at once if another caller has it.
    func tryWithHandle<Result: Sendable>(
        _ body: (borrowing NBDHandle) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        try slot.withLockIfAvailable { (slot) throws(Failure) in
            try NBDConnection.use(&slot, body)
        }
    }

    /// Runs `body` with the connection when it is this caller's turn.
    func withHandle<Result: Sendable>(
        _ body: (borrowing NBDHandle) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try slot.withLock { (slot) throws(Failure) in
            try NBDConnection.use(&slot, body)
        }
    }

    func close() {
        slot.withLock { $0 = nil }
    }

    /// A handle whose command timed out is dropped before `body`'s caller gets its buffer back.
    private static func use<Result: Sendable>(
        _ slot: inout NBDHandle?,
        _ body: (borrowing NBDHandle) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        guard let handle = slot.take() else {
            throw Failure(.cancelled, "the connection to the server of the image was closed")
        }
        do throws(Failure) {
            let result = try body(handle)
            slot = consume handle
            return result
        } catch {
            if error.kind != .timedOut { slot = consume handle }
            throw error
        }
    }
}
