internal import CCNx
internal import Failures
internal import Management
internal import Synchronization

/// The nodes that report here, and the routes to them, which live as long as their reports.
///
/// Concurrency: any thread.
final class NodeBook: Sendable {
    private let book = Mutex(InventoryBook())
    private let exchange: PacketExchange
    private let started = ContinuousClock.now

    init(exchange: PacketExchange) { self.exchange = exchange }

    /// Seconds of a clock that nobody sets.
    var now: Int { Int((ContinuousClock.now - started).components.seconds) }

    /// By name, late ones too.
    var entries: [InventoryBook.Entry] { book.withLock(\.all) }

    /// Nil if no such node reports here.
    func face(of node: Name) -> FaceId? {
        book.withLock { [now] in $0.face(of: node, now: now) }
    }

    /// Takes a part of a report whose signature was checked.
    func take(
        _ part: Inventory,
        of node: Name,
        key: KeyId,
        byteCount: Int,
        from face: FaceId
    ) throws(Failure) -> InventoryReply {
        expire()
        return try book.withLock { (book) throws(Failure) in
            let outcome = try book.take(
                part,
                of: node,
                key: key,
                byteCount: byteCount,
                from: face,
                now: now
            )
            switch outcome {
            case .older(let newest): return .older(than: newest)
            case .taken(let changes):
                // Handed over in the order in which they were decided.
                exchange.carryOut(changes)
                return .taken
            }
        }
    }

    /// Ends the routes to nodes that do not report any more.
    func expire() {
        book.withLock { [now] in exchange.carryOut($0.expire(now: now)) }
    }
}
