internal import CCNx
internal import Store
internal import Synchronization

/// Pointers to catalogs that were signed a moment ago: a signature takes far longer than to ask for one.
///
/// Concurrency: any thread. Two that ask at once may both sign.
final class RecentPointers: Sendable {
    private struct Entry {
        let object: ObjectId
        /// Milliseconds since 1970.
        let signed: UInt64
        let packet: DecodedPacket
    }

    /// By namespace; no more than this node answers for.
    private let entries = Mutex<[Name: Entry]>([:])
    private let lifetime: UInt64

    /// - Parameter lifetime: milliseconds for which a pointer is given out.
    init(lifetime: UInt64) { self.lifetime = lifetime }

    /// - Parameters:
    ///   - object: what it is to point at.
    ///   - now: milliseconds since 1970; may go back, as the clock of the machine may.
    func pointer(of namespace: Name, to object: ObjectId, now: UInt64) -> DecodedPacket? {
        guard let entry = entries.withLock({ $0[namespace] }), entry.object == object,
            entry.signed <= now, now - entry.signed < lifetime
        else { return nil }
        return entry.packet
    }

    func insert(_ packet: DecodedPacket, of namespace: Name, to object: ObjectId, now: UInt64) {
        let entry = Entry(object: object, signed: now, packet: packet)
        entries.withLock { $0[namespace] = entry }
    }
}
