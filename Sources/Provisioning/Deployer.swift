package import CCNx
package import Disks
package import Failures
internal import Profiles
package import Store
package import Templates

/// Makes VMs from templates. O(1): a profile is written, no content is read, fetched or copied.
package struct Deployer: Sendable {
    private let templates: Templates
    private let machines: VirtualMachines
    private let database: StateDatabase

    package init(templates: Templates, machines: VirtualMachines, database: StateDatabase) {
        self.templates = templates
        self.machines = machines
        self.database = database
    }

    /// Makes VMs of these names, all of them or none, durable when this returns.
    ///
    /// - Parameters:
    ///   - version: nil for the newest that is trusted.
    ///   - size: bytes of the first disk, at least the template's; nil for the same.
    ///   - owner: attributes of the VMs and their disks; `mode` is the disks'.
    ///   - overlayDirectory: where written blocks are kept; nil for the state directory.
    package func deploy(
        _ template: Name,
        version: Int?,
        as names: [String],
        size: Int?,
        owner: OwnedAttributes,
        overlayDirectory: String?
    ) throws(Failure) -> [VirtualMachine] {
        let (served, record) = try templates.served(template, version: version)
        guard let first = record.disks.first else {
            throw Failure(.invalid, "\(template) version \(served.number) has no disk")
        }
        if let size {
            guard size >= first.content.size else {
                throw Failure(
                    .invalid,
                    "\(first.name) of \(template) has \(first.content.size) bytes; a VM's disk cannot "
                        + "be deployed smaller than that"
                )
            }
            guard size % 512 == 0 else {
                throw Failure(.usage, "\(size) bytes is no whole number of 512-byte sectors")
            }
        }
        let disks = record.disks.map { item in
            VirtualMachines.NewDisk(
                name: item.name,
                size: item.name == first.name ? size ?? item.content.size : item.content.size,
                attributes: owner,
                source: CloneSource(templates.content(item.content, prefix: template))
            )
        }
        var directory = owner
        directory.mode = 0o755
        let made = try machines.make(
            names.map { name in
                VirtualMachines.NewMachine(
                    name: name,
                    attributes: directory,
                    template: template,
                    templateVersion: served.number,
                    overlayDirectory: overlayDirectory,
                    disks: disks
                )
            }
        )
        try database.synchronize()
        return made
    }
}
