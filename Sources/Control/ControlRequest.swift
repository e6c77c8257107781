package import Foundation
package import Management

/// What a `ccnfs` command asks of a node. Names are URIs, sizes bytes, paths absolute.
package enum ControlRequest: Sendable, Codable {
    case listTemplates
    case listMachines
    case show(template: String, version: Int?)
    case tag(template: String, tag: String, version: Int?)
    case trustEntries
    /// Without rights: to publish.
    case addTrust(prefix: String, publicKeyPEM: String, rights: [String] = [])
    /// The key is fetched by its id. `source`: the face address of who has it; nil for those on the way to the
    /// prefix.
    case addTrustOfKey(prefix: String, keyId: String, source: String?, rights: [String] = [])
    case removeTrust(prefix: String, keyId: String)
    case mirror(Mirror)
    case endMirror(namespace: String)
    case publish(Publication)
    case deploy(Deployment)
    case snapshot(machine: String, name: String)
    case deleteSnapshot(machine: String, name: String)
    case listSnapshots(machine: String?)
    case rollBack(machine: String, snapshot: String)
    case compare(from: DiskSet, to: DiskSet)
    case republish(Republication)
    case exportMachine(MachineExport)
    case importMachine(MachineImport)
    case backUp(directory: String)
    case delete(template: String, version: Int?)
    /// `disk`: nil for all disks and files. `rate`: bytes a second at most. `isKept`: and pin it.
    case fetch(template: String, version: Int?, disk: String?, rate: Int?, isKept: Bool = false)
    /// `version`: nil for all versions that are kept.
    case unkeep(template: String, version: Int?)
    case export(
        template: String,
        version: Int?,
        disk: String?,
        path: String,
        format: String,
        overwrite: Bool
    )
    case status
    case fileStatus(path: String)
    case fileMap(path: String)
    case verify
    case checkDisk(path: String)
    case evict
    case reclaim
    case neighbours(NeighbourRequest)
    /// Something is to be done by another node.
    case manage(Errand)
    /// VMs of all nodes whose names begin with the prefix, asked of the repositories at these addresses; none:
    /// of those that routes lead to.
    case listNodes(prefix: String, repositories: [String], publicKeyPEM: String)

    /// What another node is to do. The command signs it.
    package struct Errand: Sendable, Codable {
        /// URI of a node, a template or a prefix; of a node also the last segment of its name.
        package var target: String
        package var operation: ManagementRequest.Operation
        /// A face address, or the URI of a name whose routes lead there; nil: the routes of the target.
        package var place: String?
        /// PEM of the key that signs.
        package var publicKeyPEM: String

        package init(
            target: String,
            operation: ManagementRequest.Operation,
            place: String?,
            publicKeyPEM: String
        ) {
            self.target = target
            self.operation = operation
            self.place = place
            self.publicKeyPEM = publicKeyPEM
        }
    }

    package struct Mirror: Sendable, Codable {
        package var namespace: String
        /// The face address of a repository of it.
        package var source: String
        package var intervalMilliseconds: Int
        /// Is brought in step now, and not kept so.
        package var isOnce: Bool

        package init(
            namespace: String,
            source: String,
            intervalMilliseconds: Int,
            isOnce: Bool
        ) {
            self.namespace = namespace
            self.source = source
            self.intervalMilliseconds = intervalMilliseconds
            self.isOnce = isOnce
        }
    }

    package struct Deployment: Sendable, Codable {
        package var template: String
        package var version: Int?
        /// Names of the VMs to make.
        package var machines: [String]
        /// Bytes of the first disk.
        package var size: Int?
        /// Directory for written blocks.
        package var overlayPlace: String?

        package init(
            template: String,
            version: Int?,
            machines: [String],
            size: Int?,
            overlayPlace: String?
        ) {
            self.template = template
            self.version = version
            self.machines = machines
            self.size = size
            self.overlayPlace = overlayPlace
        }
    }

    /// The disks of something that can be looked at: `web-01`, `web-01@before`,
    /// `ccnx:/mycorp.com/app1/linuxvm@3`.
    package enum DiskSet: Sendable, Codable, Equatable {
        case machine(String)
        case snapshot(machine: String, name: String)
        case template(String, version: Int?)
        /// What a VM was deployed from.
        case origin(machine: String)
    }

    package struct Republication: Sendable, Codable {
        package var machine: String
        /// Nil: as it is now.
        package var snapshot: String?
        /// Nil: the next version of the template it was deployed from.
        package var template: String?
        package var properties: [String: String]
        /// The VM's own profile moves onto what was published.
        package var isRebasing: Bool
        package var publicKeyPEM: String
        /// The face address of the repository; nil for this node.
        package var repository: String?
        /// The beginning of the id, in hexadecimal, of the key that the repository may sign the catalog with.
        package var repositoryKey: String?

        package init(
            machine: String,
            snapshot: String?,
            template: String?,
            properties: [String: String],
            isRebasing: Bool,
            publicKeyPEM: String,
            repository: String? = nil,
            repositoryKey: String? = nil
        ) {
            self.machine = machine
            self.snapshot = snapshot
            self.template = template
            self.properties = properties
            self.isRebasing = isRebasing
            self.publicKeyPEM = publicKeyPEM
            self.repository = repository
            self.repositoryKey = repositoryKey
        }
    }

    package struct MachineExport: Sendable, Codable {
        package var machine: String
        /// Nil: as it is now; then the VM has moved, unless `isKept`.
        package var snapshot: String?
        package var path: String
        package var isKept: Bool
        package var overwrites: Bool

        package init(
            machine: String,
            snapshot: String?,
            path: String,
            isKept: Bool,
            overwrites: Bool
        ) {
            self.machine = machine
            self.snapshot = snapshot
            self.path = path
            self.isKept = isKept
            self.overwrites = overwrites
        }
    }

    package struct MachineImport: Sendable, Codable {
        package var path: String
        /// Nil: the name it had.
        package var name: String?
        /// May be made though the export was imported here before.
        package var isClone: Bool
        package var overlayPlace: String?

        package init(path: String, name: String?, isClone: Bool, overlayPlace: String?) {
            self.path = path
            self.name = name
            self.isClone = isClone
            self.overlayPlace = overlayPlace
        }
    }

    /// A publish as it travels; bytes of carried files come along, image bytes do not.
    package struct Publication: Sendable, Codable {
        package var template: String
        package var disks: [Disk]
        package var properties: [String: String]
        package var files: [File]
        package var segmentSize: Int
        package var isDryRun: Bool
        /// PEM of the key that will sign; its private half stays with the command.
        package var publicKeyPEM: String
        /// The face address of the repository; nil for this node.
        package var repository: String?
        /// The beginning of the id, in hexadecimal, of the key that the repository may sign the catalog with.
        package var repositoryKey: String?

        package struct Disk: Sendable, Codable {
            package var name: String
            /// Nil: raw bytes come over the connection.
            package var path: String?
            package var format: String?

            package init(name: String, path: String?, format: String?) {
                self.name = name
                self.path = path
                self.format = format
            }
        }

        package struct File: Sendable, Codable {
            package var name: String
            /// Base 64 in JSON, where an array of numbers would be four times as long.
            package var bytes: Data

            package init(name: String, bytes: [UInt8]) {
                self.name = name
                self.bytes = Data(bytes)
            }
        }

        package init(
            template: String,
            disks: [Disk],
            properties: [String: String],
            files: [File],
            segmentSize: Int,
            isDryRun: Bool,
            publicKeyPEM: String
        ) {
            self.template = template
            self.disks = disks
            self.properties = properties
            self.files = files
            self.segmentSize = segmentSize
            self.isDryRun = isDryRun
            self.publicKeyPEM = publicKeyPEM
        }
    }
}
