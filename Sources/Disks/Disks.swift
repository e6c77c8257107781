/// Limits of the disks of one node.
package enum Disks {
    /// Bytes: ext4 ends a file at 16 TiB, and an overlay is one file.
    package static let sizeLimit = 8 << 40
    package static let diskLimit = 4096
}
