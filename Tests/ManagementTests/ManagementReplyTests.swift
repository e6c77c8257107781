import Failures
import Foundation
import Management
import TestSupport
import Testing

@Suite struct ManagementReplyTests {
    @Test func isReadAsItIsWritten() throws {
        let failure = Failure(.notFound, "there is no such thing", hint: "look elsewhere")
        let json = try ManagementReply.refused(WireFailure(failure)).json()
        guard case .refused(let read) = try ManagementReply(json: json) else {
            Issue.record("it reads as something else")
            return
        }
        #expect(read.failure.kind == .notFound)
        #expect(read.failure.message == failure.message)
        #expect(read.failure.hint == failure.hint)
        #expect(throws: Failure.self) { try ManagementReply(json: Array("{}".utf8)) }
    }

    @Test(arguments: [0, 1, (32 << 10) - 1, 32 << 10, (32 << 10) + 1, 100_000, 16 << 20])
    func isPutTogetherFromItsChunks(_ byteCount: Int) {
        let reply = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let count = ReplyChunks.count(of: reply)
        #expect(count == UInt64(max(1, (byteCount + 32_767) / 32_768)))
        var whole: [UInt8] = []
        for number in 0..<count { whole += ReplyChunks.chunk(number, of: reply) ?? [] }
        #expect(whole == reply)
        #expect(ReplyChunks.chunk(count, of: reply) == nil)
        #expect(ReplyChunks.chunk(.max, of: reply) == nil)
    }

    @Test func isBounded() {
        let large = ManagementReply.done(Data(count: ManagementReply.byteLimit))
        #expect(kind { _ = try large.json() } == .tooLarge)
        let payload = ManagementPayload(
            request: [UInt8](repeating: 1, count: ManagementPayload.byteLimit)
        )
        #expect(kind { _ = try payload.json() } == .tooLarge)
    }

    @Test func aPayloadBringsARequestAndASignature() throws {
        let signed = ManagementPayload(
            request: [1, 2],
            signature: .init(number: 3, .success([4, 5]))
        )
        let read = try ManagementPayload(json: try signed.json())
        #expect(Array(read.request) == [1, 2])
        #expect(read.signature?.number == 3)
        #expect(read.signature?.packet.map(Array.init) == [4, 5])
        let refused = ManagementPayload(
            request: [1],
            signature: .init(number: 1, .failure(Failure(.notPermitted, "no")))
        )
        let other = try ManagementPayload(json: try refused.json())
        #expect(other.signature?.packet == nil)
        #expect(other.signature?.refusal?.kind == .notPermitted)
        let newer = Array("{\"format\":2,\"request\":\"\"}".utf8)
        #expect(kind { _ = try ManagementPayload(json: newer) } == .unsupported)
        #expect(kind { _ = try ManagementPayload(json: []) } == .invalid)
    }
}
