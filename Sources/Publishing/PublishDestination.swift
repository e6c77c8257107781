package import CCNx
package import Failures
internal import Profiles
package import Signing
package import Store
package import Templates

/// Where a version is published: this node, or a repository elsewhere.
package protocol PublishDestination: Sendable {
    /// Whether this key may publish under this name there, and as which version.
    ///
    /// - Throws: what keeps it from that.
    func offer(_ template: Name, _ key: PublicKey) async throws(Failure) -> PublishOffer

    /// Makes a signed version visible. Durable when this returns `.done`.
    func commit(_ version: SignedVersion, now: Int) async throws(Failure) -> PublishOutcome
}

package struct PublishOffer: Sendable {
    package var nextVersion: Int
    /// The catalog's key, if it needs a delegation that the publisher may give.
    package var delegate: PublicKey?

    package init(nextVersion: Int, delegate: PublicKey?) {
        self.nextVersion = nextVersion
        self.delegate = delegate
    }
}

package struct SignedVersion: Sendable {
    package let record: TemplateRecord
    /// The record as it was signed.
    package let signed: [UInt8]
    /// Of the namespace's catalog.
    package let delegation: [UInt8]?

    package var id: ObjectId { ObjectId(of: signed) }

    var row: VersionRow {
        VersionRow(
            template: record.name,
            version: record.version,
            record: id,
            publishedHere: true
        )
    }
}

package enum PublishOutcome: Sendable {
    case done
    /// Another publish has the number: sign anew.
    case taken(next: Int)
}

/// This node is the repository.
struct LocalDestination: PublishDestination {
    let store: ContentStore
    let database: StateDatabase
    let templates: Templates
    let editor: CatalogEditor

    func offer(_ template: Name, _ key: PublicKey) throws(Failure) -> PublishOffer {
        guard try templates.trust.key(key.keyId, speakingFor: template) != nil else {
            throw Failure(
                .untrusted,
                "key \(key.keyId) may not sign for \(template) on this node",
                hint: "if it should: ccnfs trust add \(template.prefix(1).uri) PUBLIC-KEY-FILE"
            )
        }
        let namespace = template.prefix(1)
        try editor.checkIsOurs(namespace)
        let mayDelegate = try templates.trust.key(key.keyId, speakingFor: namespace) != nil
        let hasDelegation = try editor.validDelegation(namespace) != nil
        return PublishOffer(
            nextVersion: try nextVersion(of: template),
            delegate: mayDelegate && !hasDelegation ? editor.nodeKey.publicKey : nil
        )
    }

    func nextVersion(of template: Name) throws(Failure) -> Int {
        let rows = try database.versions().filter { $0.template == template }
        return (rows.map(\.version).max() ?? 0) + 1
    }

    /// Segments and manifests are recorded already; then in this order, each durable before the next:
    /// they, the record, the catalog.
    func commit(_ version: SignedVersion, now: Int) async throws(Failure) -> PublishOutcome {
        // A version whose record nobody believes must not become visible.
        try templates.trust.check(
            try PacketDecoder.decode(version.signed),
            speaksFor: version.record.name
        )
        try await Threads.run { [store] () throws(Failure) in try store.synchronize() }
        try store.insert([(id: version.id, bytes: version.signed)], durably: true)
        let row = version.row
        var isTaken = false
        try editor.change(row.template.prefix(1), delegation: version.delegation, now: now) {
            (listing) throws(Failure) in
            isTaken = listing.versions.contains {
                $0.template == row.template && $0.version >= row.version
            }
            if !isTaken { listing.versions.append(row) }
        }
        return isTaken ? .taken(next: try nextVersion(of: row.template)) : .done
    }
}
