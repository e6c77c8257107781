package import CCNx
package import Disks
package import Failures
internal import Files
internal import Images
internal import Profiles
package import Publishing
package import Signing
package import Store
internal import Synchronization
package import Templates

/// What a repository is made of, in a folder of its own.
package final class PublishingScene: Sendable {
    package static let namespace = Name(segments: [.name("mycorp.com")])
    package static let template = namespace.appending([.name("app1"), .name("linuxvm")])
    package static let otherTemplate = namespace.appending([.name("app2"), .name("bsdvm")])
    /// Seconds since 1970.
    package static let now = 1_700_000_000
    package static let attributes = OwnedAttributes(
        mode: 0o600,
        userId: 0,
        groupId: 0,
        modified: now * 1_000_000_000
    )

    /// Made once a run.
    package static let publisherKey = Result { try PrivateKey.generate(.ecP384) }
    package static let strangerKey = Result { try PrivateKey.generate(.ecP384) }
    package static let nodeKey = Result { try PrivateKey.generate(.ecP384) }

    package let folder: TemporaryFolder
    package let database: StateDatabase
    package let store: LayeredStore
    package let templates: Templates
    package let machines: VirtualMachines
    package let gate = PublishingGate()
    package let reserve: SpaceReserve
    package let editor: CatalogEditor
    package let publisher: Publisher
    package let key: PrivateKey

    /// - Parameter trusts: whether the publisher's key is trusted for the namespace.
    package init(source: any ContentSource = NoSource(), trusts: Bool = true) throws {
        folder = try TemporaryFolder()
        key = try Self.publisherKey.get()
        database = try StateDatabase(path: "\(folder.path)/state.sqlite")
        store = LayeredStore(
            published: try ContentStore(directory: "\(folder.path)/published"),
            cache: try ContentStore(directory: "\(folder.path)/cache"),
            source: source,
            logger: quiet
        )
        reserve = SpaceReserve(directory: folder.path)
        let templates = try Templates(database: database, store: store, logger: quiet)
        self.templates = templates
        machines = try VirtualMachines(
            database: database,
            overlaysDirectory: "\(folder.path)/overlays",
            bootId: "boot-1",
            reserve: reserve,
            logger: quiet,
            content: { templates.content($0, prefix: $1) }
        )
        editor = CatalogEditor(
            store: store.published,
            database: database,
            templates: templates,
            nodeKey: try Self.nodeKey.get(),
            gate: gate
        )
        publisher = Publisher(
            store: store.published,
            database: database,
            templates: templates,
            editor: editor,
            gate: gate
        )
        if trusts { try trust(key.publicKey) }
    }

    package func trust(_ key: PublicKey, for prefix: Name = namespace) throws(Failure) {
        _ = try database.addTrust(
            TrustEntry(prefix: prefix, publicKeyDER: key.derBytes, keyId: key.keyId),
            now: Self.now
        )
        try templates.reload()
    }

    package func distrust(_ key: PublicKey, for prefix: Name = namespace) throws(Failure) {
        _ = try database.removeTrust(prefix: prefix, keyId: key.keyId)
        try templates.reload()
    }

    // MARK: Publishing

    package func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    /// Publishes an image as the template's `disk0`.
    @discardableResult
    package func publish(
        _ image: SparseImage,
        as template: Name = template,
        segmentSize: Int = 4096,
        isDryRun: Bool = false,
        files: [PublishRequest.FileSource] = []
    ) async throws(Failure) -> PublishReport {
        let path = path("image-\(UInt64.random(in: 0 ... .max)).raw")
        try image.write(to: path)
        return try await publish(
            PublishRequest(
                template: template,
                disks: [.init(name: "disk0", path: path, format: .raw)],
                files: files,
                segmentSize: segmentSize,
                isDryRun: isDryRun
            )
        )
    }

    @discardableResult
    package func publish(
        _ request: PublishRequest,
        signer: KeySigner? = nil,
        stream: Publisher.Stream? = nil
    ) async throws(Failure) -> PublishReport {
        try await publisher.publish(
            request,
            signer: signer ?? KeySigner(key),
            stream: stream,
            now: Self.now
        ) { _ in }
    }

    /// A request that reads its one disk from a stream.
    package static func streamRequest(_ template: Name = template) -> PublishRequest {
        PublishRequest(
            template: template,
            disks: [.init(name: "disk0", path: nil, format: .raw)],
            segmentSize: 4096
        )
    }

    package func withdraw(_ version: Int, of template: Name = template) throws(Failure) {
        try editor.change(Self.namespace, now: Self.now) { (listing) throws(Failure) in
            for index in listing.versions.indices
            where listing.versions[index].template == template
                && listing.versions[index].version == version
            {
                listing.versions[index].withdrawn = Self.now
            }
        }
    }

    package func tag(_ tag: String, _ version: Int, of template: Name = template) throws(Failure) {
        try editor.change(Self.namespace, now: Self.now) { (listing) throws(Failure) in
            listing.tags.append(TagRow(template: template, tag: tag, version: version))
        }
    }

    package func reclaim() async throws(Failure) -> Reclaimer.Report {
        try await Reclaimer(local: store, database: database, gate: gate, reserve: reserve).reclaim(
            templates: templates,
            keeping: { () throws(Failure) in
                try machines.contentsInUse() + templates.contentsInUse()
            }
        )
    }

    // MARK: Looking

    /// All bytes of a disk or carried file of a served version.
    package func bytes(
        of item: String = "disk0",
        _ template: Name = template,
        version: Int? = nil
    ) async throws(Failure) -> [UInt8] {
        let record = try templates.served(template, version: version).record
        guard let found = record.item(named: item) else {
            throw Failure(.notFound, "the template has no \(item)")
        }
        return try await templates.content(found.content, prefix: template)
            .read(at: 0, byteCount: found.content.size)
    }

    /// Nothing of the namespace can be seen by anyone.
    package func showsNothing() throws(Failure) -> Bool {
        guard try database.versions().isEmpty, try database.catalogs().isEmpty else { return false }
        return templates.all().isEmpty
    }
}

/// Bytes that a publish reads piece by piece.
package final class ByteStream: Sendable {
    private let bytes: [UInt8]
    private let position = Mutex(0)
    /// Fails when this many bytes were read.
    private let failsAt: Int?

    package init(_ bytes: [UInt8], failsAt: Int? = nil) {
        self.bytes = bytes
        self.failsAt = failsAt
    }

    package var byteCountRead: Int { position.withLock(\.self) }

    package var stream: Publisher.Stream {
        { (byteCount) async throws(Failure) in try self.next(byteCount) }
    }

    private func next(_ byteCount: Int) throws(Failure) -> [UInt8] {
        try position.withLock { (position) throws(Failure) in
            if let failsAt, position >= failsAt {
                throw Failure(.io, "the stream broke at byte \(position)")
            }
            let end = min(position + byteCount, bytes.count)
            defer { position = end }
            return Array(bytes[position..<end])
        }
    }
}
