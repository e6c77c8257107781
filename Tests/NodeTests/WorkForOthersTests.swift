import CCNx
import Failures
import Management
import TestSupport
import Testing

@testable import Node

struct WorkForOthersTests {
    @Test(.timeLimit(.minutes(1)))
    func endsWithTheNode() async {
        let work = WorkForOthers()
        let ended = Counter()
        for _ in 0..<8 {
            let hasBegun = work.begin {
                try? await Task.sleep(for: .seconds(3_600))
                ended.increment()
            }
            #expect(hasBegun)
        }
        #expect(work.count == 8)
        work.cancel()
        #expect(await work.end(within: .seconds(30)) == 0)
        #expect(ended.value == 8)
        #expect(!work.begin {})
        #expect(work.isCancelled)
    }

    @Test(.timeLimit(.minutes(1)))
    func nobodyWaitsForEverForWhatDoesNotEnd() async {
        let work = WorkForOthers()
        let (stream, end) = AsyncStream.makeStream(of: Void.self)
        // As one that waits for a disk: it does not hear that it is cancelled.
        _ = work.begin { await Task { for await _ in stream { break } }.value }
        work.cancel()
        #expect(await work.end(within: .milliseconds(50)) == 1)
        end.yield()
        #expect(await work.end(within: .seconds(30)) == 0)
    }

    @Test(.timeLimit(.minutes(1)), arguments: [false, true])
    func nobodyWaitsForASignatureOnceTheNodeEnds(_ isEarly: Bool) async throws {
        let session = ManagementSession()
        let signing = Task {
            await failure {
                try await session.sign(
                    ContentObject(name: TestNode.namespace, payload: [1]),
                    signatureTimeMilliseconds: 1
                )
            }
        }
        if !isEarly {
            while try !wantsSignature(session) { await Task.yield() }
        }
        signing.cancel()
        #expect(await signing.value?.kind == .cancelled)
        #expect(try !wantsSignature(session))
    }

    private func wantsSignature(_ session: ManagementSession) throws -> Bool {
        guard case .wantsSignature = try ManagementReply(json: session.reply()) else {
            return false
        }
        return true
    }
}
