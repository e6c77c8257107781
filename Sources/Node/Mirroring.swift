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
    private typealias Round = Task<Result<Mirror.Outcome, Failure>, Never>

    private struct State {
        /// Looks again and again.
        var loop: Task<Void, Never>?
        /// Those that have not ended, by number. The highest is the last of the queue.
        var rounds: [Int: Round] = [:]
        var nextRound = 0
        /// Seconds since 1970.
        var lastInStep: Int?
        var problem: String?
        var progress: Progress?

        func cancel() {
            loop?.cancel()
            for round in rounds.values { round.cancel() }
        }

        func end() async {
            cancel()
            // A round that it has just begun ends with the loop.
            await loop?.value
            for round in rounds.values { _ = await round.value }
        }
    }

    /// Bytes of data.
    struct Progress: Sendable {
        let done: Int
        let total: Int
    }

    private let states = Mutex<[Name: State]>([:])

    /// Runs `body` once all rounds of the namespace before it have ended, and keeps what came of it. Whoever
    /// waits for it and is cancelled ends it.
    func round(
        of namespace: Name,
        now: @escaping @Sendable () -> Int,
        _ body: @escaping @Sendable () async throws(Failure) -> Mirror.Outcome
    ) async throws(Failure) -> Mirror.Outcome {
        let round = states.withLock { states in
            var state = states[namespace, default: State()]
            let number = state.nextRound
            let before = state.rounds[number - 1]
            let round = Round {
                _ = await before?.value
                let result: Result<Mirror.Outcome, Failure>
                do throws(Failure) {
                    result = .success(try await body())
                } catch {
                    result = .failure(error)
                }
                self.note(result, of: namespace, round: number, now: now())
                return result
            }
            state.rounds[number] = round
            state.nextRound += 1
            states[namespace] = state
            return round
        }
        return try await withTaskCancellationHandler {
            await round.value
        } onCancel: {
            round.cancel()
        }.get()
    }

    private func note(
        _ result: Result<Mirror.Outcome, Failure>,
        of namespace: Name,
        round: Int,
        now: Int
    ) {
        states.withLock { states in
            var state = states[namespace, default: State()]
            state.progress = nil
            state.rounds[round] = nil
            switch result {
            case .success:
                state.lastInStep = now
                state.problem = nil
            // It was ended, and says nothing of the source.
            case .failure(let failure) where failure.kind == .cancelled: break
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

    /// Ends what is under way for a namespace, and forgets what came of it.
    func end(_ namespace: Name) async {
        guard let state = states.withLock({ $0[namespace] }) else { return }
        await state.end()
        states.withLock { states in
            states[namespace]?.loop = nil
            states[namespace]?.lastInStep = nil
            states[namespace]?.problem = nil
        }
    }

    /// The node ends.
    func endAll() async {
        let all = states.withLock { Array($0.values) }
        for state in all { state.cancel() }
        for state in all { await state.end() }
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
