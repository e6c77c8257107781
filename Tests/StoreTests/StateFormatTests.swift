import CCNx
import Failures
import Files
import Foundation
import Store
import TestSupport
import Testing

/// Files of older and of newer formats, and files that are none.
@Suite struct StateFormatTests {
    private let attributes = OwnedAttributes(mode: 0o640, userId: 1000, groupId: 107, modified: 1)

    /// Writes SQLite's `user_version` (bytes 60 to 63 of the file, big-endian) from outside.
    private func setFormat(_ version: UInt8, of path: String) throws {
        try File(path, .readWrite).write([0, 0, 0, version].span, at: 60)
    }

    @Test func refusesANewerFormatUntouched() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/state.sqlite"
        do {
            let database = try StateDatabase(path: path)
            try database.insert(VMRow(id: 1, name: "a", attributes: attributes, created: 1))
        }
        try setFormat(UInt8(StateDatabase.formatVersion + 1), of: path)
        let before = try FileTree.bytes(of: path)
        do throws(Failure) {
            _ = try StateDatabase(path: path)
            Issue.record("a newer format was opened")
        } catch {
            #expect(error.kind == .unsupported)
            #expect(error.message.contains("state.sqlite"))
            #expect(error.firstHint != nil)
        }
        #expect(try FileTree.bytes(of: path) == before)
        try setFormat(UInt8(StateDatabase.formatVersion), of: path)
        #expect(try StateDatabase(path: path).vms().map(\.name) == ["a"])
    }

    @Test func refusesANewerFormatOfTheContentToo() throws {
        let folder = try TemporaryFolder()
        do { _ = try ContentStore(directory: folder.path) }
        for name in ["index.sqlite", "objects.sqlite"] {
            try setFormat(9, of: "\(folder.path)/\(name)")
            #expect(kind { _ = try ContentStore(directory: folder.path) } == .unsupported)
            try setFormat(1, of: "\(folder.path)/\(name)")
        }
        _ = try ContentStore(directory: folder.path)
    }

    @Test func refusesAFileThatIsNoDatabase() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/state.sqlite"
        let text = [UInt8](repeating: 0x41, count: 8192)
        try FileTree.replace(path, with: text)
        #expect(kind { _ = try StateDatabase(path: path) } == .corrupt)
        #expect(try FileTree.bytes(of: path) == text)
    }

    private static func fixture(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/\(name)").path()
    }

    /// Of format 1, in which extents belonged to disks; made by the program that wrote it.
    @Test func bringsFormat1UpAndLosesNothing() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/state.sqlite"
        try FileManager.default.copyItem(atPath: Self.fixture("state-1.sqlite"), toPath: path)
        for _ in 0..<2 {
            let database = try StateDatabase(path: path)
            #expect(!database.isNew)
            #expect(try database.vms().map(\.name) == ["empty", "web-01"])
            let disks = try database.disks()
            #expect(disks.map(\.name) == ["disk0", "disk1"])
            #expect(disks.map(\.overlay) == [1011, 1012])
            #expect(disks[1].failure == "the disk is broken")
            #expect(
                try database.overlays().sorted { $0.id < $1.id } == [
                    OverlayRow(id: 1011, size: 100 << 20), OverlayRow(id: 1012, size: 4096),
                ]
            )
            let extents = try database.extents(of: 1011)
            #expect(extents.map(\.start) == [0, 80 << 20])
            #expect(extents.map(\.sourceStart) == [0, 8192])
            #expect(extents.map(\.byteCount) == [64 << 20, 4096])
            guard case .content(let content) = extents[0].source else {
                Issue.record("the extent maps to content")
                return
            }
            #expect(content.root == ObjectId(bytes: Array(0..<32)))
            #expect(content.segmentSize == 32768)
            #expect(content.prefix.uri == "ccnx:/mycorp.com/app1/linuxvm")
            #expect(try database.mapPages(of: 1011).map(\.page) == [0, 5])
            #expect(
                try database.mapPages(of: 1011)[1].states == [UInt8](repeating: 0x55, count: 1024)
            )
            #expect(try database.mapPages(of: 999).isEmpty)
            #expect(try database.snapshots().isEmpty)
            #expect(try database.trustEntries().allSatisfy { $0.rights == .publish })
            #expect(try database.tags().map(\.tag) == ["stable"])
            #expect(try database.catalogs().allSatisfy { $0.mirroredFrom == nil })
            #expect(try database.mirrors().isEmpty)
            #expect(try database.integrityProblems().isEmpty)
        }
    }

    /// Of format 2, in which there were no mirrors and trusted keys had no rights; made by the program that wrote it.
    @Test func bringsFormat2UpAndLosesNothing() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/state.sqlite"
        try FileManager.default.copyItem(atPath: Self.fixture("state-2.sqlite"), toPath: path)
        for _ in 0..<2 {
            let database = try StateDatabase(path: path)
            #expect(!database.isNew)
            let catalogs = try database.catalogs()
            #expect(catalogs.map(\.publishedHere) == [true])
            #expect(catalogs.map(\.mirroredFrom) == [nil])
            #expect(try database.mirrors().isEmpty)
            let trust = try database.trustEntries()
            #expect(trust.map(\.prefix.uri) == ["ccnx:/mycorp.com"])
            #expect(
                trust.map(\.keyId.digest.hex) == [
                    "08bb3ccdcd82741e3699addca29c879b8a2ae3e4466110ba5c179e4477605f99"
                ]
            )
            // What such keys could do, and nothing else.
            #expect(trust.map(\.rights) == [.publish])
            #expect(try database.vms().map(\.name) == ["web-01"])
            #expect(try database.versions().map(\.version) == [1])
            #expect(try database.snapshots().map(\.name) == ["before"])
            #expect(try database.integrityProblems().isEmpty)
        }
    }
}
