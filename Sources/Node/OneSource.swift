internal import CCNx
internal import Failures
internal import Fetching
internal import Repositories
internal import Store

/// Objects from one neighbour, in the background.
struct OneSource: ContentSource {
    let exchange: PacketExchange
    let source: FetchScheduler.SourceId
    /// Milliseconds that an object may take to come.
    let patience: UInt64

    /// The exchange does, to tell the sources that send wrong bytes.
    var givesCheckedBytes: Bool { true }

    func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        if Task.isCancelled { throw Failure(.cancelled, "nobody waits for it any more") }
        return try await exchange.fetch(
            ObjectName(request).name,
            lane: .hydration,
            patience: patience,
            of: source
        ).get().payload
    }
}
