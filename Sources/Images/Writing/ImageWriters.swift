package import Failures

package enum ImageWriters {
    /// Begins an image of `virtualSize` bytes at `path`, which must be free.
    ///
    /// - Parameter overwrite: a file at `path` is replaced when the new image is whole, and keeps its
    ///   permissions; the beginning of a block device is overwritten in place, raw only.
    /// - Throws: `.exists`; `.unsupported` for a format that is not written here.
    package static func open(
        path: String,
        format: ImageFormat,
        virtualSize: Int,
        overwrite: Bool = false
    ) throws(Failure) -> any ImageWriter {
        switch format {
        case .raw:
            return try RawImageWriter(path: path, virtualSize: virtualSize, overwrite: overwrite)
        case .qcow2:
            return try QCOW2ImageWriter(path: path, virtualSize: virtualSize, overwrite: overwrite)
        case .vmdk, .vhdx, .vdi:
            throw Failure(
                .unsupported,
                "images of format \(format.rawValue) are read here, but not written",
                hint: "write qcow2 and convert it:"
                    + " qemu-img convert -f qcow2 -O \(format.rawValue) FILE.qcow2 \(path)"
            )
        }
    }

    static func requireWholeSectors(_ virtualSize: Int, path: String) throws(Failure) {
        guard virtualSize > 0, virtualSize % sectorSize == 0 else {
            throw Failure(
                .invalid,
                "a disk of \(virtualSize) bytes, which is no whole number of"
                    + " \(sectorSize)-byte sectors, cannot be written to \(path)"
            )
        }
    }
}
