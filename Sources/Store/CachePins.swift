internal import Synchronization

/// Which segments of the cache stay when it is full: those of contents that were pinned.
///
/// The image of a pinned root stays whole. Segments of the content that lie elsewhere, since another disk
/// has them too and was fetched first, stay once they were noted; nobody knows of them before.
///
/// Concurrency: any thread.
package final class CachePins: Sendable {
    /// By pinned root: places of its content that were noted.
    private let noted = Mutex<[ObjectId: Places]>([:])

    /// Pins these roots and no others; what was noted for those that stay is kept.
    package func replace(with roots: Set<ObjectId>) {
        noted.withLock { noted in
            noted = noted.filter { roots.contains($0.key) }
            for root in roots where noted[root] == nil { noted[root] = Places() }
        }
    }

    /// Does nothing if the root is not pinned.
    func note(_ places: [SegmentPlace], of root: ObjectId) {
        noted.withLock { noted in
            for place in places { noted[root]?.insert(place) }
        }
    }

    var isEmpty: Bool { noted.withLock(\.isEmpty) }
    var roots: [ObjectId] { noted.withLock { Array($0.keys) } }

    /// All places noted at this moment.
    var places: Places {
        noted.withLock { noted in
            noted.values.reduce(into: Places()) { $0.formUnion($1) }
        }
    }

    /// A set of places, one bit each.
    struct Places {
        private var wordsOfImages: [Int: [UInt64]] = [:]

        func contains(_ place: SegmentPlace) -> Bool {
            guard let words = wordsOfImages[place.image] else { return false }
            let (word, bit) = place.position.quotientAndRemainder(dividingBy: 64)
            return word < words.count && words[word] >> bit & 1 == 1
        }

        mutating func insert(_ place: SegmentPlace) {
            let (word, bit) = place.position.quotientAndRemainder(dividingBy: 64)
            Self.fill(&wordsOfImages[place.image, default: []], upTo: word)
            wordsOfImages[place.image]?[word] |= 1 << bit
        }

        mutating func formUnion(_ other: Places) {
            for (image, words) in other.wordsOfImages {
                Self.fill(&wordsOfImages[image, default: []], upTo: words.count - 1)
                for (index, word) in words.enumerated() { wordsOfImages[image]?[index] |= word }
            }
        }

        private static func fill(_ words: inout [UInt64], upTo word: Int) {
            let missing = word + 1 - words.count
            if missing > 0 { words.append(contentsOf: repeatElement(0, count: missing)) }
        }
    }
}
