import CCNx
import Disks
import Failures
import Profiles
import Publishing
import Store
import Templates
import TestSupport
import Testing

@testable import Publishing

struct ConcurrentPublishTests {
    private static func image(_ seed: UInt64) -> SparseImage {
        SparseImage(size: 1 << 20, segments: [(0, seed), (100, seed + 1), (200, 77)])
    }

    @Test func publishesOfTheSameNameGetVersionsOfTheirOwn() async throws {
        let scene = try PublishingScene()
        let reports = try await withThrowingTaskGroup { group in
            for number in 0..<4 {
                group.addTask { try await scene.publish(Self.image(UInt64(number) * 10 + 1)) }
            }
            var reports: [PublishReport] = []
            for try await report in group { reports.append(report) }
            return reports
        }
        #expect(Set(reports.map(\.version)) == [1, 2, 3, 4])
        let template = try scene.templates.existing(PublishingScene.template)
        #expect(template.versions.map(\.number) == [1, 2, 3, 4])
        for report in reports {
            let record = try scene.templates.served(
                PublishingScene.template,
                version: report.version
            ).record
            #expect(record.disks[0].content.root.hex == report.disks[0].root)
        }
    }

    @Test func publishesOfDifferentNamesAreAllVisible() async throws {
        let scene = try PublishingScene()
        for round in 1...4 {
            async let one = scene.publish(Self.image(UInt64(round) * 100))
            async let other = scene.publish(
                Self.image(UInt64(round) * 100 + 50),
                as: PublishingScene.otherTemplate
            )
            let versions = try await [one.version, other.version]
            #expect(versions == [round, round])
            for name in [PublishingScene.template, PublishingScene.otherTemplate] {
                let template = try scene.templates.existing(name)
                #expect(template.versions.map(\.number) == Array(1...round))
                #expect(template.versions.allSatisfy { $0.problem == nil })
            }
        }
    }

    @Test func publishesOfTheSameBytesShareThem() async throws {
        let scene = try PublishingScene()
        async let one = scene.publish(Self.image(1))
        async let other = scene.publish(Self.image(1), as: PublishingScene.otherTemplate)
        let roots = try await [one.disks[0].root, other.disks[0].root]
        #expect(roots[0] == roots[1])
        #expect(try scene.store.published.usage().segmentCount == 3)
        #expect(try await scene.bytes() == Self.image(1).bytes)
    }
}

struct ReclaimTests {
    private static let first = SparseImage(
        size: 1 << 20,
        segments: [(0, 1), (10, 2), (20, 3)]
    )
    private static let second = SparseImage(size: 1 << 20, segments: [(0, 1), (30, 4)])

    /// Two versions that share a segment; the first is withdrawn.
    private func scene() async throws -> PublishingScene {
        let scene = try PublishingScene()
        try await scene.publish(Self.first)
        try await scene.publish(Self.second)
        try scene.withdraw(1)
        return scene
    }

    @Test func freesWhatNothingRefersTo() async throws {
        let scene = try await scene()
        let report = try await scene.reclaim()
        #expect(report.freedSegments == 2)
        #expect(report.freedBytes == 2 * 4096)
        #expect(try scene.store.published.usage().segmentCount == 2)
        #expect(try await scene.bytes() == Self.second.bytes)
        #expect(await failure { try await scene.bytes(version: 1) }?.kind == .notFound)

        let again = try await scene.reclaim()
        #expect(again == Reclaimer.Report())
    }

    @Test func freesNothingThatIsListed() async throws {
        let scene = try PublishingScene()
        try await scene.publish(Self.first, files: [.init(name: "domain.xml", bytes: [1, 2])])
        try await scene.publish(Self.second)
        try scene.tag("stable", 1)
        // Only the catalogs before the newest and their listings go.
        let report = try await scene.reclaim()
        #expect(report.freedSegments == 0)
        #expect(try await scene.bytes(version: 1) == Self.first.bytes)
        #expect(try await scene.bytes(version: 2) == Self.second.bytes)
        #expect(try await scene.bytes(of: "domain.xml", version: 1) == [1, 2])
        try scene.templates.reload()
        #expect(try scene.templates.existing(PublishingScene.template).tags == ["stable": 1])
    }

    @Test func keepsWhatADiskMapsTo() async throws {
        let scene = try PublishingScene()
        try await scene.publish(Self.first)
        try scene.deploy("vm")
        try await scene.publish(Self.second)
        try scene.withdraw(1)
        #expect(try await scene.reclaim().freedSegments == 0)
        let disk = try #require(scene.machines.disk("disk0", of: "vm"))
        #expect(try await disk.read(at: 0, byteCount: 1 << 20) == Self.first.bytes)

        try scene.machines.removeDisk("disk0", of: "vm")
    }

    @Test func freesWhatADiskMappedToOnceItIsGone() async throws {
        let scene = try PublishingScene()
        try await scene.publish(Self.first)
        try scene.deploy("vm")
        try scene.withdraw(1)
        #expect(try await scene.reclaim().freedSegments == 0)
        try scene.machines.removeDisk("disk0", of: "vm")
        #expect(try await scene.reclaim().freedSegments == 3)
    }

    @Test func keepsWhatIsOpen() async throws {
        let scene = try PublishingScene()
        try await scene.publish(Self.first)
        let record = try scene.templates.served(PublishingScene.template, version: 1).record
        do {
            let open = scene.templates.content(
                record.disks[0].content,
                prefix: PublishingScene.template
            )
            try scene.withdraw(1)
            #expect(try await scene.reclaim().freedSegments == 0)
            #expect(try await open.read(at: 0, byteCount: 1 << 20) == Self.first.bytes)
        }
        #expect(try await scene.reclaim().freedSegments == 3)
    }

    @Test func publishesAgainWhatWasFreed() async throws {
        let scene = try await scene()
        _ = try await scene.reclaim()
        let report = try await scene.publish(Self.first)
        #expect(report.version == 3)
        #expect(report.disks[0].newSegments == 2)
        #expect(try await scene.bytes() == Self.first.bytes)
    }

    @Test func reclaimsNothingWhileAPublishIsUnderWay() async throws {
        let scene = try await scene()
        let bytes = Self.first.bytes
        let source = ByteStream(bytes)
        let report = try await scene.publish(
            PublishingScene.streamRequest(),
            stream: { (byteCount) async throws(Failure) in
                let failure = await failure { try await scene.reclaim() }
                guard failure?.kind == .busy else { throw Failure(.invalid, "it reclaimed") }
                return try await source.stream(byteCount)
            }
        )
        #expect(report.version == 3)
        #expect(try await scene.bytes() == bytes)
    }

    @Test func changesNothingWhileSpaceIsReclaimed() async throws {
        let scene = try await scene()
        let stream = ByteStream(Self.first.bytes)
        try await scene.gate.whileNothingChanges { () async throws(Failure) in
            let published = await failure {
                try await scene.publish(PublishingScene.streamRequest(), stream: stream.stream)
            }
            #expect(published?.kind == .busy)
            // A tag makes a listing and a catalog, which a reclaim would not know yet.
            #expect(await failure { try scene.tag("stable", 2) }?.kind == .busy)
            #expect(await failure { try await scene.reclaim() }?.kind == .busy)
        }
        #expect(stream.byteCountRead == 0)
        try scene.tag("stable", 2)
        #expect(try await scene.reclaim().freedSegments == 2)
    }

    /// A VM that was made of a version right before that was withdrawn has to be seen.
    @Test func looksAtWhatIsInUseOnceNothingCanBeWithdrawn() async throws {
        let scene = try await scene()
        let reclaimer = Reclaimer(
            local: scene.store,
            database: scene.database,
            gate: scene.gate,
            reserve: scene.reserve
        )
        func checkNothingIsWithdrawn() {
            do throws(Failure) {
                try scene.withdraw(2)
                Issue.record("a version was withdrawn while space is reclaimed")
            } catch {
                #expect(error.kind == .busy)
            }
        }
        let report = try await reclaimer.reclaim(
            templates: scene.templates,
            keeping: { () throws(Failure) in
                checkNothingIsWithdrawn()
                return try scene.machines.contentsInUse()
            },
            and: { () throws(Failure) in
                checkNothingIsWithdrawn()
                return []
            }
        )
        #expect(report.freedSegments == 2)
        #expect(try await scene.bytes() == Self.second.bytes)
    }

    @Test func failedPublishLetsReclaimGoOn() async throws {
        let scene = try await scene()
        _ = await failure {
            try await scene.publish(
                PublishingScene.streamRequest(),
                stream: ByteStream([], failsAt: 0).stream
            )
        }
        #expect(try await scene.reclaim().freedSegments == 2)
    }
}
