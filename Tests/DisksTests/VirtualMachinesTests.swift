import CCNx
import Disks
import Failures
import Files
import Profiles
import Store
import TestSupport
import Testing

@Suite struct VirtualMachinesTests {
    private static let attributes = DiskScene.attributes

    @Test func areTheSameAfterReopening() async throws {
        let scene = try DiskScene()
        let descriptor = try scene.template([UInt8](repeating: 7, count: 9000))
        _ = try scene.deploy(descriptor)
        try scene.machines.make(named: "empty", attributes: Self.attributes)
        let extra = try scene.machines.makeDisk(
            named: "disk1",
            in: "empty",
            attributes: Self.attributes
        )
        try await extra.writeWaiting([1, 2, 3], at: 10_000)
        try scene.machines.setAttributes(of: "empty") { $0.mode = 0o711 }
        try extra.setAttributes { $0.userId = 42 }
        try scene.reopen()
        let machines = scene.machines
        #expect(machines.all().map(\.name) == ["empty", "vm"])
        let vm = try #require(machines.machine(named: "vm"))
        #expect(vm.template == DiskScene.prefix)
        #expect(vm.templateVersion == 1)
        #expect(machines.machine(id: vm.id)?.name == "vm")
        #expect(machines.machine(named: "empty")?.attributes.mode == 0o711)
        let disk = try scene.disk("disk1", of: "empty")
        #expect(disk.size == 10_003)
        #expect(disk.row.attributes.userId == 42)
        #expect(try await disk.read(at: 9_999, byteCount: 10) == [0, 1, 2, 3])
        let deployed = try scene.disk()
        #expect(deployed.size == 9000)
        #expect(try await deployed.read(at: 8999, byteCount: 9) == [7])
        #expect(try Set(machines.contentsInUse().map(\.descriptor)) == [descriptor])
    }

    @Test func noteTheFirstTemplateAndNoLaterOne() throws {
        let scene = try DiskScene()
        let id = try scene.machines.make(named: "vm", attributes: Self.attributes).id
        try scene.machines.noteTemplate(DiskScene.prefix, version: 3, of: id)
        try scene.machines.noteTemplate(DiskScene.prefix, version: 4, of: id)
        try scene.reopen()
        #expect(scene.machines.machine(named: "vm")?.templateVersion == 3)
    }

    // MARK: Removing

    @Test func refuseToRemoveAVMThatHasDisks() throws {
        let scene = try DiskScene()
        try scene.machines.make(named: "vm", attributes: Self.attributes)
        _ = try scene.machines.makeDisk(named: "disk0", in: "vm", attributes: Self.attributes)
        #expect(kind { try scene.machines.remove("vm") } == .notEmpty)
        try scene.machines.removeDisk("disk0", of: "vm")
        try scene.machines.remove("vm")
        #expect(kind { try scene.machines.remove("vm") } == .notFound)
        #expect(kind { try scene.machines.removeDisk("disk0", of: "vm") } == .notFound)
        try scene.reopen()
        #expect(scene.machines.all().isEmpty)
    }

    @Test func keepAnOpenDiskUntilItIsClosed() async throws {
        let scene = try DiskScene()
        let disk = try scene.blank()
        let handles = [true, false].map { disk.handles.open(forWriting: $0) }
        try await disk.writeWaiting([1, 2, 3], at: 0)
        try scene.machines.removeDisk("disk0", of: "vm")
        #expect(scene.machines.disk("disk0", of: "vm") == nil)
        #expect(try FileTree.names(in: scene.overlays).count == 1)
        try await disk.writeWaiting([4], at: 3)
        #expect(try await disk.read(at: 0, byteCount: 10) == [1, 2, 3, 4])
        try await scene.machines.flushQueue.flush(disk)
        #expect(disk.handles.close(handles[0]) == false)
        try scene.machines.reclaimIfClosed(disk)
        #expect(try await disk.read(at: 0, byteCount: 10) == [1, 2, 3, 4])
        #expect(try FileTree.names(in: scene.overlays).count == 1)
        #expect(disk.handles.close(handles[1]))
        try scene.machines.reclaimIfClosed(disk)
        #expect(try FileTree.names(in: scene.overlays).isEmpty)
        // The name is free again, for another disk.
        let next = try scene.machines.makeDisk(
            named: "disk0",
            in: "vm",
            attributes: Self.attributes
        )
        #expect(next.id != disk.id)
        #expect(next.size == 0)
    }

    @Test func leaveARemovedDiskThatIsOpenToACopy() throws {
        let scene = try DiskScene()
        let disk = try scene.blank()
        _ = disk.handles.open(forWriting: false)
        try scene.machines.removeDisk("disk0", of: "vm")
        #expect(kind { _ = try scene.machines.pin(disk) } == .unsupported)
    }

    @Test func removeTheFilesOfDisksThatWereDeletedWhenTheyStart() async throws {
        let scene = try DiskScene()
        try scene.machines.make(named: "vm", attributes: Self.attributes)
        for name in ["disk0", "disk1"] {
            let disk = try scene.machines.makeDisk(
                named: name,
                in: "vm",
                attributes: Self.attributes
            )
            try await disk.writeWaiting([9], at: 0)
        }
        _ = try scene.disk("disk1").handles.open(forWriting: true)
        try scene.machines.removeDisk("disk1", of: "vm")
        #expect(try FileTree.names(in: scene.overlays).count == 2)
        try FileTree.makeDirectory("\(scene.overlays)/lost+found")
        try scene.reopen()
        #expect(try FileTree.names(in: scene.overlays).count == 2)
        #expect(FileTree.exists("\(scene.overlays)/lost+found"))
        #expect(try await scene.disk().read(at: 0, byteCount: 1) == [9])
    }

    // MARK: Times

    @Test func keepTheTimeOfAChangeToTheSecondWithEachFlush() async throws {
        let scene = try DiskScene()
        let disk = try scene.blank()
        for byte in 1...20 {
            try await disk.writeWaiting([UInt8(byte)], at: byte)
            try await scene.machines.flushQueue.flush(disk)
        }
        let last = disk.row.attributes.modified
        try scene.reopen(bootId: "another")
        let kept = try scene.disk().row.attributes.modified
        #expect(kept <= last)
        #expect(last - kept <= 1_000_000_000)
    }

    // MARK: Names and limits

    @Test func refuseMoreSnapshotsThanAVMMayHave() throws {
        let scene = try DiskScene()
        try scene.machines.make(named: "vm", attributes: Self.attributes)
        for number in 0..<VirtualMachines.snapshotLimit {
            try scene.machines.takeSnapshot(of: "vm", named: "s\(number)", now: number)
        }
        #expect(
            kind { try scene.machines.takeSnapshot(of: "vm", named: "more", now: 0) } == .tooLarge
        )
        try scene.machines.deleteSnapshot("s7", of: "vm")
        try scene.machines.takeSnapshot(of: "vm", named: "more", now: 0)
    }

    static let wrongNames = [
        "", ".", "..", ".hidden", "@object", "a/b", "/", "a\nb", "a\u{0}", "a\u{1f}",
        String(repeating: "x", count: 256), String(repeating: "ü", count: 128),
    ]

    @Test(arguments: wrongNames)
    func refuseNamesThatCannotBeNames(_ name: String) throws {
        let scene = try DiskScene()
        let machines = scene.machines
        try machines.make(named: "vm", attributes: Self.attributes)
        _ = try machines.makeDisk(named: "disk0", in: "vm", attributes: Self.attributes)
        #expect(kind { try machines.make(named: name, attributes: Self.attributes) } == .invalid)
        #expect(
            kind { _ = try machines.makeDisk(named: name, in: "vm", attributes: Self.attributes) }
                == .invalid
        )
        #expect(kind { try machines.rename("vm", to: name) } == .invalid)
        #expect(
            kind { try machines.renameDisk("disk0", of: "vm", to: name, of: "vm") } == .invalid
        )
        #expect(machines.all().map(\.name) == ["vm"])
    }

    @Test(arguments: [
        "a", "web-01", "a b", "ü", "vm.json2", "a.b", "a@b", "-", "~", "\u{1F4BE}",
        String(repeating: "x", count: 255),
    ])
    func takeNamesThatFilesMayHave(_ name: String) throws {
        let scene = try DiskScene()
        try scene.machines.make(named: name, attributes: Self.attributes)
        _ = try scene.machines.makeDisk(named: name, in: name, attributes: Self.attributes)
        try scene.reopen()
        #expect(scene.machines.disk(name, of: name) != nil)
    }

    @Test func refuseTheNameOfTheirOwnFile() throws {
        #expect(kind { try VirtualMachines.check(diskName: "vm.json") } == .invalid)
        #expect(kind { try VirtualMachines.check(machineName: "vm.json") } == nil)
    }

    @Test func refuseWhatIsThereAlreadyAndWhatIsNot() throws {
        let scene = try DiskScene()
        let machines = scene.machines
        for name in ["a", "b"] {
            try machines.make(named: name, attributes: Self.attributes)
            _ = try machines.makeDisk(named: "disk0", in: name, attributes: Self.attributes)
        }
        #expect(kind { try machines.make(named: "a", attributes: Self.attributes) } == .exists)
        #expect(
            kind {
                _ = try machines.makeDisk(named: "disk0", in: "a", attributes: Self.attributes)
            } == .exists
        )
        #expect(kind { try machines.rename("a", to: "b") } == .exists)
        #expect(
            kind { try machines.renameDisk("disk0", of: "a", to: "disk0", of: "b") } == .exists
        )
        #expect(kind { try machines.rename("x", to: "y") } == .notFound)
        #expect(
            kind { _ = try machines.makeDisk(named: "d", in: "x", attributes: Self.attributes) }
                == .notFound
        )
        #expect(kind { try machines.renameDisk("x", of: "a", to: "y", of: "a") } == .notFound)
        #expect(kind { try machines.renameDisk("disk0", of: "a", to: "y", of: "x") } == .notFound)
        #expect(kind { try machines.setAttributes(of: "x") { $0.mode = 0 } } == .notFound)
    }

    @Test func renameThemselvesAndTheirDisks() async throws {
        let scene = try DiskScene()
        for name in ["a", "b"] { try scene.machines.make(named: name, attributes: Self.attributes) }
        let disk = try scene.machines.makeDisk(
            named: "disk0",
            in: "a",
            attributes: Self.attributes
        )
        try await disk.writeWaiting([5], at: 4)
        try scene.machines.renameDisk("disk0", of: "a", to: "root", of: "b")
        try scene.machines.rename("b", to: "c")
        try scene.machines.rename("c", to: "c")
        #expect(try scene.disk("root", of: "c") === disk)
        try scene.reopen()
        #expect(scene.machines.all().map(\.name) == ["a", "c"])
        #expect(scene.machines.machine(named: "a")?.disks.isEmpty == true)
        #expect(try await scene.disk("root", of: "c").read(at: 0, byteCount: 9) == [0, 0, 0, 0, 5])
    }

    @Test func refuseADiskBeyondTheSizeLimit() async throws {
        let scene = try DiskScene()
        let disk = try scene.blank()
        _ = try disk.resize(to: Disks.sizeLimit)
        #expect(disk.size == 8 << 40)
        #expect(kind { _ = try disk.resize(to: Disks.sizeLimit + 1) } == .tooLarge)
        #expect(
            await failure { try await disk.writeWaiting([1], at: Disks.sizeLimit) }?.kind
                == .tooLarge
        )
        _ = try disk.resize(to: 0)
        #expect(disk.size == 0)
    }
}
