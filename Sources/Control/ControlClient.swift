internal import CCNx
package import Failures
internal import Files
internal import Foundation
internal import NIOCore
internal import NIOPosix

/// Asks a running node.
package struct ControlClient: Sendable {
    private let path: String

    package init(path: String) { self.path = path }

    /// Sends one request and waits for its answer; `session` does what the node asks meanwhile.
    ///
    /// - Returns: nil when no node listens.
    package func perform(
        _ request: ControlRequest,
        session: some ControlSession
    ) async throws(Failure) -> ControlResponse? {
        guard FileTree.exists(path) else { return nil }
        let channel: NIOAsyncChannel<ControlFrame, ControlFrame>
        do {
            channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(unixDomainSocketPath: path) { $0.wrapAsControl() }
        } catch let error as IOError where error.errnoCode == ECONNREFUSED {
            // Left behind by a node that was killed.
            return nil
        } catch {
            throw Failure(.unavailable, "cannot reach the node at \(path): \(error)")
        }
        do {
            return try await channel.executeThenClose { inbound, outbound in
                try await outbound.write(.message(.request(request)))
                for try await frame in inbound {
                    guard case .message(let message) = frame else { continue }
                    switch message {
                    case .response(let response): return response
                    case .failure(let failure): throw failure.failure
                    case .progress(let progress): await session.report(progress)
                    case .wantsSignature, .wantsBytes:
                        try await outbound.write(await Self.answer(message, session))
                    case .request, .signature, .refusal: break
                    }
                }
                throw Failure(
                    .unavailable,
                    "the node ended before it answered",
                    hint: "what it was doing is either whole or not visible; see its log"
                )
            }
        } catch {
            if let failure = error as? Failure { throw failure }
            throw Failure(.unavailable, "the connection to the node broke: \(error)")
        }
    }

    private static func answer(
        _ message: ControlMessage,
        _ session: some ControlSession
    ) async -> ControlFrame {
        do throws(Failure) {
            switch message {
            case .wantsSignature(let name, let payload, let time):
                let object = ContentObject(name: try Name(uri: name), payload: Array(payload))
                return .message(
                    .signature(
                        Data(try await session.sign(object, signatureTimeMilliseconds: time))
                    )
                )
            case .wantsBytes(let byteCount):
                return .bytes(try await session.read(byteCount: byteCount))
            default:
                throw Failure(.invalid, "the node asked for something unknown")
            }
        } catch {
            return .message(.refusal(WireFailure(error)))
        }
    }
}
