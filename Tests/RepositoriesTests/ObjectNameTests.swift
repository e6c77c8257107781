import CCNx
import Repositories
import Store
import TestSupport
import Testing

struct ObjectNameTests {
    private static let id = ObjectId(of: [1, 2, 3])
    private static let prefix = Name(segments: [.name("mycorp.com"), .name("app1")])

    @Test(arguments: [(32 << 10, 0), (1024, 31), (1, 7), (64 << 10, 1)])
    func comesBackFromItsName(chunkSize: Int, chunk: Int) throws {
        let object = ObjectName(
            ObjectRequest(Self.id, under: Self.prefix),
            chunkSize: chunkSize,
            chunk: chunk
        )
        #expect(ObjectName(object.name) == object)
        #expect(ObjectName(try Name(uri: object.name.uri)) == object)
    }

    @Test func isOneChunkOf32KiBUnlessToldOtherwise() {
        let name = ObjectName(ObjectRequest(Self.id, under: Self.prefix)).name
        #expect(
            name
                == Self.prefix.appending([
                    .name("@object"), .name(bytes: Self.id.bytes), .name("32768"), .chunk(0),
                ])
        )
    }

    private static func name(
        _ prefix: Name = prefix,
        marker: NameSegment = .name("@object"),
        id: NameSegment = .name(bytes: id.bytes),
        size: NameSegment = .name("1024"),
        tail: [NameSegment] = [.chunk(0)]
    ) -> Name {
        prefix.appending([marker, id, size] + tail)
    }

    @Test(
        arguments: [
            name(Name()), prefix, Name(), name(marker: .name("@objects")),
            name(marker: .name("object")), name(id: .name(bytes: Array(id.bytes.dropLast()))),
            name(id: .name(bytes: id.bytes + [0])), name(id: .name(id.hex)),
            name(id: NameSegment(type: 0x1000, value: id.bytes)),
            name(size: .name("0")), name(size: .name("-1")), name(size: .name("+1024")),
            name(size: .name("01024")), name(size: .name("")), name(size: .name("1K")),
            name(size: .name("65537")), name(size: .name("9223372036854775807")),
            name(size: .name("9223372036854775808")),
            name(size: NameSegment(type: 0x1000, value: Array("1024".utf8))),
            name(tail: []), name(tail: [.name("0")]), name(tail: [.chunk(1 << 31)]),
            name(tail: [.chunk(.max)]), name(tail: [.chunk(0), .name("x")]),
        ] as [Name]
    )
    func refuses(_ name: Name) {
        #expect(ObjectName(name) == nil)
    }
}
