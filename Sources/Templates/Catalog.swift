package import CCNx
package import Failures
internal import Foundation
package import Profiles
package import Signing
package import Store

/// A namespace's catalog: which templates, versions and tags there are; the one thing that changes.
///
/// The signed part is small and names a listing of any size by its root:
/// ```
///   pointer  ccnx:/<namespace>/@catalog/chunk 0   signed by the repository, valid for seconds
///     -> signed catalog (an object): namespace, serial, expiry, delegation, listing
///          -> listing (segmented content): templates, versions, tags
///               -> records (objects), each signed by its publisher
/// ```
/// A catalog is signed by a key that is trusted for the whole namespace, or by one to which such a key
/// delegated it.
package struct Catalog: Sendable {
    package static let format = 1
    /// Seconds a catalog is good for; its repository renews it at half of that.
    package static let lifetimeSeconds = 30 * 24 * 3600
    /// A listing is read into memory: some hundred thousand versions.
    package static let listingByteLimit = 64 << 20

    package var namespace: Name
    package var serial: Int
    /// Seconds since 1970.
    package var expires: Int
    package var listing: ContentDescriptor
    /// A packet signed by a key of the namespace that names the catalog's key.
    package var delegation: [UInt8]?

    package init(
        namespace: Name,
        serial: Int,
        expires: Int,
        listing: ContentDescriptor,
        delegation: [UInt8]?
    ) {
        self.namespace = namespace
        self.serial = serial
        self.expires = expires
        self.listing = listing
        self.delegation = delegation
    }

    package static func name(in namespace: Name) -> Name {
        namespace.appending(.name("@catalog")).appending(.chunk(0))
    }
}

// MARK: - Signed form

extension Catalog {
    private struct Fields: Codable {
        var format: Int
        var namespace: String
        var serial: Int
        var expires: Int
        var listingRoot: String
        var listingSize: Int
        var listingSegmentSize: Int
        var listingLevels: Int
        var delegation: Data?
    }

    package func signed(with key: PrivateKey, now: Int) throws(Failure) -> [UInt8] {
        let fields = Fields(
            format: Self.format,
            namespace: namespace.uri,
            serial: serial,
            expires: expires,
            listingRoot: listing.root.hex,
            listingSize: listing.size,
            listingSegmentSize: listing.segmentSize,
            listingLevels: listing.levels,
            delegation: delegation.map { Data($0) }
        )
        return try SignedJSON.sign(
            fields,
            name: Self.name(in: namespace),
            with: key,
            now: now
        )
    }

    /// Reads a signed catalog and checks that it may speak for `namespace`.
    ///
    /// - Parameter ownKey: the node's own key, whose catalogs it believes itself.
    package init(
        signed bytes: [UInt8],
        namespace: Name,
        trust: TrustPolicy,
        ownKey: PublicKey?
    ) throws(Failure) {
        let packet = try PacketDecoder.decode(bytes)
        let fields: Fields = try SignedJSON.payload(of: packet, what: "catalog")
        guard fields.format <= Self.format else {
            throw Failure(.unsupported, "the catalog of \(namespace) has format \(fields.format)")
        }
        guard fields.namespace == namespace.uri else {
            throw Failure(.corrupt, "the catalog is that of \(fields.namespace), not \(namespace)")
        }
        guard fields.serial > 0 else {
            throw Failure(.invalid, "the catalog of \(namespace) has serial \(fields.serial)")
        }
        self.init(
            namespace: namespace,
            serial: fields.serial,
            expires: fields.expires,
            listing: try ContentDescriptor.checked(
                root: fields.listingRoot,
                size: fields.listingSize,
                segmentSize: fields.listingSegmentSize,
                levels: fields.listingLevels,
                of: "the listing of \(namespace)"
            ),
            delegation: fields.delegation.map { Array($0) }
        )
        try check(packet, trust, ownKey)
    }

    /// The listing that a signed catalog of this node names; whose signature was checked before.
    package static func listing(of signed: [UInt8]) throws(Failure) -> ContentDescriptor {
        let fields: Fields = try SignedJSON.payload(
            of: try PacketDecoder.decode(signed),
            what: "catalog"
        )
        return try ContentDescriptor.checked(
            root: fields.listingRoot,
            size: fields.listingSize,
            segmentSize: fields.listingSegmentSize,
            levels: fields.listingLevels,
            of: "the listing"
        )
    }

    /// The key that the namespace's owner let sign the catalog, as a signed catalog says; not checked against
    /// trust. Nil if it has no delegation.
    package static func delegate(of signed: [UInt8]) throws(Failure) -> PublicKey? {
        let fields: Fields = try SignedJSON.payload(
            of: try PacketDecoder.decode(signed),
            what: "catalog"
        )
        guard let delegation = fields.delegation else { return nil }
        return try Delegation.key(of: try PacketDecoder.decode(Array(delegation)))
    }

    private func check(
        _ packet: DecodedPacket,
        _ trust: TrustPolicy,
        _ ownKey: PublicKey?
    ) throws(Failure) {
        guard let keyId = packet.validation?.keyId else {
            throw Failure(.untrusted, "the catalog of \(namespace) is not signed")
        }
        if let ownKey, ownKey.keyId == keyId {
            return try ValidationCheck.verify(packet, expecting: ownKey)
        }
        if try trust.key(keyId, speakingFor: namespace) != nil {
            return try trust.check(packet, speaksFor: namespace)
        }
        guard let delegation else {
            throw Failure(
                .untrusted,
                "the catalog of \(namespace) is signed by key \(keyId), which nobody delegated it to",
                hint: "publish once with a key that is trusted for all of \(namespace)"
            )
        }
        let delegate = try Delegation(signed: delegation, namespace: namespace, trust: trust)
        guard delegate.key.keyId == keyId else {
            throw Failure(
                .untrusted,
                "the catalog of \(namespace) is delegated to another key than \(keyId)"
            )
        }
        try ValidationCheck.verify(packet, expecting: delegate.key)
    }
}

// MARK: - Taking over from another repository

extension Catalog {
    /// Checks that it may take the place of the one that is known: serials never go back, and an expired catalog
    /// is taken from nobody.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Throws: `.untrusted`, or `.tooLarge`.
    package func check(mayFollow known: CatalogRow?, now: Int) throws(Failure) {
        if let known, serial <= known.serial {
            throw Failure(
                .untrusted,
                "the repository of \(namespace) offers catalog \(serial), "
                    + "\(known.serial) is known already"
            )
        }
        guard expires > now else {
            throw Failure(
                .untrusted,
                "the catalog of \(namespace) has expired",
                hint: "its repository renews it while it runs; are the clocks right?"
            )
        }
        guard listing.size <= Self.listingByteLimit else {
            throw Failure(.tooLarge, "the listing of \(namespace) has \(listing.size) bytes")
        }
    }
}

/// The namespace's owner lets another key sign its catalog.
package struct Delegation: Sendable {
    package let key: PublicKey

    private struct Fields: Codable {
        var format: Int
        var namespace: String
        var publicKey: Data
    }

    private static func name(in namespace: Name) -> Name {
        namespace.appending(.name("@delegation")).appending(.chunk(0))
    }

    /// The payload and name to be signed by the owner.
    package static func draft(to key: PublicKey, namespace: Name) throws(Failure) -> ContentObject {
        try SignedJSON.draft(
            Fields(format: 1, namespace: namespace.uri, publicKey: Data(key.derBytes)),
            name: name(in: namespace)
        )
    }

    package init(signed bytes: [UInt8], namespace: Name, trust: TrustPolicy) throws(Failure) {
        let packet = try PacketDecoder.decode(bytes)
        try trust.check(packet, speaksFor: namespace)
        let fields: Fields = try SignedJSON.payload(of: packet, what: "delegation")
        guard fields.namespace == namespace.uri else {
            throw Failure(.untrusted, "the delegation is for \(fields.namespace)")
        }
        key = try PublicKey(der: Array(fields.publicKey))
    }

    /// The key it names, whoever signed it.
    static func key(of packet: DecodedPacket) throws(Failure) -> PublicKey {
        let fields: Fields = try SignedJSON.payload(of: packet, what: "delegation")
        return try PublicKey(der: Array(fields.publicKey))
    }
}
