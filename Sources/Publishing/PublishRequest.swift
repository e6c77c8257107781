package import CCNx
package import Images
package import Templates

/// What to publish, and as what.
package struct PublishRequest: Sendable {
    package var template: Name
    /// In the order of the disks.
    package var disks: [DiskSource]
    package var properties: [String: String]
    /// Small files carried along.
    package var files: [FileSource]
    /// Bytes; one of `ContentDescriptor.segmentSizes`.
    package var segmentSize: Int
    /// Says what would be stored, and stores nothing.
    package var isDryRun: Bool
    /// The VM that it is made from.
    package var origin: TemplateRecord.Origin?

    package struct DiskSource: Sendable {
        /// `disk0`, `disk1`, …
        package var name: String
        /// Absolute path; nil reads raw bytes from the request's stream.
        package var path: String?
        /// Nil: told from the file's first bytes.
        package var format: ImageFormat?
        /// A VM's disk instead of an image.
        package var derived: DerivedDisk?

        package init(name: String, derived: DerivedDisk) {
            self.name = name
            self.derived = derived
        }

        package init(name: String, path: String?, format: ImageFormat?) {
            self.name = name
            self.path = path
            self.format = format
        }
    }

    package struct FileSource: Sendable {
        package var name: String
        package var bytes: [UInt8]

        package init(name: String, bytes: [UInt8]) {
            self.name = name
            self.bytes = bytes
        }
    }

    package init(
        template: Name,
        disks: [DiskSource],
        properties: [String: String] = [:],
        files: [FileSource] = [],
        segmentSize: Int = 32 << 10,
        isDryRun: Bool = false,
        origin: TemplateRecord.Origin? = nil
    ) {
        self.template = template
        self.disks = disks
        self.properties = properties
        self.files = files
        self.segmentSize = segmentSize
        self.isDryRun = isDryRun
        self.origin = origin
    }

    /// Bytes of a carried file at most; they are kept in SQLite.
    package static let fileByteLimit = 16 << 20
    /// Bytes of all carried files of a template.
    package static let filesByteLimit = 32 << 20
    package static let diskLimit = 64
    package static let fileLimit = 64
}

/// What was published.
package struct PublishReport: Sendable, Codable, Equatable {
    package var template: String
    package var version: Int
    package var isDryRun: Bool
    package var disks: [DiskReport]
    /// Of all disks together.
    package var newSegments: Int
    package var newBytes: Int
    package var seconds: Double

    init(template: String, version: Int, isDryRun: Bool, disks: [DiskReport], seconds: Double) {
        self.template = template
        self.version = version
        self.isDryRun = isDryRun
        self.disks = disks
        newSegments = disks.reduce(0) { $0 + $1.newSegments }
        newBytes = disks.reduce(0) { $0 + $1.newBytes }
        self.seconds = seconds
    }

    package struct DiskReport: Sendable, Codable, Equatable {
        package var name: String
        /// Bytes a guest sees.
        package var size: Int
        package var root: String
        /// Segments that are not holes.
        package var segments: Int
        package var holes: Int
        package var newSegments: Int
        package var knownSegments: Int
        package var newBytes: Int
        package var knownBytes: Int
        /// Bytes that were read to know all this.
        package var readBytes: Int
    }
}

/// How far a publish is.
package struct PublishProgress: Sendable, Codable {
    package var disk: String
    /// Bytes of data looked at, and in all; the latter is nil while nobody knows.
    package var doneBytes: Int
    package var totalBytes: Int?
    package var newBytes: Int
    package var seconds: Double
}
