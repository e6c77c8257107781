package import Dispatch
package import Failures
package import Logging
internal import Synchronization

/// The kind of failure `body` ends with; nil when it ends well.
package func kind(_ body: () throws -> Void) -> Failure.Kind? {
    do {
        try body()
        return nil
    } catch { return (error as? Failure)?.kind }
}

/// The failure `body` ends with; nil when it ends well.
package func failure<Value>(_ body: () async throws -> Value) async -> Failure? {
    do {
        _ = try await body()
        return nil
    } catch { return error as? Failure }
}

/// Whether `condition` holds before long; looked at again and again.
package func soon(
    within limit: Duration = .seconds(20),
    _ condition: () throws -> Bool
) async -> Bool {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
        if (try? condition()) == true { return true }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return false
}

package let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A number that many tasks count up.
package final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    package init() {}

    package var value: Int { count.load(ordering: .sequentiallyConsistent) }

    /// - Returns: the number after it.
    @discardableResult
    package func increment() -> Int { count.add(1, ordering: .sequentiallyConsistent).newValue }
}

extension DispatchSemaphore {
    /// Waits on a thread of its own, so that no task keeps another from running.
    @discardableResult
    package func signalled(within limit: DispatchTimeInterval = .seconds(30)) async -> Bool {
        await withCheckedContinuation { continuation in
            DispatchQueue(label: "waiting").async {
                continuation.resume(returning: self.wait(timeout: .now() + limit) == .success)
            }
        }
    }
}
