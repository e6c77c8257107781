import CCNx
import Failures
import Repositories
import Store
import Testing

@Suite struct PublishNameTests {
    private static let template = Name(segments: [.name("mycorp.com"), .name("app1")])

    @Test func areReadAsTheyAreWritten() throws {
        let key = KeyId(SHA256Digest(word0: 1, word1: 2, word2: 3, word3: 4))
        let names: [PublishName] = [
            .offer(template: Self.template, key: key, nonce: 0),
            .offer(template: Self.template, key: key, nonce: .max),
            .request(template: Self.template, record: ObjectId(of: [1]), nonce: 77),
        ]
        for name in names {
            #expect(PublishName(name.name) == name)
            // For caches on the way: one chunk, of a name that is never asked for twice.
            #expect(name.name.chunkNumber() == 0)
        }
    }

    @Test func areNothingElse() throws {
        let request = PublishName.request(
            template: Self.template,
            record: ObjectId(of: [1]),
            nonce: 0x1f
        ).name
        let segments = request.segments
        let others = [
            Self.template, Name(segments: Array(segments.dropFirst(2))),
            Name(segments: Array(segments.dropLast())), request.appending(.chunk(0)),
            Name(segments: segments.map { $0 == .name("1f") ? .name("01f") : $0 }),
            Name(segments: segments.map { $0 == .name("1f") ? .name("1F") : $0 }),
            Name(segments: segments.map { $0 == .name("1f") ? .name("x") : $0 }),
            Name(segments: segments.dropLast() + [.chunk(1)]),
        ]
        for name in others { #expect(PublishName(name) == nil, "\(name)") }
    }

    @Test func repliesAreReadAsTheyAreWritten() throws {
        var progress = PublishReply.Progress()
        progress.doneBytes = 5
        let reply = try PublishReply(json: try PublishReply.done(version: 3, progress).json())
        guard case .done(3, progress) = reply else {
            Issue.record("it reads as \(reply)")
            return
        }
        #expect(throws: Failure.self) { try PublishReply(json: Array("{}".utf8)) }
        #expect(throws: Failure.self) { try PublishRequestPayload(json: []) }
    }
}
