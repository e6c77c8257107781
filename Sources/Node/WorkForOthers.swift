internal import Files
internal import Synchronization

/// What others have begun here, requests and publishes, and what ends with the node.
///
/// How much of it there may be at once is for those who begin it to say: ``ManagementReceiver`` and
/// ``PublishReceiver`` carry out eight each.
///
/// Concurrency: any thread.
final class WorkForOthers: Sendable {
    private struct State {
        var tasks: [Int: Task<Void, Never>] = [:]
        var nextNumber = 0
        var isCancelled = false
    }

    private let state = Mutex(State())

    /// How often somebody who waits for the end looks.
    private static let lookInterval = Duration.milliseconds(20)

    /// The node ends: nothing is begun any more.
    var isCancelled: Bool { state.withLock(\.isCancelled) }
    var count: Int { state.withLock(\.tasks.count) }

    /// - Returns: false, and `body` does not run, once the node ends.
    func begin(_ body: @escaping @Sendable () async -> Void) -> Bool {
        state.withLock { state in
            guard !state.isCancelled else { return false }
            let number = state.nextNumber
            state.nextNumber += 1
            state.tasks[number] = Task {
                await body()
                self.state.withLock { $0.tasks[number] = nil }
            }
            return true
        }
    }

    /// Tells all of it to end. What waits for a neighbour hears it when that answers, or when the exchange is
    /// stopped.
    func cancel() {
        let tasks = state.withLock { state in
            state.isCancelled = true
            return Array(state.tasks.values)
        }
        for task in tasks { task.cancel() }
    }

    /// Waits until all of it has ended.
    ///
    /// - Returns: how much of it has not by then.
    func end(within patience: Duration) async -> Int {
        await waitUntil(within: patience, every: Self.lookInterval) { count == 0 }
        return count
    }
}
