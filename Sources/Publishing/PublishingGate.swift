package import Failures
internal import Synchronization

/// Keeps publishing and reclaiming apart: what a publish has stored but not made visible yet looks
/// like garbage to a reclaim.
package final class PublishingGate: Sendable {
    private struct State {
        var publishes = 0
        var isReclaiming = false
    }

    private let state = Mutex(State())

    package init() {}

    func enterPublish() throws(Failure) {
        try state.withLock { (state) throws(Failure) in
            guard !state.isReclaiming else {
                throw Failure(
                    .busy,
                    "published content is being reclaimed or backed up at the moment",
                    hint: "try again in a moment"
                )
            }
            state.publishes += 1
        }
    }

    func leavePublish() { state.withLock { $0.publishes -= 1 } }

    func enterReclaim() throws(Failure) {
        try state.withLock { (state) throws(Failure) in
            guard state.publishes == 0, !state.isReclaiming else {
                throw Failure(
                    .busy,
                    "a publish is under way, so nothing is reclaimed now",
                    hint: "afterwards: ccnfs reclaim"
                )
            }
            state.isReclaiming = true
        }
    }

    /// Runs `body` while nothing is published or reclaimed.
    ///
    /// - Throws: `.busy` while something is.
    package func whileNothingChanges<Value: Sendable>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        try enterReclaim()
        defer { leaveReclaim() }
        return try await body()
    }

    func leaveReclaim() { state.withLock { $0.isReclaiming = false } }
}
