import CCNx
import Faces
import Repositories
import Store
import Testing

/// What a datagram with somebody else's address brings that one, as Docs/Operations.md ("Exposure") says it.
struct AmplificationTests {
    private let settings = FaceSettings()
    private static let payload = [UInt8](
        repeating: 7,
        count: ObjectName.streamChunkSize
    )

    /// Bytes of the Interest for a chunk that is as small as may be, and of its answer.
    private func exchange(
        under prefix: Name,
        chunkSize: Int = ObjectName.datagramChunkSize,
        chunk: Int
    ) throws -> (interest: Int, answer: Int) {
        let request = ObjectRequest(ObjectId(of: Self.payload), under: prefix)
        let name = ObjectName(request, chunkSize: chunkSize, chunk: chunk).name
        let last = (Self.payload.count - 1) / chunkSize
        let object = ContentObject(
            name: name,
            payload: Array(Self.payload.prefix(chunkSize)),
            endChunkNumber: UInt64(last)
        )
        return (
            interest: try PacketEncoder.encode(Interest(name: name)).count,
            answer: try PacketEncoder.encode(object).count
        )
    }

    @Test func chunksAreNeverWithheld() throws {
        for byteCount in [1, 10, 100, 300] {
            let prefix = Name(segments: [.name(String(repeating: "n", count: byteCount))])
            for chunk in 0..<ObjectName.streamChunkSize / ObjectName.datagramChunkSize {
                let (interest, answer) = try exchange(under: prefix, chunk: chunk)
                #expect(answer <= interest * settings.datagramAnswerRatio)
                #expect(answer <= settings.datagramAnswerByteCount)
            }
        }
    }

    @Test func theFiguresOfTheDocumentsAreThese() throws {
        let shortest = Name(segments: [.name("n")])
        let (interest, answer) = try exchange(under: shortest, chunk: 0)
        #expect(interest == 81)
        #expect(answer == 1_114)
        // With the headers of IPv4 and UDP.
        #expect(10 * (answer + 28) / (interest + 28) == 104)
        // Larger chunks are given back.
        let large = try exchange(under: shortest, chunkSize: 4_096, chunk: 0)
        #expect(large.answer > settings.datagramAnswerByteCount)
        // Of any name there may be, outside ccnfs, this is the shortest.
        #expect(try PacketEncoder.encode(Interest(name: shortest)).count == 21)
    }

    @Test func anAnswerIsNotCutByTheNetwork() {
        // IPv6 and UDP.
        #expect(settings.datagramAnswerByteCount + 40 + 8 == 1_500)
    }
}
