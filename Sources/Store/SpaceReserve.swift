package import Failures
internal import Files
internal import Synchronization

/// Space kept back so that a full disk can still commit what frees space.
///
/// A file whose blocks are given up when a deletion meets a full disk, and taken again afterwards.
///
/// Concurrency: any thread; `lock` serialises giving up and taking.
package final class SpaceReserve: Sendable {
    private let path: String
    private let lock = Mutex<Void>(())

    /// Bytes: a write-ahead log with all pages of a large deletion.
    private static let byteCount = 4 << 20

    /// - Parameter directory: on the filesystem that may fill up. On one that is full already the
    ///   reserve is taken at the next ``lend(_:)``.
    package init(directory: String) {
        path = "\(directory)/reserve"
        lock.withLock { _ in take() }
    }

    /// Runs a deletion; if the disk is full, again with the reserve given up.
    package func lend<Value>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        do throws(Failure) {
            return try body()
        } catch  where error.kind == .noSpace {
            return try withReserveGivenUp(body)
        }
    }

    private func withReserveGivenUp<Value>(
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        var value: Value?
        try lock.withLock { (_) throws(Failure) in
            try FileTree.remove(path)
            defer { take() }
            value = try body()
        }
        guard let value else { preconditionFailure("the body ran") }
        return value
    }

    /// Absence of the reserve is no failure: it is tried again at each use.
    private func take() {
        guard let file = try? File(path, .create) else { return }
        try? file.allocate(at: 0, byteCount: Self.byteCount)
    }
}
