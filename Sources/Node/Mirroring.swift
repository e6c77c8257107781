internal import CCNx
internal import Control
internal import Failures
internal import Publishing
internal import Synchronization

/// How the mirrors of this process are: which are being kept in step, and what came of the last look. Nothing
/// of it outlives the process; what does is in the state database.
///
/// Concurrency: any thread. Rounds of one namespace are one after another.
final class Mirroring: Sendable {
    private struct State {
        /// Looks again and again.
        var loop: Task<Void, Never>?
        /// The last of the rounds that wait for each other.
        var round: Task<Result<Mirror.Outcome, Failure>, Never>?
        var rounds = 0
        /// Seconds since 1970.
        var lastInStep: Int?
        var problem: String?
        var progress: Progress?
    }

    /// Bytes of data.
    struct Progress: Sendable {
        let done: Int
        let total: Int
    }

    private let states = Mutex<[Name: State]>([:])

    /// Runs `body` once all rounds of the namespace before it have ended, and keeps what came of it.
    func round(
        of namespace: Name,
        now: @escaping @Sendable () -> Int,
        _ body: @escaping @Sendable () async throws(Failure) -> Mirror.Outcome
    ) async throws(Failure) -> Mirror.Outcome {
        let round = states.withLock { states in
            let before = states[namespace]?.round
            let round = Task { () -> Result<Mirror.Outcome, Failure> in
                // One that waits and is to end ends those that it waits for.
                await withTaskCancellationHandler {
                    _ = await before?.value
                } onCancel: {
                    before?.cancel()
                }
                let result: Result<Mirror.Outcome, Failure>
                do throws(Failure) {
                    result = .success(try await body())
                } catch {
                    result = .failure(error)
                }
                self.note(result, of: namespace, now: now())
                return result
            }
            states[namespace, default: State()].round = round
            states[namespace, default: State()].rounds += 1
            return round
        }
        return try await round.value.get()
    }

    private func note(_ result: Result<Mirror.Outcome, Failure>, of namespace: Name, now: Int) {
        states.withLock { states in
            var state = states[namespace, default: State()]
            state.progress = nil
            state.rounds = max(state.rounds - 1, 0)
            // A chain of tasks that have ended is not kept.
            if state.rounds == 0 { state.round = nil }
            switch result {
            case .success:
                state.lastInStep = now
                state.problem = nil
            case .failure(let failure): state.problem = "\(failure)"
            }
            states[namespace] = state
        }
    }

    func note(_ progress: Progress, of namespace: Name) {
        states.withLock { $0[namespace]?.progress = progress }
    }

    func progress(of namespace: Name) -> Progress? {
        states.withLock { $0[namespace]?.progress }
    }

    func problem(of namespace: Name) -> String? { states.withLock { $0[namespace]?.problem } }

    /// Keeps the namespace in step with `loop` from now on, in place of what did before.
    func keepInStep(_ namespace: Name, _ loop: Task<Void, Never>) {
        let before = states.withLock { states in
            let before = states[namespace]?.loop
            states[namespace, default: State()].loop = loop
            return before
        }
        before?.cancel()
    }

    /// Ends what is under way for a namespace, and forgets it.
    func end(_ namespace: Name) async {
        let state = states.withLock { $0[namespace] }
        state?.loop?.cancel()
        state?.round?.cancel()
        _ = await state?.round?.value
        states.withLock { $0[namespace] = nil }
    }

    /// The node ends.
    func cancelAll() {
        for state in states.withLock({ Array($0.values) }) {
            state.loop?.cancel()
            state.round?.cancel()
        }
    }

    /// The report, with what is known of the last look.
    func completed(
        _ report: NodeStatus.MirrorReport,
        _ namespace: Name
    ) -> NodeStatus.MirrorReport {
        guard let state = states.withLock({ $0[namespace] }) else { return report }
        var report = report
        report.lastInStep = state.lastInStep
        report.problem = state.problem
        report.doneBytes = state.progress?.done
        report.totalBytes = state.progress?.total
        return report
    }
}
