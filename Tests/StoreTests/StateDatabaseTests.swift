import CCNx
import Failures
import Files
import Foundation
import Store
import TestSupport
import Testing

@Suite struct StateDatabaseTests {
    private static let attributes = OwnedAttributes(
        mode: 0o640,
        userId: 1000,
        groupId: 107,
        modified: 1_700_000_000_123_456_789
    )
    private static let app1 = Name(segments: [.name("mycorp.com"), .name("app1"), .name("vm")])
    private static let app2 = Name(segments: [.name("mycorp.com"), .name("app 2/ü")])
    private static let corp = Name(segments: [.name("mycorp.com")])

    private func database(_ folder: TemporaryFolder) throws -> StateDatabase {
        try StateDatabase(path: "\(folder.path)/state.sqlite")
    }

    private func disk(_ id: Int64, vm: Int64, named name: String = "disk0") -> DiskRow {
        DiskRow(
            id: id,
            vm: vm,
            name: name,
            size: 1 << 40,
            attributes: Self.attributes,
            overlay: id + 1000
        )
    }

    private func extent(_ start: Int, _ byteCount: Int) -> ExtentRow {
        ExtentRow(
            start: start,
            byteCount: byteCount,
            sourceStart: start + 4096,
            source: .content(
                .init(
                    root: ObjectId(of: [UInt8(start % 251)]),
                    size: 8 << 40,
                    segmentSize: 32768,
                    levels: 3,
                    prefix: Self.app2
                )
            )
        )
    }

    // MARK: Rows

    @Test func keepsVMsDisksAndExtents() throws {
        let folder = try TemporaryFolder()
        var vm = VMRow(
            id: 7,
            name: "web-01",
            attributes: Self.attributes,
            created: 1_700_000_000,
            template: Self.app1,
            templateVersion: 3
        )
        var disk0 = disk(Int64.max - 1000, vm: 7)
        let disk1 = disk(12, vm: 7, named: "disk1")
        let extents = [extent(0, 4096), extent(8192, 1 << 33)]
        do {
            let database = try database(folder)
            try database.insert(vm, disks: [.init(disk0, extents: extents)])
            try database.insert(.init(disk1))
        }
        var database = try database(folder)
        #expect(try database.vms() == [vm])
        #expect(try database.disks() == [disk0, disk1])
        #expect(try database.extents(of: disk0.overlay) == extents)
        #expect(try database.extents(of: disk1.overlay).isEmpty)

        vm.name = "web-02"
        vm.template = nil
        vm.templateVersion = nil
        vm.attributes.mode = 0o700
        try database.update(vm)
        disk0.size = 5
        disk0.failure = "the disk is broken"
        disk0.name = "root"
        try database.update(
            disk0,
            extents: [extent(4096, 4096)],
            mapPages: [MapPageRow(page: 2, states: [UInt8](repeating: 1, count: 1024))],
            durably: true
        )
        database = try self.database(folder)
        #expect(try database.vms() == [vm])
        #expect(try database.disks().first { $0.id == disk0.id } == disk0)
        #expect(try database.extents(of: disk0.overlay) == [extent(4096, 4096)])
        #expect(
            try database.mapPages(of: disk0.overlay) == [
                MapPageRow(page: 2, states: [UInt8](repeating: 1, count: 1024))
            ]
        )

        #expect(try database.deleteDisk(disk0))
        #expect(try database.deleteDisk(disk1))
        try database.deleteVM(vm.id)
        #expect(try database.vms().isEmpty)
        #expect(try database.disks().isEmpty)
        #expect(try database.extents(of: disk0.overlay).isEmpty)
        #expect(try database.mapPages(of: disk0.overlay).isEmpty)
        #expect(try database.integrityProblems().isEmpty)
    }

    @Test func keepsNothingOfAVMThatCannotBeMadeWhole() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        let vm = VMRow(id: 1, name: "a", attributes: Self.attributes, created: 1)
        let twice = [disk(1, vm: 1), disk(2, vm: 1)].map { StateDatabase.NewDisk($0) }
        #expect(kind { try database.insert(vm, disks: twice) } != nil)
        #expect(try database.vms().isEmpty)
        #expect(try database.disks().isEmpty)
        try database.insert(vm)
        let sameName = VMRow(id: 2, name: "a", attributes: Self.attributes, created: 1)
        #expect(kind { try database.insert(sameName) } != nil)
        #expect(try database.vms() == [vm])
        let ofNobody = disk(3, vm: 99)
        #expect(kind { try database.insert(.init(ofNobody)) } != nil)
    }

    @Test func commitsMapPagesOfSeveralDisksAtOnce() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        try database.insert(VMRow(id: 1, name: "a", attributes: Self.attributes, created: 1))
        var disks = [disk(1, vm: 1), disk(2, vm: 1, named: "disk1")]
        for disk in disks { try database.insert(.init(disk)) }
        let page = [UInt8](repeating: 0x55, count: 1024)
        disks[1].attributes.modified += 5
        disks[1].size = 1
        try database.commit(
            mapPages: [
                (
                    overlay: 1001,
                    pages: [.init(page: 0, states: page), .init(page: 9, states: page)]
                ),
                (overlay: 1002, pages: [.init(page: 3, states: page)]),
            ],
            modified: disks
        )
        #expect(try database.mapPages(of: 1001).map(\.page) == [0, 9])
        #expect(try database.mapPages(of: 1002) == [MapPageRow(page: 3, states: page)])
        let row = try #require(try database.disks().first { $0.id == 2 })
        #expect(row.attributes.modified == Self.attributes.modified + 5)
        // Only the time of change travels with a flush.
        #expect(row.size == 1 << 40)
        try database.commit(
            mapPages: [(overlay: 1001, pages: [.init(page: 0, states: [])])],
            modified: []
        )
        #expect(try database.mapPages(of: 1001).map(\.page) == [9])
        #expect(try database.mapPages(of: 1002).count == 1)
    }

    @Test func knowsWhetherACommitMightNotOutliveAPowerCut() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        try database.insert(VMRow(id: 1, name: "a", attributes: Self.attributes, created: 1))
        #expect(database.hasUndurableCommits)
        try database.synchronize()
        #expect(!database.hasUndurableCommits)
        try database.insert(.init(disk(1, vm: 1)))
        #expect(database.hasUndurableCommits)
        try database.commit(mapPages: [], modified: [])
        #expect(!database.hasUndurableCommits)
    }

    @Test func keepsSnapshotsOnlyOnceTheyAreComplete() throws {
        let folder = try TemporaryFolder()
        let database = try StateDatabase(path: "\(folder.path)/state.sqlite")
        let attributes = OwnedAttributes(mode: 0o600, userId: 1, groupId: 2, modified: 3)
        try database.insert(
            VMRow(id: 1, name: "a", attributes: attributes, created: 1),
            disks: [
                .init(
                    DiskRow(
                        id: 5,
                        vm: 1,
                        name: "disk0",
                        size: 8192,
                        attributes: attributes,
                        overlay: 50
                    )
                )
            ]
        )
        var disk = try #require(try database.disks().first)
        disk.overlay = 51
        let below = ExtentRow(start: 0, byteCount: 8192, sourceStart: 0, source: .overlay(50))
        let snapshot = SnapshotRow(id: 9, vm: 1, name: "s", created: 4)
        let frozen = SnapshotDiskRow(
            id: 10,
            snapshot: 9,
            name: "disk0",
            size: 8192,
            attributes: attributes,
            overlay: 50
        )
        try database.freeze(
            [.init(disk: disk, frozen: 50, extents: [below], directory: "/elsewhere")],
            as: snapshot,
            with: [frozen]
        )
        #expect(try database.disks() == [disk])
        #expect(try database.extents(of: 51) == [below])
        #expect(try database.snapshots() == [snapshot])
        #expect(try database.snapshotDisks() == [frozen])
        try database.commit(mapPages: [], completing: 9)
        #expect(try database.snapshots().map(\.isComplete) == [true])
        // The overlay of a deleted disk stays for the snapshot that shows what is below it.
        #expect(try database.deleteDisk(disk))
        #expect(try database.overlays().map(\.id) == [50])
        try database.deleteSnapshots([9])
        try database.deleteOverlays([50])
        #expect(try database.overlays().isEmpty)
        #expect(try database.integrityProblems().isEmpty)
    }

    @Test func keepsTrust() throws {
        let folder = try TemporaryFolder()
        let entries = [Self.corp, Self.app1].map { prefix in
            TrustEntry(
                prefix: prefix,
                publicKeyDER: [1, 2, 3],
                keyId: KeyId(ObjectId(of: [1]).digest)
            )
        }
        do {
            let database = try database(folder)
            for entry in entries { #expect(try database.addTrust(entry, now: 5)) }
            #expect(try database.addTrust(entries[0], now: 6) == false)
        }
        let database = try database(folder)
        #expect(try database.trustEntries() == entries)
        #expect(try database.removeTrust(prefix: Self.corp, keyId: entries[0].keyId))
        #expect(try database.removeTrust(prefix: Self.corp, keyId: entries[0].keyId) == false)
        #expect(try database.trustEntries() == [entries[1]])
    }

    @Test func addsToTheRightsOfAKey() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        func entry(_ rights: TrustRights) -> TrustEntry {
            TrustEntry(
                prefix: Self.corp,
                publicKeyDER: [1, 2, 3],
                keyId: KeyId(ObjectId(of: [1]).digest),
                rights: rights
            )
        }
        #expect(try database.addTrust(entry(.manage), now: 5))
        #expect(try database.trustEntries() == [entry(.manage)])
        #expect(try database.addTrust(entry([.manage, .operate]), now: 6))
        #expect(try database.addTrust(entry(.operate), now: 7) == false)
        #expect(try database.trustEntries() == [entry([.manage, .operate])])
        #expect(try TrustRights(names: ["node", "publish"]) == [.publish, .node])
        #expect(TrustRights([.publish, .node]).names == ["publish", "node"])
        #expect(kind { _ = try TrustRights(names: ["manage", "everything"]) } == .usage)
    }

    // MARK: Requests from elsewhere

    @Test func remembersRequestsForAsLongAsItIsTold() throws {
        let folder = try TemporaryFolder()
        func note(_ number: UInt8, now: Int, limit: Int = 2) throws -> Bool {
            try database(folder).noteManagementRequest(
                ObjectId(of: [number]),
                now: now,
                memory: 600,
                limit: limit
            )
        }
        // Each opens the database anew, as a node does that was killed.
        #expect(try note(1, now: 1_000))
        #expect(try note(1, now: 1_001) == false)
        #expect(try note(1, now: 1_599) == false)
        #expect(try note(2, now: 1_599))
        #expect(kind { _ = try note(3, now: 1_599) } == .busy)
        #expect(try note(3, now: 1_600))
        #expect(try note(2, now: 1_600) == false)
        // A clock that was put back keeps nobody out, and forgets nothing until it is right again.
        #expect(try note(4, now: 100))
        #expect(try note(3, now: 1_601) == false)
    }

    // MARK: Catalogs

    private func catalog(_ namespace: Name, serial: Int) -> CatalogRow {
        CatalogRow(
            namespace: namespace,
            serial: serial,
            object: ObjectId(of: [UInt8(serial)]),
            publishedHere: true,
            expires: 1_800_000_000
        )
    }

    private func version(_ name: Name, _ number: Int, withdrawn: Int? = nil) -> VersionRow {
        VersionRow(
            template: name,
            version: number,
            record: ObjectId(of: [UInt8(number)]),
            publishedHere: false,
            withdrawn: withdrawn
        )
    }

    @Test func keepsWhatACatalogSays() throws {
        let folder = try TemporaryFolder()
        let versions = [
            version(Self.app2, 1, withdrawn: 99), version(Self.app1, 1), version(Self.app1, 2),
        ]
        let tags = [TagRow(template: Self.app1, tag: "stable", version: 1)]
        do {
            try database(folder).commit(
                catalog: catalog(Self.corp, serial: 4),
                versions: versions,
                tags: tags
            )
        }
        let database = try database(folder)
        #expect(try database.catalogs() == [catalog(Self.corp, serial: 4)])
        #expect(Set(try database.versions().map(\.record)) == Set(versions.map(\.record)))
        #expect(try database.versions().contains(versions[0]))
        #expect(try database.versions().contains(versions[2]))
        #expect(try database.tags() == tags)
    }

    // MARK: Mirrors

    private func mirror(_ namespace: Name, isFromSettings: Bool = false) -> MirrorRow {
        MirrorRow(
            namespace: namespace,
            source: "tcp:\(namespace.segments.count):9695",
            intervalMilliseconds: 60_000,
            isFromSettings: isFromSettings
        )
    }

    private static let otherCorp = Name(segments: [.name("other.org")])

    @Test func keepsWhatIsMirroredAndFromWhere() throws {
        let folder = try TemporaryFolder()
        let row = mirror(Self.corp)
        try database(folder).setMirror(row)
        let database = try database(folder)
        #expect(try database.mirrors() == [row])
        #expect(try database.mirrorSource(of: Self.corp) == row.source)
        #expect(try database.mirrorSource(of: Self.otherCorp) == nil)
        var changed = row
        changed.source = "tcp:elsewhere:9695"
        try database.setMirror(changed)
        #expect(try database.mirrors() == [changed])
        #expect(try database.removeMirror(Self.corp))
        #expect(try database.removeMirror(Self.corp) == false)
        #expect(try database.mirrorSource(of: Self.corp) == nil)
    }

    @Test func mirrorsOfTheSettingsAreThoseOfTheSettings() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        let third = Name(segments: [.name("third.org")])
        try database.setMirror(mirror(third))
        let first = [mirror(Self.corp, isFromSettings: true)]
        #expect(try database.setMirrorsOfSettings(first).isEmpty)
        #expect(try database.setMirrorsOfSettings(first).isEmpty)
        #expect(try database.mirrors() == first + [mirror(third)])
        // What a command made goes over to the settings that name it.
        let second = [
            mirror(Self.otherCorp, isFromSettings: true), mirror(third, isFromSettings: true),
        ]
        #expect(try database.setMirrorsOfSettings(second).isEmpty)
        #expect(try database.mirrors() == second)
        #expect(try database.setMirrorsOfSettings([]).isEmpty)
        #expect(try database.mirrors().isEmpty)
    }

    @Test func whatIsPublishedHereIsNoMirror() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        try database.commit(catalog: catalog(Self.corp, serial: 1), versions: [], tags: [])
        #expect(kind { try database.setMirror(mirror(Self.corp)) } == .readOnly)
        let wanted = [Self.corp, Self.otherCorp].map { mirror($0, isFromSettings: true) }
        #expect(try database.setMirrorsOfSettings(wanted) == [Self.corp])
        #expect(try database.mirrors().map(\.namespace) == [Self.otherCorp])
        var foreign = catalog(Self.corp, serial: 9)
        foreign.publishedHere = false
        for source in [nil, "tcp:a:9695"] {
            foreign.mirroredFrom = source
            #expect(
                kind { try database.commit(catalog: foreign, versions: [], tags: []) } == .readOnly
            )
        }
        #expect(try database.catalogs() == [catalog(Self.corp, serial: 1)])
    }

    @Test func aMirrorTakesOverTheCatalogThatItFollowed() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        var row = catalog(Self.corp, serial: 4)
        row.publishedHere = false
        try database.commit(catalog: row, versions: [version(Self.app1, 1)], tags: [])
        #expect(kind { try database.commit(catalog: row, versions: [], tags: []) } == .busy)
        row.mirroredFrom = "tcp:a:9695"
        try database.commit(catalog: row, versions: [version(Self.app1, 1)], tags: [])
        #expect(try database.catalogs() == [row])
        #expect(try database.mirrorSource(of: Self.corp) == "tcp:a:9695")
        // Another of the same serial, or an older one, is not taken over.
        for serial in [3, 4] {
            var other = catalog(Self.corp, serial: serial)
            other.publishedHere = false
            other.mirroredFrom = "tcp:a:9695"
            other.object = ObjectId(of: [99])
            #expect(kind { try database.commit(catalog: other, versions: [], tags: []) } == .busy)
        }
        // Nor one that is only followed, however new.
        var followed = catalog(Self.corp, serial: 5)
        followed.publishedHere = false
        #expect(kind { try database.commit(catalog: followed, versions: [], tags: []) } == .busy)
        // Nor is the mirror published upon.
        #expect(
            kind {
                try database.commit(catalog: catalog(Self.corp, serial: 5), versions: [], tags: [])
            } == .readOnly
        )
        #expect(try database.removeMirror(Self.corp))
        #expect(try database.catalogs().map(\.mirroredFrom) == [nil])
        #expect(try database.versions().count == 1)
    }

    @Test func replacesAllOfANamespaceAndNothingOfAnother() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        let other = Name(segments: [.name("mycorp.com.au")])
        let foreign = other.appending(.name("vm"))
        try database.commit(
            catalog: catalog(other, serial: 1),
            versions: [version(foreign, 1)],
            tags: [TagRow(template: foreign, tag: "t", version: 1)]
        )
        try database.commit(
            catalog: catalog(Self.corp, serial: 1),
            versions: [version(Self.app1, 1), version(Self.app2, 1)],
            tags: [TagRow(template: Self.app1, tag: "old", version: 1)]
        )
        try database.commit(
            catalog: catalog(Self.corp, serial: 2),
            versions: [version(Self.app1, 2)],
            tags: []
        )
        #expect(try database.versions().map(\.template) == [foreign, Self.app1])
        #expect(try database.versions().map(\.version) == [1, 2])
        #expect(try database.tags().map(\.tag) == ["t"])
        #expect(try database.catalogs().count == 2)
    }

    @Test func replacesATemplateThatHasTheNameOfItsNamespace() throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        for serial in 1...2 {
            try database.commit(
                catalog: catalog(Self.app1, serial: serial),
                versions: [version(Self.app1, 1)],
                tags: [TagRow(template: Self.app1, tag: "t", version: 1)]
            )
        }
        #expect(try database.versions().count == 1)
    }

    @Test(arguments: [3, 2, 1])
    func refusesASerialThatIsNotHigher(_ serial: Int) throws {
        let folder = try TemporaryFolder()
        let database = try database(folder)
        try database.commit(
            catalog: catalog(Self.corp, serial: 3),
            versions: [version(Self.app1, 1)],
            tags: []
        )
        #expect(
            kind {
                try database.commit(
                    catalog: catalog(Self.corp, serial: serial),
                    versions: [],
                    tags: []
                )
            } == .busy
        )
        #expect(try database.catalogs() == [catalog(Self.corp, serial: 3)])
        #expect(try database.versions() == [version(Self.app1, 1)])
        try database.commit(catalog: catalog(Self.corp, serial: 4), versions: [], tags: [])
        #expect(try database.versions().isEmpty)
    }
}
