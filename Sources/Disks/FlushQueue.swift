internal import Dispatch
package import Failures
package import Store
internal import Synchronization

/// Makes disks durable, away from the threads that answer the kernel.
///
/// A flush of a disk that comes while one is under way waits for the next one, which it shares with
/// all others that came meanwhile. Commits of several disks that are ready together are one
/// transaction.
///
/// Order, for each disk: dirty map pages taken, fdatasync, durable commit of those pages, answers.
///
/// Concurrency: any thread; `state` is held for a few lines and never while a disk is flushed.
package final class FlushQueue: Sendable {
    package typealias Completion = @Sendable (Failure?) -> Void

    private struct State {
        /// Disks being flushed, with those who wait for the flush after this one.
        var running: [Int64: [Completion]] = [:]
        var commits: [Commit] = []
        var isCommitting = false
    }

    private struct Commit {
        let disk: Disk
        let flush: Disk.Flush
        let completions: [Completion]
    }

    private let database: StateDatabase
    private let state = Mutex(State())
    private let workers = DispatchQueue(label: "ccnfs.flush", attributes: .concurrent)

    package init(database: StateDatabase) { self.database = database }

    /// Calls `completion` once everything answered so far is on disk, or why it is not.
    package func flush(_ disk: Disk, completion: @escaping Completion) {
        let isFirst = state.withLock { state in
            if state.running[disk.id] != nil {
                state.running[disk.id]?.append(completion)
                return false
            }
            state.running[disk.id] = []
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
                if failure != nil { commit.disk.flushFailed(commit.flush) }
                finish(commit.disk, commit.completions, failure)
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
        let pages = batch.filter { !$0.flush.pages.isEmpty }
            .map { (overlay: $0.disk.overlayId, pages: $0.flush.pages) }
        let rows = batch.compactMap(\.flush.row)
        do throws(Failure) {
            if !pages.isEmpty || !rows.isEmpty {
                try database.commit(mapPages: pages, modified: rows)
            } else if database.hasUndurableCommits {
                try database.synchronize()
            }
            return nil
        } catch {
            return error
        }
    }

    private func finish(_ disk: Disk, _ completions: [Completion], _ failure: Failure?) {
        let waiting = state.withLock { state -> [Completion] in
            let waiting = state.running[disk.id] ?? []
            state.running[disk.id] = waiting.isEmpty ? nil : []
            return waiting
        }
        for completion in completions { completion(failure) }
        if !waiting.isEmpty { start(disk, waiting) }
    }
}
