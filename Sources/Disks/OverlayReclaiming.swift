internal import Dispatch
internal import Synchronization

/// When space of overlays is reclaimed: one pass at a time, another one after it if something was
/// deleted meanwhile.
///
/// Concurrency: any thread; `state` is held for a few lines, `pass` for a whole pass.
final class OverlayReclaiming: Sendable {
    private struct State {
        var isRequested = false
        var isScheduled = false
        /// The last pass left something whose blocks were not durable.
        var waitsForSettling = false
    }

    private let state = Mutex(State())
    let pass = Mutex<Void>(())
    private let queue = DispatchQueue(label: "ccnfs.reclaim", qos: .utility)

    /// A pass is due or under way.
    var isPending: Bool { state.withLock { $0.isRequested || $0.isScheduled } }

    func request(_ body: @escaping @Sendable () -> Void) {
        let isFirst = state.withLock { state in
            state.isRequested = true
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        guard isFirst else { return }
        queue.async {
            while self.next() { body() }
        }
    }

    /// A pass met an overlay that is not settled.
    func waitForSettling() { state.withLock { $0.waitsForSettling = true } }

    /// An overlay is settled.
    ///
    /// - Returns: whether a pass has waited for that.
    func noteSettled() -> Bool {
        state.withLock { state in
            defer { state.waitsForSettling = false }
            return state.waitsForSettling
        }
    }

    /// Returns once no pass is due or under way.
    func finish() { queue.sync {} }

    private func next() -> Bool {
        state.withLock { state in
            defer { state.isRequested = false }
            if !state.isRequested { state.isScheduled = false }
            return state.isRequested
        }
    }
}
