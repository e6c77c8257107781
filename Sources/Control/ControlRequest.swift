package import Foundation

/// What a `ccnfs` command asks of a node. Names are URIs, sizes bytes, paths absolute.
package enum ControlRequest: Sendable, Codable {
    case listTemplates
    case listMachines
    case show(template: String, version: Int?)
    case tag(template: String, tag: String, version: Int?)
    case trustEntries
    case addTrust(prefix: String, publicKeyPEM: String)
    case removeTrust(prefix: String, keyId: String)
    case publish(Publication)
    case deploy(template: String, version: Int?, machine: String, size: Int?)
    case delete(template: String, version: Int?)
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
