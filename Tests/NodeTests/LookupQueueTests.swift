import CCNx
import Forwarding
import Signing
import Testing

@testable import Node

@Suite struct LookupQueueTests {
    private var forwarder = Forwarder { $0.contentObjectHash }

    private mutating func lookup(_ number: Int, from face: FaceId) throws -> LookupQueue.Lookup {
        let interest = Interest(name: Name(segments: [.name("\(face)"), .name("\(number)")]))
        let packet = try PacketEncoder().encode(.interest(interest))
        let action = try #require(forwarder.receive(packet, from: face, now: 0).first)
        guard case .lookUpContent(let token, let interest) = action else {
            throw CancellationError()
        }
        return LookupQueue.Lookup(token: token, interest: interest, face: face)
    }

    @Test mutating func takesEachFaceInTurn() throws {
        let (greedy, modest) = (FaceId(1), FaceId(2))
        for face in [greedy, modest] { forwarder.faceUp(face, scope: .remote) }
        var queue = LookupQueue()
        for number in 0..<100 {
            #expect(queue.add(try lookup(number, from: greedy), from: greedy))
        }
        #expect(queue.add(try lookup(0, from: modest), from: modest))
        let first = [queue.next(), queue.next()].compactMap { $0?.interest.name.segments[0] }
        #expect(Set(first) == [.name("1"), .name("2")])
        // No more run at once than there are threads for.
        var running = 2
        while queue.next() != nil { running += 1 }
        #expect(running == 16)
        queue.done()
        #expect(queue.next() != nil)
        #expect(queue.next() == nil)
    }

    @Test mutating func refusesMoreThanOneFaceMayHaveAndForgetsIt() throws {
        let (greedy, modest) = (FaceId(1), FaceId(2))
        for face in [greedy, modest] { forwarder.faceUp(face, scope: .remote) }
        var queue = LookupQueue()
        for number in 0..<512 {
            #expect(queue.add(try lookup(number, from: greedy), from: greedy))
        }
        #expect(try !queue.add(lookup(512, from: greedy), from: greedy))
        #expect(try queue.add(lookup(0, from: modest), from: modest))
        let left = queue.remove(greedy)
        #expect(left.map(\.interest.name.segments[1]) == (0..<512).map { .name("\($0)") })
        #expect(queue.remove(greedy).isEmpty)
        #expect(queue.next()?.interest.name.segments[0] == .name("2"))
        #expect(queue.next() == nil)
    }
}
