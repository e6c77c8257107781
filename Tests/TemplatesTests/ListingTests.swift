import CCNx
import Failures
import Store
import Templates
import TestSupport
import Testing

@Suite struct ListingTests {
    private static let namespace = TemplatesScene.namespace

    private static func read(_ json: String) throws(Failure) -> Listing {
        try Listing(json: Array(json.utf8), namespace: namespace, publishedHere: false)
    }

    private static func template(
        _ name: String = "ccnx:/mycorp.com/app1/vm",
        versions: String? = nil,
        tags: String = "{}"
    ) -> String {
        let record = ObjectId(of: [1]).hex
        let versions = versions ?? "[{\"version\":1,\"record\":\"\(record)\"}]"
        return "{\"name\":\"\(name)\",\"versions\":\(versions),\"tags\":\(tags)}"
    }

    private static func listing(_ templates: String...) -> String {
        "{\"templates\":[\(templates.joined(separator: ","))]}"
    }

    @Test func isReadAsItWasWritten() throws {
        let names = ["a", "b", "ü"].map { Self.namespace.appending([.name("app 1"), .name($0)]) }
        var versions: [VersionRow] = []
        var tags: [TagRow] = []
        for name in names {
            for number in 1...3 {
                versions.append(
                    VersionRow(
                        template: name,
                        version: number,
                        record: ObjectId(of: [UInt8(number)]),
                        publishedHere: true,
                        withdrawn: number == 2 ? 1_700_000_000 : nil
                    )
                )
            }
            tags.append(TagRow(template: name, tag: "stable", version: 3))
            tags.append(TagRow(template: name, tag: "old one", version: 1))
        }
        let listing = Listing(versions: versions, tags: tags)
        let found = try Listing(
            json: try listing.json(),
            namespace: Self.namespace,
            publishedHere: true
        )
        #expect(found.versions == versions)
        #expect(found.tags.count == tags.count)
        for tag in tags { #expect(found.tags.contains(tag)) }
        let elsewhere = try Listing(
            json: try listing.json(),
            namespace: Self.namespace,
            publishedHere: false
        )
        #expect(elsewhere.versions.allSatisfy { !$0.publishedHere })
    }

    @Test func hasOneFormWhateverOrderItWasMadeIn() throws {
        let names = (0..<5).map { Self.namespace.appending(.name("vm\($0)")) }
        let rows = names.map {
            VersionRow(template: $0, version: 1, record: ObjectId(of: [1]), publishedHere: false)
        }
        let tags = names.map { TagRow(template: $0, tag: "t", version: 1) }
        let one = try Listing(versions: rows, tags: tags).json()
        let two = try Listing(versions: rows.reversed(), tags: tags.reversed()).json()
        #expect(one == two)
    }

    @Test func mayBeEmpty() throws {
        let json = try Listing(versions: [], tags: []).json()
        let found = try Listing(json: json, namespace: Self.namespace, publishedHere: false)
        #expect(found.versions.isEmpty)
        #expect(found.tags.isEmpty)
    }

    @Test(arguments: [
        "ccnx:/other.com/vm", "ccnx:/mycorp.com.au/vm", "ccnx:/mycorp.co/vm",
        "ccnx:/a/mycorp.com/vm",
    ])
    func refusesTemplatesOutsideOfItsNamespace(_ name: String) throws {
        let json = Self.listing(Self.template(), Self.template(name))
        #expect(kind { _ = try Self.read(json) } == .untrusted)
    }

    @Test func takesTheOnesBeside() throws {
        let json = Self.listing(
            Self.template(),
            Self.template("ccnx:/mycorp.com/vm", tags: "{\"stable\":1}")
        )
        #expect(try Self.read(json).versions.count == 2)
        #expect(try Self.read(json).tags.map(\.tag) == ["stable"])
    }

    static let malformed: [String] = [
        "", "[]", "{}", "{\"templates\":1}", "{\"templates\":[1]}",
        listing("{}"), listing(template("mycorp.com/vm")), listing(template("ccnx:/mycorp.com")),
        listing(template("ccnx:/mycorp.com/.vm")), listing(template("ccnx:/mycorp.com/@object")),
        listing(template(versions: "[{\"version\":1,\"record\":\"00\"}]")),
        listing(template(versions: "[{\"version\":0,\"record\":\"\(ObjectId(of: [1]).hex)\"}]")),
        listing(template(versions: "[{\"version\":-1,\"record\":\"\(ObjectId(of: [1]).hex)\"}]")),
        listing(template(versions: "[{\"version\":1}]")), listing(template(tags: "{\"t\":\"1\"}")),
        // Twice the same, which no database row can be.
        listing(template(), template()),
        // Tags become names of symbolic links.
        listing(template(tags: "{\"\":1}")), listing(template(tags: "{\"a/b\":1}")),
        listing(template(tags: "{\"..\":1}")), listing(template(tags: "{\"@x\":1}")),
    ]

    @Test(arguments: malformed)
    func refusesEveryOtherForm(_ json: String) {
        #expect(kind { _ = try Self.read(json) } == .invalid)
    }
}
