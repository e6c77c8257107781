package import CCNx
package import Failures
internal import Profiles
package import Signing
package import Store
package import Templates

/// Changes the catalog of a namespace that this node is the repository of.
///
/// Order, so that nothing half-published is ever visible: listing and signed catalog durable in the
/// store, then one transaction that makes them the namespace's catalog. Two changes at once meet at
/// the serial: the later one starts over from what the earlier one left.
package struct CatalogEditor: Sendable {
    let store: ContentStore
    let database: StateDatabase
    let templates: Templates
    let nodeKey: PrivateKey
    private let gate: PublishingGate

    private static let attemptLimit = 8

    package init(
        store: ContentStore,
        database: StateDatabase,
        templates: Templates,
        nodeKey: PrivateKey,
        gate: PublishingGate
    ) {
        self.store = store
        self.database = database
        self.templates = templates
        self.nodeKey = nodeKey
        self.gate = gate
    }

    /// - Parameters:
    ///   - delegation: signed by the namespace's owner, kept if there was none that verifies.
    ///   - now: seconds since 1970.
    package func change(
        _ namespace: Name,
        delegation: [UInt8]? = nil,
        now: Int,
        _ edit: (inout Listing) throws(Failure) -> Void
    ) throws(Failure) {
        try checkIsOurs(namespace)
        // A new listing looks like garbage until its catalog is committed.
        try gate.enterPublish()
        defer { gate.leavePublish() }
        for attempt in 1...Self.attemptLimit {
            do throws(Failure) {
                try changeOnce(namespace, delegation, now, edit)
                try templates.reload()
                return
            } catch  where error.kind == .busy && attempt < Self.attemptLimit {
                continue
            }
        }
    }

    /// - Throws: `.readOnly` for a namespace whose catalog comes from another repository.
    package func checkIsOurs(_ namespace: Name) throws(Failure) {
        try checkIsNoMirror(of: namespace)
        let known = try database.catalogs().first { $0.namespace == namespace }
        if let known, !known.publishedHere {
            throw Failure(
                .readOnly,
                "the catalog of \(namespace) comes from another repository",
                hint: "publish where that repository is"
            )
        }
    }

    /// - Throws: `.readOnly` for a namespace that this node is a mirror repository of, with the address of the
    ///   repository that it comes from.
    package func checkIsNoMirror(of namespace: Name) throws(Failure) {
        guard let source = try database.mirrorSource(of: namespace) else { return }
        throw Failure(
            .readOnly,
            "this node is a mirror of \(namespace), which comes from \(source)",
            hint: "ccnfs publish … --to \(source); tag and delete where that repository is"
        )
    }

    private func changeOnce(
        _ namespace: Name,
        _ delegation: [UInt8]?,
        _ now: Int,
        _ edit: (inout Listing) throws(Failure) -> Void
    ) throws(Failure) {
        let known = try database.catalogs().first { $0.namespace == namespace }
        var listing = Listing(
            versions: try database.versions().filter { $0.template.hasPrefix(namespace) },
            tags: try database.tags().filter { $0.template.hasPrefix(namespace) }
        )
        try edit(&listing)
        let catalog = Catalog(
            namespace: namespace,
            serial: (known?.serial ?? 0) + 1,
            expires: now + Catalog.lifetimeSeconds,
            listing: try SmallContent.store(listing.json(), in: store),
            delegation: try validDelegation(namespace, known) ?? delegation
        )
        let signed = try catalog.signed(with: nodeKey, now: now)
        let id = ObjectId(of: signed)
        try store.insert([(id: id, bytes: signed)], durably: true)
        try database.commit(
            catalog: CatalogRow(
                namespace: namespace,
                serial: catalog.serial,
                object: id,
                publishedHere: true,
                expires: catalog.expires
            ),
            versions: listing.versions,
            tags: listing.tags
        )
    }

    /// The delegation in force; nil when there is none or it does not name this node's key.
    package func validDelegation(_ namespace: Name) throws(Failure) -> [UInt8]? {
        try validDelegation(
            namespace,
            try database.catalogs().first { $0.namespace == namespace }
        )
    }

    private func validDelegation(
        _ namespace: Name,
        _ known: CatalogRow?
    ) throws(Failure) -> [UInt8]? {
        guard let known, let signed = try store.smallObject(known.object) else { return nil }
        let catalog = try Catalog(
            signed: signed,
            namespace: namespace,
            trust: templates.trust,
            ownKey: nodeKey.publicKey
        )
        guard let bytes = catalog.delegation,
            let delegation = try? Delegation(
                signed: bytes,
                namespace: namespace,
                trust: templates.trust
            ),
            delegation.key == nodeKey.publicKey
        else { return nil }
        return bytes
    }
}
