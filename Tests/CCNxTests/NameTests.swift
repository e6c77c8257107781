import CCNx
import Failures
import Testing

@Suite struct NameTests {
    private func kind(_ uri: String, template: Bool = false) -> Failure.Kind? {
        do {
            _ = try template ? Name.templateName(uri: uri) : Name(uri: uri)
            return nil
        } catch { return error.kind }
    }

    @Test(arguments: [
        "ccnx:/", "ccnx:/a", "ccnx:/mycorp.com/app1/linuxvm", "ccnx:/a/Chunk=0x00",
        "ccnx:/a/Chunk=0x0100",
        "ccnx:/a%2Fb/%00%FF", "ccnx:/IPID=0x01", "ccnx:/a/App:0=0x", "ccnx:/a/App:4095=0xff",
        "ccnx:/a/0x0013=0x07",
        "ccnx:/a/Name=", "ccnx:/a/Name=..", "ccnx:/a/Name=.", "ccnx:/a/0x0005=0x0001",
        "ccnx:/-._~/%40object/x%3Dy",
    ])
    func printsCanonicalURIsAsTheyWereRead(_ uri: String) throws {
        #expect(try Name(uri: uri).uri == uri)
    }

    @Test(arguments: [
        ("ccnx:/Name=foo", "ccnx:/foo"), ("ccnx:/%61%2f", "ccnx:/a%2F"),
        ("ccnx:/@object", "ccnx:/%40object"),
        ("ccnx:/a/Chunk=0x0A", "ccnx:/a/Chunk=0x0a"), ("ccnx:/\u{fc}", "ccnx:/%C3%BC"),
        ("ccnx:/App:1=xy", "ccnx:/App:1=0x7879"),
        ("ccnx:/a/0x0005=0x07", "ccnx:/a/Chunk=0x07"), ("ccnx:/a/0x0001=b", "ccnx:/a/b"),
    ])
    func readsMoreThanItWrites(_ uri: String, _ canonical: String) throws {
        #expect(try Name(uri: uri).uri == canonical)
    }

    @Test(arguments: [
        "", "a", "/a/b", "http://a", "ccnx:", "ccnx:a", "ccnx://host/a", "ccnx:/a//b", "ccnx:/a/",
        "ccnx:/a?b",
        "ccnx:/a#b", "ccnx:/a/./b", "ccnx:/..", "ccnx:/%", "ccnx:/%4", "ccnx:/%4g", "ccnx:/a b",
        "ccnx:/a\nb",
        "ccnx:/a|b", "ccnx:/Foo=1", "ccnx:/App:4096=0x00", "ccnx:/App:x=1", "ccnx:/Chunk=0x0001",
        "ccnx:/Chunk=0x",
        "ccnx:/Chunk=0x000000000000000001", "ccnx:/IPID=0x1", "ccnx:/0x13=0x00",
        "ccnx:/0x0FFE=0x00", "ccnx:/Name=",
        "CCNX:/a", "ccnx:/a=b",
    ])
    func refuses(_ uri: String) {
        #expect(kind(uri) == .invalid)
    }

    @Test(arguments: [UInt64(0), 1, 255, 256, 65_535, 65_536, .max])
    func writesChunkNumbersInTheirShortestForm(_ number: UInt64) throws {
        let segment = NameSegment.chunk(number)
        #expect(segment.chunkNumber == number)
        #expect(segment.value.count == max(1, (64 - number.leadingZeroBitCount + 7) / 8))
        #expect(try Name(uri: Name(segments: [segment]).uri).segments == [segment])
    }

    @Test func seesNoChunkNumberInOtherSpellings() {
        #expect(NameSegment(type: 5, value: [0, 0]).chunkNumber == nil)
        #expect(NameSegment(type: 5, value: []).chunkNumber == nil)
        #expect(NameSegment(type: 5, value: [UInt8](repeating: 1, count: 9)).chunkNumber == nil)
        #expect(NameSegment(type: 1, value: [0]).chunkNumber == nil)
        #expect(NameSegment.chunk(3, codes: ChunkCodes(segmentType: 0x10)).chunkNumber == nil)
    }

    @Test func comparesPrefixesSegmentBySegment() throws {
        let name = try Name(uri: "ccnx:/mycorp.com/app1/linuxvm")
        #expect(name.hasPrefix(try Name(uri: "ccnx:/mycorp.com/app1")))
        #expect(name.hasPrefix(Name()))
        #expect(name.hasPrefix(name))
        #expect(!name.hasPrefix(try Name(uri: "ccnx:/mycorp.com/app")))
        #expect(!name.prefix(2).hasPrefix(name))
        #expect(name.prefix(2).appending(.name("linuxvm")) == name)
        #expect(name.prefix(9) == name)
    }

    @Test func sortsPrefixesFirstAndChunksByNumber() throws {
        let base = try Name(uri: "ccnx:/a")
        let sorted = [base] + [0, 2, 255, 256, 70_000].map { base.appending(.chunk($0)) }
        #expect(sorted.reversed().sorted() == sorted)
        #expect(try Name(uri: "ccnx:/a/z") < Name(uri: "ccnx:/b"))
    }

    @Test(arguments: [
        "ccnx:/mycorp.com/app1", "ccnx:/a/b/c", "ccnx:/m\u{fc}nchen/x", "ccnx:/a/b%20c",
        "ccnx:/a/localhost",
    ])
    func acceptsTemplateNames(_ uri: String) {
        #expect(kind(uri, template: true) == nil)
    }

    @Test(arguments: [
        "ccnx:/", "ccnx:/a", "ccnx:/localhost/vm", "ccnx:/a/@object", "ccnx:/a/.hidden",
        "ccnx:/.a/b", "ccnx:/a/b%2Fc",
        "ccnx:/a/%00", "ccnx:/a/x%0Ay", "ccnx:/a/%7F", "ccnx:/a/%C2%85", "ccnx:/a/%FF",
        "ccnx:/a/Chunk=0x00", "ccnx:/a/Name=/b", "ccnx:/a/Name=..",
        "ccnx:/a/App:1=0x01", "nonsense",
    ])
    func refusesTemplateNames(_ uri: String) {
        #expect(kind(uri, template: true) == .invalid)
    }

    @Test func boundsTemplateNames() throws {
        func uri(segments: Int, length: Int) -> String {
            "ccnx:"
                + String(repeating: "/" + String(repeating: "x", count: length), count: segments)
        }
        #expect(kind(uri(segments: 32, length: 255), template: true) == nil)
        #expect(kind(uri(segments: 33, length: 1), template: true) == .invalid)
        #expect(kind(uri(segments: 2, length: 256), template: true) == .invalid)
        #expect(kind(uri(segments: 100, length: 300)) == nil)
    }

    @Test func namesThePartItRefuses() {
        #expect {
            try Name.templateName(uri: "ccnx:/mycorp.com/app1/.versions")
        } throws: {
            "\($0)" == "ccnx:/mycorp.com/app1/.versions cannot name a template: "
                + "segment 3, '.versions', begins with '.', which is reserved"
        }
    }
}
