import CCNx
import Failures
import Management
import Store
import Testing

@Suite struct ManagementNameTests {
    private static let id = ObjectId(of: [1])
    private static let key = KeyId(SHA256Digest(word0: 1, word1: 2, word2: 3, word3: 4))

    @Test func areReadAsTheyAreWritten() {
        let names: [ManagementName] = [
            .request(target: Name(), id: Self.id, attempt: 0, chunk: 0),
            .request(target: ManagementScene.namespace, id: Self.id, attempt: .max, chunk: 63),
            .request(target: ManagementScene.node, id: Self.id, attempt: 0x1f, chunk: 1),
            .report(namespace: ManagementScene.namespace, key: Self.key, serial: 1, part: 0),
            .report(namespace: ManagementScene.namespace, key: Self.key, serial: .max, part: 63),
        ]
        for name in names {
            #expect(ManagementName(name.name) == name)
            // For caches on the way: a chunk, of a name that is never asked for twice.
            #expect(name.name.chunkNumber() != nil)
        }
    }

    @Test func areNothingElse() {
        let request = ManagementName.request(
            target: ManagementScene.namespace,
            id: Self.id,
            attempt: 0x1f,
            chunk: 0
        ).name
        let segments = request.segments
        let report = ManagementName.report(
            namespace: ManagementScene.namespace,
            key: Self.key,
            serial: 5,
            part: 0
        ).name
        let others = [
            Name(), ManagementScene.namespace, Name(segments: Array(segments.dropFirst(2))),
            Name(segments: Array(segments.dropLast())), request.appending(.chunk(0)),
            Name(segments: segments.map { $0 == .name("1f") ? .name("01f") : $0 }),
            Name(segments: segments.map { $0 == .name("1f") ? .name("1F") : $0 }),
            Name(segments: segments.map { $0 == .name("1f") ? .name("+1f") : $0 }),
            Name(segments: segments.map { $0 == .name("1f") ? .name("x") : $0 }),
            Name(segments: segments.map { $0 == .name("@manage") ? .name("@managed") : $0 }),
            Name(segments: segments.dropLast() + [.name("0")]),
            // A report is one to a namespace.
            Name(segments: ManagementScene.node.segments + report.segments.dropFirst()),
            Name(segments: Array(report.segments.dropFirst())),
        ]
        for name in others { #expect(ManagementName(name) == nil, "\(name)") }
    }
}
