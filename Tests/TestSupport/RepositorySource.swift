package import Failures
package import Store
internal import Synchronization

/// Gives what a repository has published, and notes the order; withholds what it is told to.
package final class RepositorySource: ContentSource {
    private struct State {
        var asked: [ObjectId] = []
        var withheld: Set<ObjectId> = []
        /// Objects that it still gives; nil for all.
        var left: Int?
        var extra: [ObjectId: [UInt8]] = [:]
    }

    private let store: ContentStore
    private let state = Mutex(State())

    package init(_ store: ContentStore) { self.store = store }

    package var asked: [ObjectId] { state.withLock(\.asked) }

    package func withhold(_ ids: Set<ObjectId>) { state.withLock { $0.withheld = ids } }

    /// It is gone once it has given so many objects more; nil: it is back.
    package func end(after count: Int?) { state.withLock { $0.left = count } }

    @discardableResult
    package func add(_ bytes: [UInt8]) -> ObjectId {
        let id = ObjectId(of: bytes)
        state.withLock { $0.extra[id] = bytes }
        return id
    }

    package func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        let (isWithheld, extra) = state.withLock { state in
            state.asked.append(request.id)
            var isWithheld = state.withheld.contains(request.id)
            if let left = state.left {
                isWithheld = isWithheld || left == 0
                state.left = max(left - 1, 0)
            }
            return (isWithheld, state.extra[request.id])
        }
        if isWithheld { throw Failure(.noSource, "the repository withholds \(request.id)") }
        if let extra { return extra }
        guard let bytes = try store.anyObject(request.id) else {
            throw Failure(.noSource, "the repository has no \(request.id)")
        }
        return bytes
    }
}
