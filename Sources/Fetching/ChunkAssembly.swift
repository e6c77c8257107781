package import CCNx

/// How objects are cut for sources whose packets are small. What is right is known of the whole only, so
/// that no chunk is used before.
package struct ObjectCutting: Sendable {
    /// Bytes of each chunk but the last.
    package let chunkSize: Int
    /// No object has more chunks.
    package let chunkCountLimit: Int
    /// What the names of an object's chunks begin with, up to the number; nil for names of anything but whole
    /// objects.
    package let chunkPrefix: @Sendable (_ object: Name) -> Name?
    /// Whether the bytes are those of the object.
    package let isRight: @Sendable (_ object: Name, _ bytes: [UInt8]) -> Bool

    package init(
        chunkSize: Int,
        chunkCountLimit: Int,
        chunkPrefix: @escaping @Sendable (Name) -> Name?,
        isRight: @escaping @Sendable (Name, [UInt8]) -> Bool
    ) {
        self.chunkSize = chunkSize
        self.chunkCountLimit = chunkCountLimit
        self.chunkPrefix = chunkPrefix
        self.isRight = isRight
    }
}

/// Puts together one object whose chunks come in any order, some twice, some not at all. No I/O, no clock.
///
/// How many there are is not known before one of them says which is the last. Until then as many are asked
/// for as are expected; those past the last come back, which counts for nothing once the last is known.
package struct ChunkAssembly: Sendable {
    package enum Outcome: Hashable, Sendable {
        /// These are to be asked for, too.
        case incomplete(ask: Range<Int>)
        /// All bytes, unchecked.
        case whole([UInt8])
        /// The source does not have all of it.
        case missing
        /// No object is cut so.
        case wrong
    }

    private let chunkSize: Int
    private let limit: Int
    private var chunks: [Int: [UInt8]] = [:]
    private var absent: Set<Int> = []
    /// Chunks below it were asked for.
    private var askedCount: Int
    /// In all; nil while it is not known.
    package private(set) var count: Int?

    /// - Parameter expected: chunks to ask for before the number is known.
    package init(_ cutting: ObjectCutting, expecting expected: Int) {
        chunkSize = cutting.chunkSize
        limit = cutting.chunkCountLimit
        askedCount = min(max(expected, 1), limit)
    }

    /// Chunks that have not come, in order.
    package var wanted: [Int] {
        (0..<(count ?? askedCount)).filter { chunks[$0] == nil && !absent.contains($0) }
    }

    /// - Parameter last: the number of the last chunk, if this one says it.
    package mutating func take(_ number: Int, _ payload: [UInt8], last: UInt64?) -> Outcome {
        guard number >= 0, number < limit, payload.count <= chunkSize, !payload.isEmpty else {
            return .wrong
        }
        if chunks[number] == nil { chunks[number] = payload }
        if let last {
            guard last < UInt64(limit), count == nil || count == Int(last) + 1 else {
                return .wrong
            }
            count = Int(last) + 1
        }
        return outcome
    }

    /// The source says that it does not have this one.
    package mutating func miss(_ number: Int) -> Outcome {
        absent.insert(number)
        return outcome
    }

    private var outcome: Outcome {
        mutating get {
            guard let count else { return outcomeWithoutEnd }
            guard
                chunks.allSatisfy({
                    $0.key < count && ($0.value.count == chunkSize || $0.key == count - 1)
                })
            else { return .wrong }
            guard !absent.contains(where: { $0 < count && chunks[$0] == nil }) else {
                return .missing
            }
            if chunks.count == count { return .whole((0..<count).flatMap { chunks[$0] ?? [] }) }
            let more = min(askedCount, count)..<count
            askedCount = max(askedCount, count)
            return .incomplete(ask: more)
        }
    }

    /// Each chunk that comes may be followed by others as long as none says that it is the last.
    private var outcomeWithoutEnd: Outcome {
        mutating get {
            let first = (0..<askedCount).first { chunks[$0] == nil }
            if let first { return absent.contains(first) ? .missing : .incomplete(ask: 0..<0) }
            guard askedCount < limit else { return .wrong }
            let more = askedCount..<min(2 * askedCount, limit)
            askedCount = more.upperBound
            return .incomplete(ask: more)
        }
    }
}
