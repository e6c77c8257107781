import CCNx
import Failures
import Foundation
import Profiles
import Signing
import Store
import Templates
import TestSupport
import Testing

@Suite struct TemplateRecordTests {
    @Test func isReadAsItWasWritten() throws {
        let key = try TestKeys.publisher.get()
        for version in [1, 2, 1000] {
            var record = TemplatesScene.record(version: version, by: key)
            #expect(try TemplateRecord(json: record.json()) == record)
            record.properties = [:]
            record.files = []
            record.disks = []
            #expect(try TemplateRecord(json: record.json()) == record)
        }
        let record = TemplatesScene.record(by: key)
        #expect(record.item(named: "disk1")?.content.root == .hole)
        #expect(record.item(named: "domain.xml")?.dataByteCount == 700)
        #expect(record.item(named: "disk2") == nil)
        #expect(try record.json().last == UInt8(ascii: "\n"))
    }

    @Test func hasFieldsThatPeopleCanRead() throws {
        let key = try TestKeys.publisher.get()
        let text = String(decoding: try TemplatesScene.record(by: key).json(), as: UTF8.self)
        #expect(text.contains("\"name\" : \"ccnx:/mycorp.com/app1/linuxvm\""))
        #expect(text.contains("\"time\" : \"2023-11-14T22:13:20Z\""))
        #expect(text.contains("\"publisher\" : \"\(key.publicKey.keyId)\""))
        #expect(text.contains("\"size\" : 42949672960"))
        #expect(text.contains("\"format\" : 1"))
    }

    @Test func ignoresFieldsItDoesNotKnow() throws {
        let key = try TestKeys.publisher.get()
        let record = TemplatesScene.record(by: key)
        let json = try Self.changed(record) { $0["later"] = ["x": 1] }
        #expect(try TemplateRecord(json: json) == record)
    }

    private static func changed(
        _ record: TemplateRecord,
        _ change: (inout [String: Any]) -> Void
    ) throws -> [UInt8] {
        let object = try JSONSerialization.jsonObject(with: Data(try record.json()))
        var fields = try #require(object as? [String: Any])
        change(&fields)
        return Array(try JSONSerialization.data(withJSONObject: fields))
    }

    @Test(arguments: [
        "", "{}", "[]", "null", "not JSON", "{\"format\": 1}", "\u{0}",
    ])
    func refusesWhatIsNoRecord(_ text: String) {
        #expect(kind { _ = try TemplateRecord(json: Array(text.utf8)) } == .invalid)
    }

    @Test func refusesANewerFormat() throws {
        let record = TemplatesScene.record(by: try TestKeys.publisher.get())
        let json = try Self.changed(record) { $0["format"] = 2 }
        #expect(kind { _ = try TemplateRecord(json: json) } == .unsupported)
    }

    /// A field of a record, and a value that it cannot have.
    static let wrongFields: [(String, any Sendable)] = [
        ("format", "1"), ("name", "mycorp.com/app1"), ("name", "ccnx:/mycorp.com"),
        ("name", "ccnx:/mycorp.com/.hidden"), ("name", "ccnx:/mycorp.com/@object"),
        ("name", "ccnx:/localhost/vm"), ("name", "ccnx:/mycorp.com/a%2Fb"), ("name", 5),
        ("version", 0), ("version", -1), ("version", 1.5), ("version", "1"),
        ("publisher", "abc"), ("publisher", ""), ("time", "yesterday"), ("time", 5),
        ("properties", [1]), ("disks", 1), ("files", "none"),
    ]

    @Test(arguments: wrongFields.indices)
    func refusesAFieldThatCannotBe(_ index: Int) throws {
        let (field, value) = Self.wrongFields[index]
        let record = TemplatesScene.record(by: try TestKeys.publisher.get())
        let json = try Self.changed(record) { $0[field] = value }
        #expect(kind { _ = try TemplateRecord(json: json) } == .invalid, "\(field): \(value)")
    }

    static let wrongItems: [(String, any Sendable)] = [
        ("name", ""), ("name", "."), ("name", ".."), ("name", ".versions"), ("name", "@x"),
        ("name", "a/b"), ("name", "template.json"), ("name", "a\nb"),
        ("name", String(repeating: "x", count: 256)),
        ("size", -1), ("size", (8 << 40) + 1), ("size", "1"), ("segmentSize", 0),
        ("segmentSize", -4096), ("segmentSize", 4095), ("segmentSize", 65536), ("root", ""),
        ("root", "00"), ("root", String(repeating: "g", count: 64)), ("levels", -1), ("levels", 0),
        ("levels", 4), ("dataBytes", -1), ("dataBytes", (40 << 30) + 32768),
    ]

    @Test(arguments: wrongItems.indices)
    func refusesADiskThatCannotBe(_ index: Int) throws {
        let (field, value) = Self.wrongItems[index]
        let record = TemplatesScene.record(by: try TestKeys.publisher.get())
        let json = try Self.changed(record) { fields in
            var disks = fields["disks"] as? [[String: Any]] ?? []
            disks[0][field] = value
            fields["disks"] = disks
        }
        #expect(kind { _ = try TemplateRecord(json: json) } == .invalid, "\(field): \(value)")
    }

    @Test func refusesTwoThingsOfOneName() throws {
        let record = TemplatesScene.record(by: try TestKeys.publisher.get())
        for (list, index) in [("disks", 1), ("files", 0)] {
            let json = try Self.changed(record) { fields in
                var items = fields[list] as? [[String: Any]] ?? []
                items[index]["name"] = "disk0"
                fields[list] = items
            }
            #expect(kind { _ = try TemplateRecord(json: json) } == .invalid, "\(list)")
        }
    }
}
