import CCNx
import Disks
import Failures
import Foundation
import Images
import Profiles
import Publishing
import Signing
import Store
import Templates
import TestSupport
import Testing

@testable import Namespace

private let image = SparseImage(size: 1 << 20, segments: [(0, 1), (10, 2)])
private let other = SparseImage(size: 2 << 20, segments: [(0, 3)])
private let template = "mycorp.com/app1/linuxvm"

extension Tree {
    /// What can be read without waiting; nil when something has to be fetched.
    fileprivate func resident(
        _ handle: UInt64,
        at offset: Int,
        byteCount: Int
    ) throws(Failure) -> [UInt8]? {
        var result = Result<Residency, Failure>.success(.missing)
        let bytes = [UInt8](capacity: byteCount) { output in
            do throws(Failure) {
                result = .success(
                    try readResident(handle, at: offset, byteCount: byteCount, into: &output)
                )
            } catch {
                result = .failure(error)
            }
        }
        guard case .complete = try result.get() else { return nil }
        return bytes
    }
}

struct OpenFileTests {
    private func scene() async throws -> TreeScene {
        let scene = try TreeScene()
        try await scene.scene.publish(image, files: [.init(name: "domain.xml", bytes: [60, 62])])
        return scene
    }

    @Test func pinsTheVersionThatWasOpened() async throws {
        let scene = try await scene()
        let old = try scene.open("\(template)/disk0")
        try await scene.scene.publish(other)
        let new = try scene.open("\(template)/disk0")

        #expect(try await scene.tree.read(old, at: 0, byteCount: 4 << 20) == image.bytes)
        #expect(try await scene.tree.read(new, at: 0, byteCount: 4 << 20) == other.bytes)
        try scene.scene.withdraw(1)
        _ = try await scene.scene.reclaim()
        #expect(try await scene.tree.read(old, at: 0, byteCount: 4 << 20) == image.bytes)
        scene.tree.close(old)
        scene.tree.close(new)
        #expect(scene.tree.handles.count == 0)
    }

    @Test func readsToTheEndAndNotBehindIt() async throws {
        let scene = try await scene()
        let handle = try scene.open("\(template)/disk0")
        let bytes = image.bytes
        _ = try await scene.tree.read(handle, at: 0, byteCount: 1)
        #expect(
            try scene.tree.resident(handle, at: bytes.count - 100, byteCount: 4096)
                == Array(bytes.suffix(100))
        )
        #expect(try scene.tree.resident(handle, at: bytes.count, byteCount: 4096) == [])
        #expect(try scene.tree.resident(handle, at: bytes.count + 5000, byteCount: 1) == [])
        #expect(try await scene.tree.read(handle, at: bytes.count, byteCount: 1) == [])
        #expect(
            try await scene.tree.read(handle, at: 40_000, byteCount: 10_000)
                == Array(bytes[40_000..<50_000])
        )
    }

    @Test func readsTheRecordAsItWasSigned() async throws {
        let scene = try await scene()
        let json = try #require(
            scene.scene.templates.template(named: PublishingScene.template)?.newest?.recordJSON
        )
        let handle = try scene.open("\(template)/template.json")
        #expect(try await scene.tree.read(handle, at: 0, byteCount: 1 << 20) == json)
        #expect(try scene.tree.resident(handle, at: 5, byteCount: 7) == Array(json[5..<12]))
        #expect(try scene.tree.resident(handle, at: json.count + 9, byteCount: 7) == [])
        #expect(try scene.find("\(template)/template.json").attributes.size == json.count)
        let file = try scene.open("\(template)/domain.xml")
        #expect(try await scene.tree.read(file, at: 0, byteCount: 10) == [60, 62])
    }

    @Test func refusesToOpenATemplateForWriting() async throws {
        let scene = try await scene()
        for path in ["\(template)/disk0", "\(template)/template.json"] {
            #expect(await failure { try scene.open(path, forWriting: true) }?.kind == .readOnly)
        }
        #expect(await failure { try scene.open(template) }?.kind == .isDirectory)
    }

    @Test func refusesAHandleThatIsNotOpen() async throws {
        let scene = try await scene()
        let handle = try scene.open("\(template)/disk0")
        scene.tree.close(handle)
        scene.tree.close(handle)
        let read = await failure { try await scene.tree.read(handle, at: 0, byteCount: 1) }
        #expect(read?.kind == .invalid)
        let directory = try scene.tree.openDirectory(TreeScene.root)
        let listed = await failure { try await scene.tree.read(directory, at: 0, byteCount: 1) }
        #expect(listed?.kind == .isDirectory)
    }

    @Test func seeksDataAndHoles() async throws {
        let scene = try await scene()
        let handle = try scene.open("\(template)/disk0")
        func seek(_ toData: Bool, _ offset: Int) async throws -> Int? {
            try await scene.tree.seek(handle, toData: toData, from: offset)
        }
        #expect(try await seek(true, 0) == 0)
        #expect(try await seek(false, 0) == 4096)
        #expect(try await seek(true, 5000) == 40_960)
        #expect(try await seek(false, 41_000) == 45_056)
        #expect(try await seek(true, 50_000) == nil)
        #expect(try await seek(false, 50_000) == 50_000)
        #expect(try await seek(false, 1 << 20) == nil)
    }

    // MARK: Trust

    @Test func listsAnUntrustedTemplateAndSaysWhyItDoesNotOpen() async throws {
        let scene = try await scene()
        try scene.scene.distrust(scene.scene.key.publicKey)
        #expect(try scene.names(template) == ["disk0", "domain.xml", "template.json"])
        let found = try scene.find("\(template)/disk0").attributes
        #expect(found.size == 1 << 20)

        let refused = await failure { try scene.tree.open(found.inode, forWriting: false) }
        #expect(refused?.kind == .untrusted)
        #expect(refused?.cause?.message.contains("is not trusted for ccnx:/mycorp.com") == true)
        #expect(refused?.firstHint?.contains("ccnfs trust add ccnx:/mycorp.com ") == true)
        let names = try scene.tree.extendedAttributeNames(of: found.inode)
        #expect(names.contains("user.ccnfs.error"))
        let told = try await scene.tree.extendedAttribute("user.ccnfs.error", of: found.inode)
        #expect(told == refused.map { "\($0)" })
        // Who decides about trust reads the record first.
        let record = try scene.open("\(template)/template.json")
        #expect(try await scene.tree.read(record, at: 0, byteCount: 10).isEmpty == false)
        let local = await failure {
            try await scene.tree.extendedAttribute("user.ccnfs.local", of: found.inode)
        }
        #expect(local?.kind == .untrusted)

        try scene.scene.trust(scene.scene.key.publicKey)
        scene.tree.close(try scene.tree.open(found.inode, forWriting: false).handle)
    }

    @Test func showsTheNewestVersionThatIsTrusted() async throws {
        let scene = try await scene()
        let stranger = try PublishingScene.strangerKey.get()
        try scene.scene.trust(stranger.publicKey)
        try other.write(to: scene.scene.path("other.raw"))
        try await scene.scene.publish(
            .init(
                template: PublishingScene.template,
                disks: [.init(name: "disk0", path: scene.scene.path("other.raw"), format: .raw)],
                segmentSize: 4096
            ),
            signer: .init(stranger)
        )
        #expect(try scene.find("\(template)/disk0").attributes.size == 2 << 20)
        try scene.scene.distrust(stranger.publicKey)
        #expect(try scene.find("\(template)/disk0").attributes.size == 1 << 20)
        let refused = await failure { try scene.open("\(template)/.versions/2/disk0") }
        #expect(refused?.kind == .untrusted)
    }

    @Test func tellsWhatADiskIsInExtendedAttributes() async throws {
        let scene = try await scene()
        let inode = try scene.inode("\(template)/disk0")
        var values: [String: String] = [:]
        for name in try scene.tree.extendedAttributeNames(of: inode) {
            values[name] = try await scene.tree.extendedAttribute(name, of: inode)
        }
        let record = try scene.scene.templates.served(PublishingScene.template, version: 1).record
        #expect(
            values == [
                "user.ccnfs.name": "ccnx:/\(template)", "user.ccnfs.version": "1",
                "user.ccnfs.publisher": scene.scene.key.publicKey.keyId.digest.hex,
                "user.ccnfs.root": record.disks[0].content.root.hex,
                "user.ccnfs.size": "1048576", "user.ccnfs.data": "8192",
                "user.ccnfs.local": "8192",
            ]
        )
        #expect(try await scene.tree.extendedAttribute("user.other", of: inode) == nil)
        #expect(try await scene.tree.extendedAttribute("user.ccnfs.other", of: inode) == nil)
        let node = try await scene.tree.extendedAttribute("user.ccnfs.node", of: TreeScene.root)
        #expect(node == "\(ProcessInfo.processInfo.processIdentifier)")
    }

    @Test func keepsTheLastErrorOfAFile() async throws {
        let scene = try await scene()
        let inode = try scene.inode("\(template)/disk0")
        scene.tree.note(Failure(.noSource, "first"), of: inode)
        scene.tree.note(
            Failure(.noSource, "second", cause: Failure(.timedOut, "nobody answered")),
            of: inode
        )
        #expect(
            try await scene.tree.extendedAttribute("user.ccnfs.error", of: inode)
                == "second: nobody answered"
        )
    }

    // MARK: Cloning

    @Test func clonesATemplateIntoANewDiskWithoutCopying() async throws {
        let scene = try await scene()
        try scene.makeMachine("web-01")
        let source = try scene.open("\(template)/disk0")
        let target = try scene.makeDisk("disk0", in: "web-01")
        #expect(
            try scene.tree.cloneRange(
                from: source,
                at: 0,
                to: target,
                at: 0,
                byteCount: Int.max
            ) == 1 << 20
        )

        let disk = try #require(scene.scene.machines.disk("disk0", of: "web-01"))
        #expect(disk.size == 1 << 20)
        #expect(disk.writtenByteCount == 0)
        #expect(disk.contents.count == 1)
        #expect(try await scene.tree.read(target, at: 0, byteCount: 2 << 20) == image.bytes)
        let machine = try #require(scene.scene.machines.machine(named: "web-01"))
        #expect(machine.template == PublishingScene.template)
        #expect(machine.templateVersion == 1)
    }

    @Test func joinsTheCallsOfOneCopy() async throws {
        let scene = try await scene()
        try scene.makeMachine("web-01")
        let source = try scene.open("\(template)/disk0")
        let target = try scene.makeDisk("disk0", in: "web-01")
        for offset in stride(from: 0, to: 1 << 20, by: 256 << 10) {
            #expect(
                try scene.tree.cloneRange(
                    from: source,
                    at: offset,
                    to: target,
                    at: offset,
                    byteCount: 256 << 10
                )
                    == 256 << 10
            )
        }
        #expect(
            try scene.tree.cloneRange(
                from: source,
                at: 1 << 20,
                to: target,
                at: 1 << 20,
                byteCount: 4096
            ) == 0
        )
        let disk = try #require(scene.scene.machines.disk("disk0", of: "web-01"))
        #expect(disk.contents.count == 1)
        #expect(try await scene.tree.read(target, at: 0, byteCount: 2 << 20) == image.bytes)
    }

    @Test(arguments: [
        (0, 512, 4096), (512, 512, 4096), (0, 0, 1000), (0, 4096, 4095), (4096, 100, 100),
    ])
    func leavesAnUnalignedRangeToACopy(source: Int, target: Int, byteCount: Int) async throws {
        let scene = try await scene()
        try scene.scene.deploy("web-01")
        let from = try scene.open("\(template)/disk0")
        let to = try scene.open("localhost/web-01/disk0", forWriting: true)
        let failure = await failure {
            try scene.tree.cloneRange(
                from: from,
                at: source,
                to: to,
                at: target,
                byteCount: byteCount
            )
        }
        #expect(failure?.kind == .unsupported)
    }

    @Test func clonesFromWhatHasBytesIntoDisksOpenForWriting() async throws {
        let scene = try await scene()
        try scene.scene.deploy("web-01")
        let content = try scene.open("\(template)/disk0")
        let reading = try scene.open("localhost/web-01/disk0")
        let writing = try scene.open("localhost/web-01/disk0", forWriting: true)
        func clone(_ from: UInt64, _ to: UInt64) async -> Failure.Kind? {
            await failure {
                try scene.tree.cloneRange(from: from, at: 0, to: to, at: 0, byteCount: 4096)
            }?.kind
        }
        #expect(await clone(content, reading) == .notPermitted)
        #expect(await clone(content, content) == .notPermitted)
        #expect(await clone(reading, writing) == nil)
        #expect(await clone(4711, writing) == .invalid)
        #expect(await clone(content, writing) == nil)
    }
}
