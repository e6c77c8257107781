import CCNx
import Failures
import Profiles
import Signing
import Store
import Synchronization
import Templates
import TestSupport
import Testing

@Suite struct TemplatesTests {
    private let publisher: PrivateKey
    private let scene: TemplatesScene

    init() throws {
        publisher = try TestKeys.publisher.get()
        scene = try TemplatesScene()
        try scene.trust(publisher.publicKey, for: TemplatesScene.namespace)
    }

    private func signed(version: Int = 1, by key: PrivateKey? = nil) throws -> [UInt8] {
        let record = TemplatesScene.record(version: version, by: key ?? publisher)
        return try TemplatesScene.sign(try record.json(), with: key ?? publisher)
    }

    /// That version 1 is listed, with a problem, and not served.
    private func expectProblem(
        _ wanted: Failure.Kind,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let templates = try scene.open()
        let version = try templates.existing(TemplatesScene.name).version(1)
        #expect(version?.problem?.kind == wanted, sourceLocation: sourceLocation)
        let message = version?.problem?.message
        #expect(
            message?.contains("ccnx:/mycorp.com/app1/linuxvm version 1") == true,
            sourceLocation: sourceLocation
        )
        #expect(version?.problem?.cause != nil, sourceLocation: sourceLocation)
        for number in [1, nil] {
            #expect(
                kind { _ = try templates.served(TemplatesScene.name, version: number) } == wanted,
                sourceLocation: sourceLocation
            )
        }
    }

    // MARK: What is served

    @Test func serveTheNewestVersionThatIsTrusted() throws {
        let first = try signed()
        try scene.list(first)
        try scene.list(try signed(version: 2), as: 2)
        try scene.list(try signed(version: 3, by: try TestKeys.stranger.get()), as: 3)
        let templates = try scene.open()
        let template = try #require(templates.template(named: TemplatesScene.name))
        #expect(template.versions.map(\.number) == [1, 2, 3])
        #expect(template.versions.map { $0.problem == nil } == [true, true, false])
        #expect(template.tags == ["stable": 1])
        let (version, record) = try templates.served(TemplatesScene.name, version: nil)
        #expect(version.number == 2)
        #expect(record.parentVersion == 1)
        let old = try templates.served(TemplatesScene.name, version: 1)
        #expect(old.record == TemplatesScene.record(by: publisher))
        // template.json is byte for byte what was signed.
        #expect(try old.version.recordJSON == TemplatesScene.record(by: publisher).json())
        #expect(old.version.recordId == ObjectId(of: first))
        #expect(kind { _ = try templates.served(TemplatesScene.name, version: 3) } == .untrusted)
        #expect(kind { _ = try templates.served(TemplatesScene.name, version: 4) } == .notFound)
        #expect(
            kind { _ = try templates.served(TemplatesScene.namespace, version: nil) } == .notFound
        )
        #expect(templates.all().map(\.name) == [TemplatesScene.name])
    }

    // MARK: What is not

    @Test func listARecordSignedByAnUntrustedKeyAndDoNotServeIt() throws {
        try scene.list(try signed(by: try TestKeys.stranger.get()))
        try expectProblem(.untrusted)
    }

    @Test func listARecordOfAKeyThatIsTrustedElsewhereAndDoNotServeIt() throws {
        let stranger = try TestKeys.stranger.get()
        try scene.trust(stranger.publicKey, for: try Name(uri: "ccnx:/mycorp.com/app2"))
        try scene.list(try signed(by: stranger))
        try expectProblem(.untrusted)
    }

    @Test func listAnAlteredRecordAndDoNotServeIt() throws {
        var bytes = try signed()
        let json = try TemplatesScene.record(by: publisher).json()
        let arch = Array("x86_64".utf8)
        let start = try #require(
            bytes.indices.first { bytes[$0...].starts(with: arch) },
            "the record names its arch"
        )
        bytes[start] ^= 1
        #expect(bytes.count > json.count)
        try scene.list(bytes)
        try expectProblem(.untrusted)
    }

    @Test func listARecordForAnotherNameAndDoNotServeIt() throws {
        let other = TemplatesScene.namespace.appending([.name("app1"), .name("other")])
        let json = try TemplatesScene.record(other, by: publisher).json()
        try scene.list(try TemplatesScene.sign(json, with: publisher))
        try expectProblem(.corrupt)
    }

    @Test func listARecordOfAnotherVersionAndDoNotServeIt() throws {
        try scene.list(try signed(version: 2), as: 1)
        try expectProblem(.corrupt)
    }

    @Test func listARecordThatNamesAnotherPublisherAndDoNotServeIt() throws {
        let json = try TemplatesScene.record(by: try TestKeys.stranger.get()).json()
        try scene.list(try TemplatesScene.sign(json, with: publisher))
        try expectProblem(.untrusted)
    }

    @Test func listARecordThatIsNotSignedAndDoNotServeIt() throws {
        let json = try TemplatesScene.record(by: publisher).json()
        let object = ContentObject(name: TemplatesScene.name, payload: json)
        let packet = try PacketEncoder().encode(.contentObject(object))
        try scene.list(packet.wire)
        try expectProblem(.untrusted)
    }

    @Test func listWhatIsNoRecordAndDoNotServeIt() throws {
        try scene.list(try TemplatesScene.sign(Array("{}".utf8), with: publisher))
        try expectProblem(.invalid)
    }

    @Test func listARecordThatIsNotHereAndServeItWhenItCame() throws {
        let bytes = try signed()
        let id = try scene.list(bytes, isHere: false)
        try expectProblem(.noSource)
        let templates = try scene.open()
        let changes = Mutex<[Set<Name>]>([])
        templates.onChange { names in changes.withLock { $0.append(names) } }
        try scene.store.cache.insert([(id: id, bytes: bytes)], durably: false)
        try templates.reload()
        #expect(try templates.served(TemplatesScene.name, version: nil).version.number == 1)
        try templates.reload()
        #expect(changes.withLock { $0 } == [[TemplatesScene.name]])
    }

    @Test func judgeAnewWhenTrustChanges() throws {
        try scene.list(try signed())
        let templates = try scene.open()
        _ = try templates.served(TemplatesScene.name, version: nil)
        _ = try scene.database.removeTrust(
            prefix: TemplatesScene.namespace,
            keyId: publisher.publicKey.keyId
        )
        try templates.reload()
        #expect(kind { _ = try templates.served(TemplatesScene.name, version: 1) } == .untrusted)
        try scene.trust(publisher.publicKey, for: TemplatesScene.name)
        try templates.reload()
        #expect(kind { _ = try templates.served(TemplatesScene.name, version: 1) } == nil)
        #expect(templates.trust.entries.count == 1)
    }

    @Test func leaveWithdrawnVersionsOut() throws {
        let id = try scene.list(try signed())
        try scene.database.commit(
            catalog: CatalogRow(
                namespace: TemplatesScene.namespace,
                serial: 99,
                object: id,
                publishedHere: false,
                expires: 0
            ),
            versions: [
                VersionRow(
                    template: TemplatesScene.name,
                    version: 1,
                    record: id,
                    publishedHere: false,
                    withdrawn: 5
                )
            ],
            tags: [TagRow(template: TemplatesScene.name, tag: "stable", version: 1)]
        )
        let templates = try scene.open()
        #expect(templates.all().isEmpty)
        #expect(kind { _ = try templates.existing(TemplatesScene.name) } == .notFound)
    }

    @Test func shareOneReaderOfAContent() throws {
        let templates = try scene.open()
        let descriptor = TemplatesScene.record(by: publisher).disks[0].content
        let one = templates.content(descriptor, prefix: TemplatesScene.name)
        #expect(templates.content(descriptor, prefix: TemplatesScene.name) === one)
        #expect(templates.content(descriptor, prefix: TemplatesScene.namespace) !== one)
        #expect(templates.contentsInUse().contains { $0 === one })
    }
}
