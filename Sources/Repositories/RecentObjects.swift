internal import Store
internal import Synchronization

/// Objects that were asked for in chunks lately, so that each is read and hashed once and not for each chunk.
///
/// Concurrency: any thread.
final class RecentObjects: Sendable {
    private struct Entry {
        let bytes: [UInt8]
        var lastUse: UInt64
    }

    private struct State {
        var entries: [ObjectId: Entry] = [:]
        var byteCount = 0
        var uses: UInt64 = 0
    }

    private let byteLimit: Int
    private let countLimit: Int
    private let state = Mutex(State())

    init(byteLimit: Int = 8 << 20, countLimit: Int = 1_024) {
        self.byteLimit = byteLimit
        self.countLimit = countLimit
    }

    func bytes(of id: ObjectId) -> [UInt8]? {
        state.withLock { state in
            state.uses += 1
            let uses = state.uses
            state.entries[id]?.lastUse = uses
            return state.entries[id]?.bytes
        }
    }

    /// What was used least recently makes room.
    ///
    /// - Parameter bytes: checked against the id.
    func insert(_ id: ObjectId, _ bytes: [UInt8]) {
        guard bytes.count <= byteLimit else { return }
        state.withLock { state in
            guard state.entries[id] == nil else { return }
            state.uses += 1
            state.entries[id] = Entry(bytes: bytes, lastUse: state.uses)
            state.byteCount += bytes.count
            while state.byteCount > byteLimit || state.entries.count > countLimit {
                guard let oldest = state.entries.min(by: { $0.value.lastUse < $1.value.lastUse })
                else { return }
                state.entries[oldest.key] = nil
                state.byteCount -= oldest.value.bytes.count
            }
        }
    }
}
