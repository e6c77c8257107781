package import CCNx
package import Disks
package import Failures
internal import Provisioning

extension PublishingScene {
    /// A VM with the template's disks.
    @discardableResult
    package func deploy(
        _ name: String,
        _ template: Name = template,
        version: Int? = nil,
        size: Int? = nil
    ) throws(Failure) -> VirtualMachine {
        try Deployer(templates: templates, machines: machines, database: database).deploy(
            template,
            version: version,
            as: [name],
            size: size,
            owner: Self.attributes,
            overlayDirectory: nil
        )[0]
    }
}
