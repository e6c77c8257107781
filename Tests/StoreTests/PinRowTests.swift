import CCNx
import Foundation
import Store
import TestSupport
import Testing

@Suite struct PinRowTests {
    private static let template = Name(segments: [.name("mycorp.com"), .name("app1"), .name("vm")])
    private static let other = Name(segments: [.name("mycorp.com"), .name("app 2/ü")])

    private func pin(_ template: Name, _ version: Int, _ item: String = "disk0") -> PinRow {
        PinRow(
            template: template,
            version: version,
            item: item,
            root: ObjectId(of: Array("\(template)\(version)\(item)".utf8)),
            size: 8 << 40,
            segmentSize: 32_768,
            levels: 3,
            dataByteCount: 5 << 40
        )
    }

    @Test func keepsPinsUntilTheyAreRemoved() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/state.sqlite"
        let pins = [
            pin(Self.other, 1), pin(Self.template, 1), pin(Self.template, 2),
            pin(Self.template, 2, "disk1"),
        ]
        do {
            let database = try StateDatabase(path: path)
            #expect(try database.pins().isEmpty)
            try database.insert(pins)
            // The same again, as a fetch that goes on does.
            try database.insert([pins[2]])
        }
        let database = try StateDatabase(path: path)
        #expect(try database.pins() == pins)
        try database.removePins(of: Self.template, version: 2)
        #expect(try database.pins() == Array(pins.prefix(2)))
        try database.removePins(of: Self.template, version: nil)
        #expect(try database.pins() == [pins[0]])
        try database.removePins(of: Self.template, version: 7)
        #expect(try database.pins() == [pins[0]])
    }

    /// Written by a program of that format.
    @Test func bringsFormat2UpAndLosesNothing() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/state.sqlite"
        let fixture = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fixtures/state-2.sqlite")
        try FileManager.default.copyItem(atPath: fixture.path(), toPath: path)
        for pinCount in 0..<2 {
            let database = try StateDatabase(path: path)
            #expect(!database.isNew)
            #expect(try database.vms().map(\.name) == ["web-01"])
            #expect(try database.disks().map(\.name) == ["disk0"])
            #expect(try database.snapshots().map(\.name) == ["before"])
            #expect(try database.versions().map(\.version) == [1])
            #expect(try database.trustEntries().map(\.prefix.uri) == ["ccnx:/mycorp.com"])
            #expect(try database.integrityProblems().isEmpty)
            #expect(try database.pins().count == pinCount)
            try database.insert([pin(Self.template, 1)])
        }
    }
}
