internal import CCNx
internal import Control
internal import Failures
internal import Foundation
internal import Management
internal import Publishing
internal import Synchronization

/// A request from elsewhere while it is carried out, and its outcome after that: what the sender is told
/// whenever it asks.
///
/// Concurrency: any thread.
final class ManagementSession: ControlSession {
    private let state = Mutex(State())

    private struct State {
        var progress: ManagementReply.Progress?
        var draft: ManagementReply.Draft?
        /// Waits for the signature of the draft.
        var waiter: CheckedContinuation<Result<[UInt8], Failure>, Never>?
        var draftCount = 0
        /// The encoded reply, once it is final.
        var outcome: [UInt8]?
    }

    /// How long the sender may take to sign.
    private static let signaturePatience = Duration.seconds(60)

    var isRunning: Bool { state.withLock { $0.outcome == nil } }
    /// Bytes that are kept for whoever asks again.
    var keptByteCount: Int { state.withLock { $0.outcome?.count ?? 0 } }

    /// What the sender is told now, in JSON.
    func reply() throws(Failure) -> [UInt8] {
        let (outcome, reply) = state.withLock { state in
            (
                state.outcome,
                state.draft.map(ManagementReply.wantsSignature) ?? .working(state.progress)
            )
        }
        if let outcome { return outcome }
        return try reply.json()
    }

    /// - Parameter result: a ``ControlResponse`` in JSON.
    func finish(_ result: Result<[UInt8], Failure>) {
        let outcome = Self.encoded(result)
        state.withLock { state in
            state.outcome = outcome
            state.draft = nil
        }
    }

    private static func encoded(_ result: Result<[UInt8], Failure>) -> [UInt8] {
        do throws(Failure) {
            return try ManagementReply.done(Data(try result.get())).json()
        } catch {
            // A sentence and a few causes: it fits.
            return (try? ManagementReply.refused(WireFailure(error)).json()) ?? []
        }
    }

    // MARK: The sender's key

    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        let number = state.withLock { state in
            state.draftCount += 1
            return state.draftCount
        }
        let draft = ManagementReply.Draft(
            number: number,
            name: object.name?.uri ?? "",
            payload: object.payload,
            timeMilliseconds: signatureTimeMilliseconds
        )
        let timeOut = Task {
            try await Task.sleep(for: Self.signaturePatience)
            self.take(.failure(Self.unsigned), for: number)
        }
        defer { timeOut.cancel() }
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLock { state in
                    state.draft = draft
                    state.waiter = continuation
                }
                // Cancelled before there was anybody to tell.
                if Task.isCancelled { take(.failure(Self.ending), for: number) }
            }
        } onCancel: {
            take(.failure(Self.ending), for: number)
        }.get()
    }

    private static var unsigned: Failure {
        Failure(
            .timedOut,
            "the sender of the request has not signed within "
                + "\(signaturePatience.components.seconds) s"
        )
    }

    private static var ending: Failure { Failure(.cancelled, "the node ends") }

    /// What the sender says to a draft; nothing if it is about another one.
    func take(_ signature: ManagementPayload.Signature) {
        let result: Result<[UInt8], Failure> =
            if let packet = signature.packet {
                .success(Array(packet))
            } else {
                .failure(
                    signature.refusal?.failure
                        ?? Failure(.notPermitted, "the sender of the request signs nothing")
                )
            }
        take(result, for: signature.number)
    }

    private func take(_ result: Result<[UInt8], Failure>, for number: Int) {
        let waiter = state.withLock {
            state -> CheckedContinuation<Result<[UInt8], Failure>, Never>? in
            guard state.draft?.number == number else { return nil }
            state.draft = nil
            return state.waiter.take()
        }
        waiter?.resume(returning: result)
    }

    // MARK: The rest of what a command does

    func report(_ progress: ControlProgress) async {
        let told: ManagementReply.Progress =
            switch progress {
            case .publish(let publish):
                .init(
                    what: "bytes of \(publish.disk)",
                    done: publish.doneBytes,
                    total: publish.totalBytes ?? publish.doneBytes
                )
            case .work(let what, let done, let total): .init(what: what, done: done, total: total)
            }
        state.withLock { $0.progress = told }
    }

    func read(byteCount: Int) async throws(Failure) -> [UInt8] {
        throw Failure(.notPermitted, "a request from elsewhere gives no bytes to read")
    }
}
