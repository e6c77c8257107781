internal import CCNx
internal import Failures
internal import Fetching
internal import Repositories
internal import Store

/// Gets objects from other nodes. Concurrency: any thread.
struct Fetcher: ContentSource {
    private let exchange: PacketExchange

    /// Milliseconds that whoever waits for an object waits at most.
    private static let patience: UInt64 = 10_000

    init(exchange: PacketExchange) { self.exchange = exchange }

    /// The exchange does, to tell the sources that send wrong bytes.
    var givesCheckedBytes: Bool { true }

    func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        let name = ObjectName(request).name
        guard exchange.hasSource(for: name) else { return try await NoSource().object(request) }
        return try await exchange.fetch(
            name,
            lane: FetchLane(FetchUrgency.current),
            patience: Self.patience,
            mayPeersAnswer: true
        ).get().payload
    }

    func hasten(_ request: ObjectRequest) { exchange.hasten(ObjectName(request).name) }
}

extension FetchLane {
    fileprivate init(_ urgency: FetchUrgency) {
        switch urgency {
        case .reader: self = .reader
        case .readAhead: self = .readAhead
        case .background: self = .hydration
        }
    }
}
