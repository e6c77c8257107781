internal import Dispatch
package import Failures
internal import Files
internal import Logging
internal import Store
internal import Synchronization

/// Makes disks durable, away from the threads that answer the kernel.
///
/// A flush of a disk that comes while one is under way waits for the next one, which it shares with
/// all others that came meanwhile. Commits of several disks that are ready together are one
/// transaction. One who must have no flush of a disk under way takes its turn in between.
///
/// Order, for each disk: dirty map pages taken, fdatasync, durable commit of those pages, answers, space
/// of blocks that were given up.
///
/// Concurrency: any thread; `state` is held for a few lines and never while a disk is flushed.
package final class FlushQueue: Sendable {
    package typealias Completion = @Sendable (Failure?) -> Void

    /// A disk whose turn somebody has.
    private struct Turn {
        let disk: Disk
        /// Those who wait for the flush after this turn.
        var waiting: [Completion] = []
        /// Those who wait for a turn without a flush.
        var exclusive: [DispatchSemaphore] = []
    }

    private struct State {
        var turns: [Int64: Turn] = [:]
        var commits: [Commit] = []
        var isCommitting = false
        /// Disks that will be flushed in a moment.
        var due: Set<Int64> = []
    }

    private struct Commit {
        let disk: Disk
        let flush: Disk.Flush
        let completions: [Completion]
    }

    private let database: StateDatabase
    private let overlays: Overlays
    private let logger: Logger
    private let state = Mutex(State())
    private let workers = DispatchQueue(label: "ccnfs.flush", attributes: .concurrent)

    /// Until a discard's space is given back though nobody flushes the disk.
    private static let discardDelay = DispatchTimeInterval.seconds(1)

    init(_ overlays: Overlays, logger: Logger) {
        self.overlays = overlays
        database = overlays.database
        self.logger = logger
    }

    /// Calls `completion` once everything answered so far is on disk, or why it is not.
    package func flush(_ disk: Disk, completion: @escaping Completion) {
        let isFirst = state.withLock { state in
            if state.turns[disk.id] != nil {
                state.turns[disk.id]?.waiting.append(completion)
                return false
            }
            state.turns[disk.id] = Turn(disk: disk)
            return true
        }
        if isFirst { start(disk, [completion]) }
    }

    package func flush(_ disk: Disk) async throws(Failure) {
        let failure = await withCheckedContinuation { continuation in
            flush(disk) { continuation.resume(returning: $0) }
        }
        if let failure { throw failure }
    }

    /// Flushes disks beside each other and waits, on a thread that may.
    ///
    /// - Throws: the first failure; the others were flushed all the same.
    func flushAndWait(_ disks: [Disk]) throws(Failure) {
        let done = DispatchSemaphore(value: 0)
        let shared = SharedFailure()
        for disk in disks {
            flush(disk) { failure in
                shared.note(failure)
                done.signal()
            }
        }
        for _ in disks { done.wait() }
        if let failure = shared.failure { throw failure }
    }

    /// Makes several disks durable, and with them in one commit the snapshot that was taken of them.
    /// Blocks its thread.
    func complete(_ snapshot: Int64, of disks: [Disk]) throws(Failure) {
        try exclusively(disks) { () throws(Failure) in
            var flushes: [(disk: Disk, flush: Disk.Flush)] = []
            do throws(Failure) {
                for disk in disks {
                    flushes.append((disk: disk, flush: try disk.synchronizeData()))
                }
                CrashPoint.snapshotSynchronized.reached()
                try overlays.settling.withLock { (_) throws(Failure) in
                    try database.commit(
                        mapPages: flushes.flatMap(\.flush.mapPages),
                        modified: flushes.compactMap(\.flush.row),
                        completing: snapshot
                    )
                    for frozen in flushes.flatMap(\.flush.frozen) {
                        frozen.overlay.noteCommitted()
                    }
                }
            } catch {
                for (disk, flush) in flushes { disk.flushFailed(flush) }
                throw error
            }
            CrashPoint.snapshotCommitted.reached()
            for (disk, flush) in flushes { settle(disk, flush) }
        }
    }

    /// Flushes the disk in a moment, unless that is planned already: so that the space of discarded
    /// blocks comes back also where nobody flushes.
    package func flushSoon(_ disk: Disk) {
        let isNew = state.withLock { $0.due.insert(disk.id).inserted }
        guard isNew else { return }
        workers.asyncAfter(deadline: .now() + Self.discardDelay) { [weak disk] in
            guard let disk else { return }
            _ = self.state.withLock { $0.due.remove(disk.id) }
            guard disk.hasFreedBlocks else { return }
            self.flush(disk) { failure in
                guard let failure else { return }
                self.logger.warning(
                    "discarded space is not given back yet",
                    metadata: ["disk": "\(disk.row.name)", "cause": "\(failure)"]
                )
            }
        }
    }

    /// Returns once everything under way is done. Nobody may flush meanwhile.
    func finish() { workers.sync(flags: .barrier) {} }

    /// Runs `body` while no flush of these disks is under way; those that come meanwhile wait. Blocks
    /// its thread.
    func exclusively<Value>(
        _ disks: [Disk],
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        // In one order for all, so that nobody waits in a circle.
        let ordered = disks.sorted { $0.id < $1.id }
        for disk in ordered {
            let semaphore = DispatchSemaphore(value: 0)
            let isFree = state.withLock { state in
                if state.turns[disk.id] == nil {
                    state.turns[disk.id] = Turn(disk: disk)
                    return true
                }
                state.turns[disk.id]?.exclusive.append(semaphore)
                return false
            }
            if !isFree { semaphore.wait() }
        }
        defer { for disk in ordered { endTurn(of: disk) } }
        return try body()
    }

    private func start(_ disk: Disk, _ completions: [Completion]) {
        workers.async {
            do throws(Failure) {
                let flush = try disk.synchronizeData()
                self.submit(Commit(disk: disk, flush: flush, completions: completions))
            } catch {
                self.finish(disk, completions, error)
            }
        }
    }

    private func submit(_ commit: Commit) {
        let leads = state.withLock { state in
            state.commits.append(commit)
            defer { state.isCommitting = true }
            return !state.isCommitting
        }
        guard leads else { return }
        while let batch = nextBatch() {
            let failure = self.commit(batch)
            for commit in batch {
                if failure != nil {
                    commit.disk.flushFailed(commit.flush)
                    finish(commit.disk, commit.completions, failure)
                } else {
                    // Nobody waits for space, but the next flush of the disk.
                    for completion in commit.completions { completion(nil) }
                    workers.async {
                        self.settle(commit.disk, commit.flush)
                        self.endTurn(of: commit.disk)
                    }
                }
            }
        }
    }

    private func nextBatch() -> [Commit]? {
        state.withLock { state in
            if state.commits.isEmpty {
                state.isCommitting = false
                return nil
            }
            defer { state.commits.removeAll() }
            return state.commits
        }
    }

    private func commit(_ batch: [Commit]) -> Failure? {
        do throws(Failure) {
            if batch.allSatisfy(\.flush.frozen.isEmpty) {
                try commitPages(of: batch)
            } else {
                try overlays.settling.withLock { (_) throws(Failure) in
                    try commitPages(of: batch)
                    for frozen in batch.flatMap(\.flush.frozen) { frozen.overlay.noteCommitted() }
                }
            }
            CrashPoint.flushCommitted.reached()
            return nil
        } catch {
            return error
        }
    }

    private func commitPages(of batch: [Commit]) throws(Failure) {
        let pages = batch.flatMap(\.flush.mapPages)
        let rows = batch.compactMap(\.flush.row)
        if !pages.isEmpty || !rows.isEmpty {
            try database.commit(mapPages: pages, modified: rows)
        } else if database.hasUndurableCommits {
            try database.synchronize()
        }
    }

    private func settle(_ disk: Disk, _ flush: Disk.Flush) {
        do throws(Failure) {
            try disk.flushSucceeded(flush)
        } catch {
            logger.warning(
                "space of written blocks is not given back",
                metadata: ["disk": "\(disk.row.name)", "cause": "\(error)"]
            )
        }
        if !flush.frozen.isEmpty { overlays.tellSettled() }
    }

    private func finish(_ disk: Disk, _ completions: [Completion], _ failure: Failure?) {
        for completion in completions { completion(failure) }
        endTurn(of: disk)
    }

    /// Gives the turn to who waits for one without a flush, or to a flush that somebody waits for.
    private func endTurn(of disk: Disk) {
        let (exclusive, waiting) = state.withLock { state -> (DispatchSemaphore?, [Completion]) in
            guard var turn = state.turns[disk.id] else { return (nil, []) }
            if !turn.exclusive.isEmpty {
                let next = turn.exclusive.removeFirst()
                state.turns[disk.id] = turn
                return (next, [])
            }
            let waiting = turn.waiting
            state.turns[disk.id] = waiting.isEmpty ? nil : Turn(disk: disk)
            return (nil, waiting)
        }
        exclusive?.signal()
        if !waiting.isEmpty { start(disk, waiting) }
    }
}

/// The first of several failures.
private final class SharedFailure: Sendable {
    private let first = Mutex<Failure?>(nil)

    func note(_ failure: Failure?) {
        guard let failure else { return }
        first.withLock { if $0 == nil { $0 = failure } }
    }

    var failure: Failure? { first.withLock(\.self) }
}
