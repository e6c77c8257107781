internal import Control
internal import FUSE
internal import Failures
internal import Files
internal import Foundation
internal import ServiceLifecycle
internal import Synchronization

// What a node runs. A service group starts all at once and ends one after another, the last first. It gives this
// order up when one ends out of its turn, so none does but the last, `Presence`.

/// Goes on until its turn to end, and is cancelled then.
struct Work: Service {
    let body: @Sendable () async -> Void

    func run() async {
        await cancelWhenGracefulShutdown(body)
        await turnToEnd()
    }
}

/// Does something only in its turn to end.
struct Ending: Service {
    let body: @Sendable () async throws(Failure) -> Void

    func run() async throws {
        await turnToEnd()
        try await body()
    }
}

/// The commands of this machine. Those under way at the end are cancelled and awaited.
struct CommandService: Service {
    let server: ControlServer
    let operations: NodeOperations

    func run() async {
        async let serving: Void = server.serve { (request, session) async throws(Failure) in
            try await operations.perform(request, session: session)
        }
        await turnToEnd()
        await server.stop()
        await serving
    }
}

/// The mount, which somebody else may end too.
final class MountService: Service {
    private let session: Session
    private let outcome = Mutex<Result<Void, Failure>?>(nil)
    private let end = AsyncStream.makeStream(of: Void.self)

    /// For answers under way, and how often it is looked at. A mount in use is detached, and ends with the process.
    private static let patience = (whole: Duration.seconds(1), pause: Duration.milliseconds(10))

    init(_ session: Session) { self.session = session }

    /// Finishes with the mount.
    var ended: AsyncStream<Void> { end.stream }

    func run() async throws {
        Thread.detachNewThread { [self] in
            let result: Result<Void, Failure>
            do throws(Failure) {
                try session.serve()
                result = .success(())
            } catch {
                result = .failure(error)
            }
            outcome.withLock { $0 = result }
            end.continuation.finish()
        }
        await turnToEnd()
        if !hasEnded { session.unmount() }
        await waitUntil(within: Self.patience.whole, every: Self.patience.pause) { hasEnded }
        try outcome.withLock { $0 }?.get()
    }

    private var hasEnded: Bool { outcome.withLock { $0 != nil } }
}

/// Says that the node is there and, when a signal comes or the mount ends, that it is not any more.
struct Presence: Service {
    let began: @Sendable () -> Void
    let ends: @Sendable () -> Void
    let mount: MountService?

    func run() async {
        began()
        await cancelWhenGracefulShutdown { [mount] in
            guard let mount else { return await turnToEnd() }
            for await _ in mount.ended {}
        }
        ends()
    }
}

/// Cancellation is one too.
private func turnToEnd() async { try? await gracefulShutdown() }
