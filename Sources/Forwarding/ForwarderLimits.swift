/// Everything the forwarder keeps is bounded by one of these.
package struct ForwarderLimits: Hashable, Sendable {
    /// Pending Interests, all faces together, before one of a neighbour is given back.
    package var pendingInterestCount = 65_536
    /// Further ones of faces on this machine, so that neighbours cannot keep this node from asking.
    package var localInterestCount = 16_384
    /// Pending Interests that one face waits for, so that one neighbour cannot fill the table.
    package var pendingInterestCountPerFace = 16_384
    /// Neighbours that wait for one pending Interest.
    package var originCountPerInterest = 256
    /// Bytes of memory for the Interests that are kept to be sent again or returned, before one of a neighbour is
    /// given back; see ``DecodedPacket/pendingByteCount``.
    package var pendingByteCount = 96 << 20
    /// Further ones of faces on this machine.
    package var localPendingByteCount = 16 << 20
    /// How long an Interest waits if it does not say (RFC 8569 section 2.4.2).
    package var defaultLifetimeMilliseconds: UInt64 = 2_000
    /// How long an Interest waits at most, whatever it says.
    package var maximumLifetimeMilliseconds: UInt64 = 60_000
    /// Routes, all prefixes together.
    package var routeCount = 65_536
    /// Segments of a prefix that is routed.
    package var prefixSegmentCount = 32

    package init() {}
}
