internal import CCNx
internal import Forwarding
internal import NIOCore

/// Interests whose content is to be looked up on disk: each face in turn, so that one that asks a lot
/// does not hold up the others, and a bound for each.
struct LookupQueue {
    struct Lookup {
        let token: LookupToken
        let interest: Interest
        let face: FaceId
    }

    private var waiting: [FaceId: CircularBuffer<Lookup>] = [:]
    /// Faces that wait, the next first.
    private var turns = CircularBuffer<FaceId>()
    private var running = 0

    /// Enough for all threads to be busy while answers are handed over.
    private static let runningLimit = 16
    /// More than a neighbour has in flight that follows its window.
    private static let limitPerFace = 512

    /// - Returns: false if the face has too many already.
    mutating func add(_ lookup: Lookup, from face: FaceId) -> Bool {
        if waiting[face] == nil { turns.append(face) }
        guard waiting[face, default: []].count < Self.limitPerFace else { return false }
        waiting[face, default: []].append(lookup)
        return true
    }

    /// What to look up now; whoever takes it says when it is done.
    mutating func next() -> Lookup? {
        guard running < Self.runningLimit, let face = turns.popFirst(),
            let lookup = waiting[face]?.popFirst()
        else { return nil }
        if waiting[face]?.isEmpty == false { turns.append(face) } else { waiting[face] = nil }
        running += 1
        return lookup
    }

    mutating func done() { running -= 1 }

    /// Nobody is at the face any more.
    ///
    /// - Returns: what waited for its turn; others may have joined who asked for it.
    mutating func remove(_ face: FaceId) -> [Lookup] {
        guard let lookups = waiting.removeValue(forKey: face) else { return [] }
        turns.removeAll { $0 == face }
        return Array(lookups)
    }
}
