package import CCNx
internal import Failures
package import Store

/// A VM as its directory shows it: a name, attributes, disks and snapshots by name. A value; the truth
/// is in ``VirtualMachines``.
package struct VirtualMachine: Sendable {
    package let id: Int64
    package var name: String
    package var attributes: OwnedAttributes
    /// Seconds since 1970.
    package let created: Int
    /// What it was deployed from; nil for one that was made empty.
    package var template: Name?
    package var templateVersion: Int?
    /// Where its written blocks are kept; nil for the state directory.
    package var overlayDirectory: String?
    /// The export it left with: read-only since.
    package var movedAs: String?
    package var disks: [String: Disk] = [:]
    /// Disks that could not be opened at the start, with the reason: their files and rows stay.
    package var missingDisks: [String: String] = [:]
    /// Also those that are not complete yet.
    var allSnapshots: [String: Snapshot] = [:]

    init(_ row: VMRow) {
        id = row.id
        name = row.name
        attributes = row.attributes
        created = row.created
        template = row.template
        templateVersion = row.templateVersion
        overlayDirectory = row.overlayDirectory
        movedAs = row.movedAs
    }

    var row: VMRow {
        VMRow(
            id: id,
            name: name,
            attributes: attributes,
            created: created,
            template: template,
            templateVersion: templateVersion,
            overlayDirectory: overlayDirectory,
            movedAs: movedAs
        )
    }

    func checkMayChange() throws(Failure) {
        guard movedAs != nil else { return }
        throw Failure(
            .readOnly,
            "VM \(name) was exported and moved; here it is read-only",
            hint:
                "ccnfs import-vm FILE --name brings it back under another name; rm -r removes this one"
        )
    }

    /// Oldest first.
    package var snapshots: [Snapshot] {
        allSnapshots.values.filter(\.isComplete).sorted {
            ($0.created, $0.id) < ($1.created, $1.id)
        }
    }

    package func snapshot(named name: String) -> Snapshot? {
        guard let snapshot = allSnapshots[name], snapshot.isComplete else { return nil }
        return snapshot
    }
}
