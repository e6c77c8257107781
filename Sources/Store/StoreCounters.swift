package import Synchronization

/// What the store did since it was opened; the story of the hits and misses that nobody logs.
package final class StoreCounters: Sendable {
    package let fetchedObjects = Atomic<Int>(0)
    package let fetchedBytes = Atomic<Int>(0)
    package let failedFetches = Atomic<Int>(0)
    /// Fetched, used, and not kept because the cache could not take it.
    package let uncachedObjects = Atomic<Int>(0)
    package let damagedSegments = Atomic<Int>(0)
    package let evictedBytes = Atomic<Int>(0)

    package struct Values: Sendable, Codable {
        package var fetchedObjects = 0
        package var fetchedBytes = 0
        package var failedFetches = 0
        package var uncachedObjects = 0
        package var damagedSegments = 0
        package var evictedBytes = 0
    }

    package var values: Values {
        Values(
            fetchedObjects: fetchedObjects.load(ordering: .relaxed),
            fetchedBytes: fetchedBytes.load(ordering: .relaxed),
            failedFetches: failedFetches.load(ordering: .relaxed),
            uncachedObjects: uncachedObjects.load(ordering: .relaxed),
            damagedSegments: damagedSegments.load(ordering: .relaxed),
            evictedBytes: evictedBytes.load(ordering: .relaxed)
        )
    }
}
