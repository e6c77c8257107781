internal import CCNx
internal import Files

/// The table of routes and peers as it is now.
///
/// Concurrency: read from any thread, under a lock for a few lines; replaced on the event loop of the exchange only,
/// so that the table, the sources, the FIB and the faces change as one.
final class Routes: Sendable {
    private let current: Guarded<RouteTable>
    /// The namespaces to follow, now and whenever others are; for one who looks.
    let namespaces: AsyncStream<Set<Name>>
    private let change: AsyncStream<Set<Name>>.Continuation

    init(_ table: RouteTable) {
        current = Guarded(table)
        (namespaces, change) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        change.yield(table.namespaces)
    }

    var table: RouteTable { current.withLock(\.self) }

    func hasSource(for name: Name) -> Bool { current.withLock { $0.hasSource(for: name) } }

    /// - Returns: the one before.
    func replace(with table: RouteTable) -> RouteTable {
        let before = current.withLock { current in
            defer { current = table }
            return current
        }
        if before.namespaces != table.namespaces { change.yield(table.namespaces) }
        return before
    }
}
