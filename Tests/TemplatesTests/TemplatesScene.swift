import CCNx
import Failures
import Files
import Profiles
import Signing
import Store
import Templates
import TestSupport

/// Keys that are made once a run.
enum TestKeys {
    static let publisher = Result { try PrivateKey.generate(.ecP384) }
    static let stranger = Result { try PrivateKey.generate(.ecP384) }
    static let repository = Result { try PrivateKey.generate(.ecP384) }
}

/// A node's templates: their database and store, in a folder of their own.
final class TemplatesScene {
    static let now = 1_700_000_000
    static let namespace = Name(segments: [.name("mycorp.com")])
    static let name = Name(segments: [.name("mycorp.com"), .name("app1"), .name("linuxvm")])

    let folder: TemporaryFolder
    let database: StateDatabase
    let store: LayeredStore
    let source = FakeSource()
    private var serial = 0

    init() throws {
        folder = try TemporaryFolder()
        database = try StateDatabase(path: "\(folder.path)/state.sqlite")
        store = LayeredStore(
            published: try ContentStore(directory: "\(folder.path)/published"),
            cache: try ContentStore(directory: "\(folder.path)/cache"),
            source: source,
            logger: quiet
        )
    }

    func open() throws(Failure) -> Templates {
        try Templates(database: database, store: store, logger: quiet)
    }

    func trust(_ key: PublicKey, for prefix: Name) throws(Failure) {
        _ = try database.addTrust(Self.entry(key, prefix), now: Self.now)
    }

    static func entry(_ key: PublicKey, _ prefix: Name) -> TrustEntry {
        TrustEntry(prefix: prefix, publicKeyDER: key.derBytes, keyId: key.keyId)
    }

    static func record(
        _ name: Name = name,
        version: Int = 1,
        by key: PrivateKey
    ) -> TemplateRecord {
        TemplateRecord(
            name: name,
            version: version,
            parentVersion: version > 1 ? version - 1 : nil,
            publisher: key.publicKey.keyId,
            time: now,
            properties: ["arch": "x86_64", "os": "Ünïx"],
            disks: [
                .init(
                    name: "disk0",
                    content: ContentDescriptor(
                        root: ObjectId(of: [1]),
                        size: 40 << 30,
                        segmentSize: 32768,
                        levels: 3
                    ),
                    dataByteCount: 2 << 30
                ),
                .init(
                    name: "disk1",
                    content: ContentDescriptor(
                        root: .hole,
                        size: 1 << 20,
                        segmentSize: 4096,
                        levels: 1
                    ),
                    dataByteCount: 0
                ),
            ],
            files: [
                .init(
                    name: "domain.xml",
                    content: ContentDescriptor(
                        root: ObjectId(of: [2]),
                        size: 700,
                        segmentSize: 32768,
                        levels: 0
                    ),
                    dataByteCount: 700
                )
            ]
        )
    }

    static func sign(_ json: [UInt8], with key: PrivateKey) throws(Failure) -> [UInt8] {
        let object = ContentObject(name: name.appending(.name("@record")), payload: json)
        return try SignedContentObject.sign(
            object,
            with: key,
            signatureTimeMilliseconds: UInt64(now) * 1000
        )
    }

    /// Stores a signed record and lists it as `version` of `name`.
    @discardableResult
    func list(
        _ signed: [UInt8],
        as version: Int = 1,
        of name: Name = name,
        isHere: Bool = true
    ) throws(Failure) -> ObjectId {
        let id = ObjectId(of: signed)
        if isHere { try store.published.insert([(id: id, bytes: signed)], durably: true) }
        serial += 1
        let row = VersionRow(template: name, version: version, record: id, publishedHere: false)
        let others = try database.versions().filter {
            $0.template != name || $0.version != version
        }
        try database.commit(
            catalog: CatalogRow(
                namespace: Self.namespace,
                serial: serial,
                object: id,
                publishedHere: false,
                expires: Self.now + 1000
            ),
            versions: others + [row],
            tags: [TagRow(template: Self.name, tag: "stable", version: 1)]
        )
        return id
    }
}
