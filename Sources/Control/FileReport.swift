/// What is behind one file of the tree. Bytes everywhere.
package struct FileReport: Sendable, Codable {
    package enum Kind: String, Sendable, Codable { case templateDisk, machineDisk, snapshotDisk }

    package var path: String
    package var kind: Kind
    package var size: Int
    /// The template it shows or was cloned from.
    package var template: String?
    package var version: Int?
    /// Bytes that are data below: in the template, or in what the disk's profile maps to.
    package var dataBytes: Int
    /// Of those, what this node has.
    package var localBytes: Int
    /// Bytes in blocks written on this node.
    package var writtenBytes: Int
    /// Why it answers EIO, or did last.
    package var error: String?

    package init(
        path: String,
        kind: Kind,
        size: Int,
        template: String?,
        version: Int?,
        dataBytes: Int,
        localBytes: Int,
        writtenBytes: Int,
        error: String?
    ) {
        self.path = path
        self.kind = kind
        self.size = size
        self.template = template
        self.version = version
        self.dataBytes = dataBytes
        self.localBytes = localBytes
        self.writtenBytes = writtenBytes
        self.error = error
    }
}

/// Which sectors of a file are what.
package struct FileMap: Sendable, Codable {
    package var path: String
    package var size: Int
    package var runs: [Run]

    package struct Run: Sendable, Codable {
        package enum Kind: String, Sendable, Codable { case object, overlay, hole }

        package var start: Int
        package var byteCount: Int
        package var kind: Kind
        /// The object's CCNx URI.
        package var uri: String?

        package init(start: Int, byteCount: Int, kind: Kind, uri: String? = nil) {
            self.start = start
            self.byteCount = byteCount
            self.kind = kind
            self.uri = uri
        }
    }

    package init(path: String, size: Int, runs: [Run]) {
        self.path = path
        self.size = size
        self.runs = runs
    }
}
