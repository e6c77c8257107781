package import Failures
package import Store
internal import Synchronization

/// Knows the objects it was given, counts what it is asked for, and can hold its answers back or lie.
package final class FakeSource: ContentSource {
    private struct State {
        var objects: [ObjectId: [UInt8]] = [:]
        var asked: [ObjectId: Int] = [:]
        var isHeld = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var failure: Failure?
        var failsOnce = false
        var hastened: [ObjectRequest] = []
    }

    private let state = Mutex(State())

    package init(_ objects: [[UInt8]] = []) {
        for bytes in objects { add(bytes) }
    }

    @discardableResult
    package func add(_ bytes: [UInt8]) -> ObjectId {
        let id = ObjectId(of: bytes)
        state.withLock { $0.objects[id] = bytes }
        return id
    }

    /// From now on answers for `id` with bytes that are not its own.
    package func lie(about id: ObjectId, with bytes: [UInt8]) {
        state.withLock { $0.objects[id] = bytes }
    }

    package func fail(with failure: Failure?) { state.withLock { $0.failure = failure } }

    /// It fails one more time, then no more.
    package func failOnce() { state.withLock { $0.failsOnce = true } }

    package var hastened: [ObjectRequest] { state.withLock { $0.hastened } }

    package func hasten(_ request: ObjectRequest) {
        state.withLock { $0.hastened.append(request) }
    }

    /// Answers nothing until ``release()``.
    package func hold() { state.withLock { $0.isHeld = true } }

    package func release() {
        let waiting = state.withLock { state in
            state.isHeld = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Times that `id` was asked for.
    package func asked(for id: ObjectId) -> Int { state.withLock { $0.asked[id] ?? 0 } }

    package var askedInAll: Int { state.withLock { $0.asked.values.reduce(0, +) } }

    package func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        state.withLock { $0.asked[request.id, default: 0] += 1 }
        await withCheckedContinuation { continuation in
            let goesOn = state.withLock { state in
                if state.isHeld { state.waiting.append(continuation) }
                return !state.isHeld
            }
            if goesOn { continuation.resume() }
        }
        let (bytes, failure) = state.withLock { state in
            defer { if state.failsOnce { state.failure = nil } }
            return (state.objects[request.id], state.failure)
        }
        if let failure { throw failure }
        guard let bytes else { throw Failure(.noSource, "the fake has no \(request.id)") }
        return bytes
    }
}
