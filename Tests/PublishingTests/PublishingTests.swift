import CCNx
import Failures
import Images
import Profiles
import Publishing
import Signing
import Store
import Templates
import TestSupport
import Testing

/// Segments A at 0 and 300, B at 5, C as the last but one, all else zeros; 2 MiB.
private let sparse = SparseImage(
    size: 2 << 20,
    segments: [(0, 1), (5, 2), (300, 1), (510, 3)]
)

struct PublishingTests {
    @Test func storesEachDistinctSegmentThatIsNotZerosOnce() async throws {
        let scene = try PublishingScene()
        let report = try await scene.publish(sparse)

        let disk = try #require(report.disks.first)
        #expect(report.version == 1)
        #expect(disk.size == 2 << 20)
        #expect(disk.segments == 4)
        #expect(disk.holes == 512 - 4)
        #expect(disk.newSegments == 3)
        #expect(disk.knownSegments == 1)
        #expect(disk.newBytes == 3 * 4096)
        #expect(disk.knownBytes == 4096)
        #expect(try scene.store.published.usage().segmentCount == 3)
        #expect(try await scene.bytes() == sparse.bytes)
    }

    @Test func storesNothingOfTheSameBytesAgain() async throws {
        let scene = try PublishingScene()
        let first = try await scene.publish(sparse)
        let second = try await scene.publish(sparse)

        #expect(second.version == 2)
        #expect(second.disks[0].newSegments == 0)
        #expect(second.disks[0].knownSegments == 4)
        #expect(second.disks[0].root == first.disks[0].root)
        #expect(try scene.store.published.usage().segmentCount == 3)
        let record = try scene.templates.served(PublishingScene.template, version: nil).record
        #expect(record.version == 2)
        #expect(record.parentVersion == 1)
        #expect(record.time == PublishingScene.now)
    }

    @Test func sharesSegmentsOfDifferentTemplates() async throws {
        let scene = try PublishingScene()
        try await scene.publish(sparse)
        let other = SparseImage(size: 1 << 20, segments: [(7, 2), (8, 4)])
        let report = try await scene.publish(other, as: PublishingScene.otherTemplate)

        #expect(report.version == 1)
        #expect(report.disks[0].newSegments == 1)
        #expect(try await scene.bytes(PublishingScene.otherTemplate) == other.bytes)
    }

    @Test func storesNothingInADryRun() async throws {
        let scene = try PublishingScene()
        let report = try await scene.publish(sparse, isDryRun: true)

        #expect(report.isDryRun)
        #expect(report.version == 1)
        #expect(report.disks[0].newSegments == 3)
        let usage = try scene.store.published.usage()
        #expect(usage.segmentCount == 0)
        #expect(usage.smallObjectCount == 0)
        #expect(usage.imageByteCount == 0)
        #expect(try scene.showsNothing())
        let real = try await scene.publish(sparse)
        #expect(real.disks[0].root == report.disks[0].root)
    }

    @Test(arguments: ContentDescriptor.segmentSizes)
    func publishesInSegmentsOf(_ segmentSize: Int) async throws {
        let scene = try PublishingScene()
        var image = SparseImage(size: 3 << 20 | 512)
        image.put(9, at: 123_456, byteCount: 300_000)
        image.put(10, at: (3 << 20) + 12, byteCount: 500)
        let report = try await scene.publish(image, segmentSize: segmentSize)

        #expect(report.disks[0].segments * segmentSize >= 300_000)
        let record = try scene.templates.served(PublishingScene.template, version: 1).record
        #expect(record.disks[0].content.segmentSize == segmentSize)
        #expect(try await scene.bytes() == image.bytes)
    }

    @Test(arguments: [0, 512, 2048, 4095, 65_536])
    func refusesSegmentsOf(_ segmentSize: Int) async throws {
        let scene = try PublishingScene()
        let failure = await failure { try await scene.publish(sparse, segmentSize: segmentSize) }
        #expect(failure?.kind == .usage)
        #expect(try scene.showsNothing())
    }

    @Test func publishesADiskOfZeros() async throws {
        let scene = try PublishingScene()
        let report = try await scene.publish(SparseImage(size: 1 << 20))

        #expect(report.disks[0].segments == 0)
        #expect(report.disks[0].holes == 256)
        #expect(report.disks[0].root == ObjectId.hole.hex)
        #expect(try await scene.bytes() == [UInt8](repeating: 0, count: 1 << 20))
    }

    // MARK: Streams

    @Test func publishesAStreamAsItPublishesAFile() async throws {
        let scene = try PublishingScene()
        let file = try await scene.publish(sparse)
        let report = try await scene.publish(
            PublishingScene.streamRequest(),
            stream: ByteStream(sparse.bytes).stream
        )

        #expect(report.version == 2)
        #expect(report.disks[0].root == file.disks[0].root)
        #expect(report.disks[0].size == file.disks[0].size)
        #expect(report.disks[0].newSegments == 0)
    }

    @Test(arguments: [0, 1, 511, 513, (1 << 20) - 1, (1 << 20) + 100])
    func refusesAStreamThatIsNoDisk(byteCount: Int) async throws {
        let scene = try PublishingScene()
        let failure = await failure {
            try await scene.publish(
                PublishingScene.streamRequest(),
                stream: ByteStream(SparseImage.bytes(1, count: byteCount)).stream
            )
        }
        #expect(failure?.kind == .invalid)
        #expect(failure?.message.contains("\(byteCount) bytes") == true)
        #expect(try scene.showsNothing())
    }

    @Test func refusesAStreamThatIsNotThere() async throws {
        let scene = try PublishingScene()
        let failure = await failure { try await scene.publish(PublishingScene.streamRequest()) }
        #expect(failure?.kind == .usage)
    }

    // MARK: What is refused

    @Test func refusesAnUntrustedKeyBeforeAnythingIsRead() async throws {
        let scene = try PublishingScene(trusts: false)
        let stream = ByteStream(sparse.bytes)
        let failure = await failure {
            try await scene.publish(PublishingScene.streamRequest(), stream: stream.stream)
        }
        #expect(failure?.kind == .untrusted)
        #expect(failure?.message.contains("\(scene.key.publicKey.keyId)") == true)
        #expect(failure?.hint?.contains("ccnfs trust add ccnx:/mycorp.com ") == true)
        #expect(stream.byteCountRead == 0)
        #expect(try scene.store.published.usage().segmentCount == 0)
        #expect(try scene.showsNothing())
    }

    @Test func refusesAKeyThatIsTrustedForAnotherPrefix() async throws {
        let scene = try PublishingScene(trusts: false)
        try scene.trust(scene.key.publicKey, for: PublishingScene.otherTemplate.prefix(2))
        let refused = await failure { try await scene.publish(sparse) }
        #expect(refused?.kind == .untrusted)
        try await scene.publish(sparse, as: PublishingScene.otherTemplate)
        #expect(try await scene.bytes(PublishingScene.otherTemplate) == sparse.bytes)
    }

    @Test func refusesANamespaceThatAnotherRepositoryHas() async throws {
        let scene = try PublishingScene()
        try scene.database.commit(
            catalog: CatalogRow(
                namespace: PublishingScene.namespace,
                serial: 7,
                object: ObjectId(of: [1]),
                publishedHere: false,
                expires: PublishingScene.now + 1000
            ),
            versions: [],
            tags: []
        )
        let stream = ByteStream(sparse.bytes)
        let published = await failure {
            try await scene.publish(PublishingScene.streamRequest(), stream: stream.stream)
        }
        #expect(published?.kind == .readOnly)
        #expect(stream.byteCountRead == 0)
        #expect(await failure { try scene.tag("stable", 1) }?.kind == .readOnly)
        #expect(try scene.database.catalogs().map(\.serial) == [7])
    }

    @Test(arguments: ["", ".hidden", "@object", "template.json", "a/b", "a\nb", "disk0"])
    func refusesACarriedFileNamed(_ name: String) async throws {
        let scene = try PublishingScene()
        let failure = await failure {
            try await scene.publish(sparse, files: [.init(name: name, bytes: [1])])
        }
        #expect(failure?.kind == (name == "disk0" ? .usage : .invalid))
        #expect(try scene.store.published.usage().segmentCount == 0)
        #expect(try scene.showsNothing())
    }

    @Test func refusesMoreThanALimit() async throws {
        let scene = try PublishingScene()
        let disks = (0...PublishRequest.diskLimit).map {
            PublishRequest.DiskSource(name: "disk\($0)", path: "/none", format: .raw)
        }
        let many = await failure {
            try await scene.publish(
                PublishRequest(template: PublishingScene.template, disks: disks)
            )
        }
        #expect(many?.kind == .tooLarge)
        let none = await failure {
            try await scene.publish(PublishRequest(template: PublishingScene.template, disks: []))
        }
        #expect(none?.kind == .usage)
        let long = [UInt8](repeating: 1, count: PublishRequest.fileByteLimit + 1)
        let large = await failure {
            try await scene.publish(sparse, files: [.init(name: "large", bytes: long)])
        }
        #expect(large?.kind == .tooLarge)
        #expect(try scene.showsNothing())
    }

    @Test(arguments: ["ccnx:/mycorp.com", "ccnx:/localhost/vm", "ccnx:/mycorp.com/@object"])
    func refusesATemplateNamed(_ uri: String) async throws {
        let scene = try PublishingScene()
        let name = try Name(uri: uri)
        #expect(await failure { try await scene.publish(sparse, as: name) }?.kind == .invalid)
    }

    @Test func makesNothingVisibleOfARecordThatIsNotSigned() async throws {
        let scene = try PublishingScene()
        let stranger = try PublishingScene.strangerKey.get()
        let signer = WrongSigner(publicKey: scene.key.publicKey, key: stranger)
        let path = scene.path("image.raw")
        try sparse.write(to: path)
        // The namespace has a catalog already: only the record is signed.
        try await scene.publish(sparse, as: PublishingScene.otherTemplate)
        let failure = await failure {
            try await scene.publisher.publish(
                PublishRequest(
                    template: PublishingScene.template,
                    disks: [.init(name: "disk0", path: path, format: .raw)]
                ),
                signer: signer,
                stream: nil,
                now: PublishingScene.now
            ) { _ in }
        }
        #expect(failure?.kind == .untrusted)
        #expect(scene.templates.template(named: PublishingScene.template) == nil)
        #expect(try scene.database.versions().count == 1)
    }

    // MARK: Carried files

    @Test(arguments: [0, 1, 100, 32 << 10, (32 << 10) + 1, 200_000])
    func carriesFilesAlong(byteCount: Int) async throws {
        let scene = try PublishingScene()
        let bytes = SparseImage.bytes(5, count: byteCount)
        let zeros = [UInt8](repeating: 0, count: byteCount)
        try await scene.publish(
            sparse,
            files: [.init(name: "domain.xml", bytes: bytes), .init(name: "zeros", bytes: zeros)]
        )

        #expect(try await scene.bytes(of: "domain.xml") == bytes)
        #expect(try await scene.bytes(of: "zeros") == zeros)
        let record = try scene.templates.served(PublishingScene.template, version: 1).record
        #expect(record.files.map(\.name) == ["domain.xml", "zeros"])
        #expect(record.disks.map(\.name) == ["disk0"])
    }

    @Test func publishesSeveralDisksAtOneMoment() async throws {
        let scene = try PublishingScene()
        let second = SparseImage(size: 1 << 20, segments: [(1, 1), (2, 8)])
        for (name, image) in [("a.raw", sparse), ("b.raw", second)] {
            try image.write(to: scene.path(name))
        }
        let report = try await scene.publish(
            PublishRequest(
                template: PublishingScene.template,
                disks: [
                    .init(name: "disk0", path: scene.path("a.raw"), format: nil),
                    .init(name: "disk1", path: scene.path("b.raw"), format: nil),
                ],
                properties: ["arch": "x86_64"],
                segmentSize: 4096
            )
        )
        #expect(report.version == 1)
        #expect(report.disks.map(\.newSegments) == [3, 1])
        #expect(try await scene.bytes(of: "disk0") == sparse.bytes)
        #expect(try await scene.bytes(of: "disk1") == second.bytes)
        let record = try scene.templates.served(PublishingScene.template, version: 1).record
        #expect(record.properties == ["arch": "x86_64"])
    }
}

/// Signs with another key than the one it shows.
struct WrongSigner: Signer {
    let publicKey: PublicKey
    let key: PrivateKey

    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        try await KeySigner(key).sign(
            object,
            signatureTimeMilliseconds: signatureTimeMilliseconds
        )
    }
}
