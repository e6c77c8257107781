package import CCNx
package import Failures
package import Signing
package import Store
internal import Templates

/// Answers Interests from what is here: objects and keys by id, and the pointers of catalogs that this node
/// answers for, because it signs them or because it is a mirror that has all they name.
///
/// An object is answered under any prefix, and a key too. What a name promises is the SHA-256 that stands in
/// it; the prefix only says where to ask. Locally there is one segment for all templates that have it, and of
/// which of them the asker knows it, or which it asks for to find out whether it is here, changes nothing of
/// the bytes: whoever knows an id may have them (Docs/Formats.md, "Names on the wire").
///
/// Everything is read from disk and checked against its id on the way out, so a damaged object is
/// never passed on; one that is asked for in chunks is kept in memory while it goes out. Blocking: called away from event loops.
package struct Responder: Sendable {
    private let store: LayeredStore
    private let database: StateDatabase
    private let nodeKey: PrivateKey
    private let trust: @Sendable () -> [TrustEntry]
    private let recent = RecentObjects()
    private let pointers = RecentPointers(lifetime: Responder.pointerReuseMilliseconds)

    /// A pointer is believed for as long as it takes to hear of a new version.
    private static let pointerLifetimeMilliseconds: UInt64 = 10_000
    /// Caches between keep it shorter, so that who asks again hears of a new version.
    private static let pointerCacheMilliseconds: UInt64 = 1_000
    /// For so long one signature answers all who ask, who may be many, or one that floods.
    private static let pointerReuseMilliseconds: UInt64 = 500

    /// - Parameter trust: every key that is trusted at the moment, for whatever it is.
    package init(
        store: LayeredStore,
        database: StateDatabase,
        nodeKey: PrivateKey,
        trust: @escaping @Sendable () -> [TrustEntry]
    ) {
        self.store = store
        self.database = database
        self.nodeKey = nodeKey
        self.trust = trust
    }

    /// - Parameter now: milliseconds since 1970.
    /// - Returns: nil when what is asked for is not here.
    package func answer(_ interest: Interest, now: UInt64) throws(Failure) -> DecodedPacket? {
        guard let packet = try packet(for: interest, now: now) else { return nil }
        if let wanted = interest.keyIdRestriction, packet.validation?.keyId != wanted { return nil }
        if let wanted = interest.contentObjectHashRestriction {
            guard packet.contentObjectHash == wanted else { return nil }
        }
        return packet
    }

    private func packet(for interest: Interest, now: UInt64) throws(Failure) -> DecodedPacket? {
        if let asked = ObjectName(interest.name) {
            return try object(asked).flatMap { (bytes) throws(Failure) in
                try chunk(asked, of: bytes)
            }
        }
        if let asked = KeyName(interest.name) {
            guard let key = try key(asked.keyId) else { return nil }
            return try PacketEncoder().encode(
                .contentObject(ContentObject(name: asked.name, payloadType: .key, payload: key))
            )
        }
        let namespace = interest.name.prefix(1)
        guard interest.name == Catalog.name(in: namespace) else { return nil }
        return try pointer(of: namespace, now: now)
    }

    private func object(_ asked: ObjectName) throws(Failure) -> [UInt8]? {
        let id = asked.request.id
        // As many as there are readers come as a whole: those have no use for it.
        guard asked.chunkSize < ObjectName.streamChunkSize else { return try store.localObject(id) }
        if let bytes = recent.bytes(of: id) { return bytes }
        let bytes = try store.localObject(id)
        if let bytes, bytes.count > asked.chunkSize { recent.insert(id, bytes) }
        return bytes
    }

    private func chunk(_ asked: ObjectName, of bytes: [UInt8]) throws(Failure) -> DecodedPacket? {
        let start = asked.chunk * asked.chunkSize
        guard start < bytes.count else { return nil }
        let end = min(start + asked.chunkSize, bytes.count)
        let lastChunk = (bytes.count - 1) / asked.chunkSize
        return try PacketEncoder().encode(
            .contentObject(
                ContentObject(
                    name: asked.name,
                    payload: start == 0 && end == bytes.count ? bytes : Array(bytes[start..<end]),
                    endChunkNumber: UInt64(lastChunk)
                )
            )
        )
    }

    private func pointer(of namespace: Name, now: UInt64) throws(Failure) -> DecodedPacket? {
        let row = try database.catalogs().first { $0.namespace == namespace && $0.isKept }
        guard let row else { return nil }
        if let recent = pointers.pointer(of: namespace, to: row.object, now: now) { return recent }
        let packet = try SignedContentObject.packet(
            ContentObject(
                name: Catalog.name(in: namespace),
                payload: row.object.bytes,
                expiryTimeMilliseconds: now + Self.pointerLifetimeMilliseconds,
                recommendedCacheTimeMilliseconds: now + Self.pointerCacheMilliseconds
            ),
            with: nodeKey,
            signatureTimeMilliseconds: now
        )
        pointers.insert(packet, of: namespace, to: row.object, now: now)
        return packet
    }

    /// The DER of this node's own key, of one that it trusts for anything, or of one that signs a catalog that
    /// it knows.
    private func key(_ id: KeyId) throws(Failure) -> [UInt8]? {
        if nodeKey.publicKey.keyId == id { return nodeKey.publicKey.derBytes }
        if let entry = trust().first(where: { $0.keyId == id }) { return entry.publicKeyDER }
        for row in try database.catalogs() {
            guard let signed = try store.localObject(row.object),
                let key = try Catalog.delegate(of: signed), key.keyId == id
            else { continue }
            return key.derBytes
        }
        return nil
    }
}
