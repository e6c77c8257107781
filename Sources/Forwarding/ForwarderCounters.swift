/// What the forwarder has done since it was made.
package struct ForwarderCounters: Hashable, Sendable {
    package internal(set) var interestsReceived: UInt64 = 0
    package internal(set) var interestsAggregated: UInt64 = 0
    package internal(set) var interestsForwarded: UInt64 = 0
    package internal(set) var interestsExpired: UInt64 = 0
    package internal(set) var interestsReturned: UInt64 = 0
    package internal(set) var contentStoreHits: UInt64 = 0
    package internal(set) var objectsForwarded: UInt64 = 0
    /// Nobody waited for them, or they came from whom nobody asked.
    package internal(set) var objectsUnsolicited: UInt64 = 0
    /// Interest Returns for an Interest that was not sent there.
    package internal(set) var returnsUnsolicited: UInt64 = 0
}
