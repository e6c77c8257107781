package import CCNx
package import Store

/// A VM as its directory shows it: a name, attributes, disks by name. A value; the truth is in
/// ``VirtualMachines``.
package struct VirtualMachine: Sendable {
    package let id: Int64
    package var name: String
    package var attributes: OwnedAttributes
    /// Seconds since 1970.
    package let created: Int
    /// What it was deployed from; nil for one that was made empty.
    package var template: Name?
    package var templateVersion: Int?
    package var disks: [String: Disk] = [:]

    init(_ row: VMRow) {
        id = row.id
        name = row.name
        attributes = row.attributes
        created = row.created
        template = row.template
        templateVersion = row.templateVersion
    }

    var row: VMRow {
        VMRow(
            id: id,
            name: name,
            attributes: attributes,
            created: created,
            template: template,
            templateVersion: templateVersion
        )
    }
}
