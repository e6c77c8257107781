internal import CCNx
internal import Failures
internal import Repositories
internal import Store
internal import Synchronization

/// Gets objects from other nodes: one Interest each, asked again until the deadline.
///
/// Concurrency: any thread; at most ``windowSize`` Interests are under way, others wait their turn.
final class Fetcher: ContentSource {
    private let exchange: PacketExchange
    private let window = Mutex(Window())
    let interestsSent = Atomic<Int>(0)

    /// Objects of 32 KiB that fit the queue of one face several times over.
    private static let windowSize = 128
    private static let deadline = Duration.seconds(10)
    private static let interestLifetimeMilliseconds: UInt64 = 2_000
    /// Between tries while the face of a route is connecting or its node is busy.
    private static let retryPause = Duration.milliseconds(100)
    /// A route whose face does not come up in this time has nobody at its end.
    private static let connectPatience = Duration.seconds(3)

    private struct Window {
        var free = windowSize
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    init(exchange: PacketExchange) { self.exchange = exchange }

    func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        let name = ObjectName(request).name
        guard exchange.hasRoute(for: name) else { return try await NoSource().object(request) }
        let bytes = try await payload(of: name)
        guard ObjectId(of: bytes) == request.id else {
            throw Failure(.corrupt, "what came for \(name) has other bytes than its id says")
        }
        return bytes
    }

    /// The payload of the Content Object with exactly this name.
    func payload(of name: Name) async throws(Failure) -> [UInt8] {
        await enterWindow()
        defer { leaveWindow() }
        let start = ContinuousClock.now
        let interest = Interest(
            name: name,
            lifetimeMilliseconds: Self.interestLifetimeMilliseconds
        )
        while true {
            interestsSent.add(1, ordering: .relaxed)
            let failure: Failure
            switch await exchange.express(interest) {
            case .success(let object): return object.payload
            case .failure(let reason): failure = reason
            }
            let elapsed = ContinuousClock.now - start
            guard elapsed < Self.patience(with: failure) else { throw failure }
            try? await Task.sleep(for: Self.retryPause)
        }
    }

    /// How long the same question is asked again after such an answer.
    private static func patience(with failure: Failure) -> Duration {
        switch failure.kind {
        case .timedOut, .busy: deadline
        case .unavailable: connectPatience
        default: .zero
        }
    }

    private func enterWindow() async {
        await withCheckedContinuation { continuation in
            let mayEnter = window.withLock { window in
                if window.free > 0 {
                    window.free -= 1
                    return true
                }
                window.waiting.append(continuation)
                return false
            }
            if mayEnter { continuation.resume() }
        }
    }

    private func leaveWindow() {
        let next = window.withLock { window -> CheckedContinuation<Void, Never>? in
            if window.waiting.isEmpty {
                window.free += 1
                return nil
            }
            return window.waiting.removeFirst()
        }
        next?.resume()
    }
}
