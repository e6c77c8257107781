package import Failures

package enum ImageSources {
    /// Opens the image at `path`. Without `format` its first bytes tell the format; with one, they
    /// are not asked.
    package static func open(
        path: String,
        format: ImageFormat? = nil
    ) throws(Failure) -> any ImageSource {
        let format = if let format { format } else { try ImageFormat.detect(path: path) }
        switch format {
        case .raw:
            return try RawImage(path: path)
        case .qcow2, .vmdk, .vhdx, .vdi:
            return try NBDImage(path: path, format: format)
        }
    }
}
