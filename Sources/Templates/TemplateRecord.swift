package import CCNx
package import Failures
internal import Foundation
package import Profiles
internal import Store

/// What a publisher says, and signs, of one version of a template: the contents of `template.json`.
///
/// Format 1; see Docs/Formats.md. Bytes are kept as published: only they were signed.
package struct TemplateRecord: Sendable, Equatable {
    package static let format = 1
    package static let fileName = "template.json"

    package var name: Name
    package var version: Int
    package var parentVersion: Int?
    package var publisher: KeyId
    /// Seconds since 1970.
    package var time: Int
    package var properties: [String: String]
    package var disks: [Item]
    package var files: [Item]
    /// The VM it was made from; nil for one made from images.
    package var origin: Origin?

    /// Where a republished version comes from.
    package struct Origin: Sendable, Equatable {
        package var machine: String
        package var snapshot: String?
        /// What the VM was deployed from, if that is known.
        package var template: Name?
        package var version: Int?

        package init(machine: String, snapshot: String?, template: Name?, version: Int?) {
            self.machine = machine
            self.snapshot = snapshot
            self.template = template
            self.version = version
        }
    }

    /// A disk, or a file that is carried along.
    package struct Item: Sendable, Equatable {
        package var name: String
        package var content: ContentDescriptor
        /// Bytes of segments that are not holes.
        package var dataByteCount: Int

        package init(name: String, content: ContentDescriptor, dataByteCount: Int) {
            self.name = name
            self.content = content
            self.dataByteCount = dataByteCount
        }
    }

    /// Of the Content Object that the publisher signs.
    package var signedName: Name {
        name.appending([.name("@record"), .name(String(version)), .chunk(0)])
    }

    package init(
        name: Name,
        version: Int,
        parentVersion: Int?,
        publisher: KeyId,
        time: Int,
        properties: [String: String],
        disks: [Item],
        files: [Item],
        origin: Origin? = nil
    ) {
        self.name = name
        self.version = version
        self.parentVersion = parentVersion
        self.publisher = publisher
        self.time = time
        self.properties = properties
        self.disks = disks
        self.files = files
        self.origin = origin
    }

    /// Disks and files by name.
    package func item(named name: String) -> Item? {
        disks.first { $0.name == name } ?? files.first { $0.name == name }
    }
}

// MARK: - JSON

extension TemplateRecord {
    /// - Throws: `.invalid` for what is no record, `.unsupported` for a newer format.
    package init(json: [UInt8]) throws(Failure) {
        let fields: Fields
        do {
            fields = try JSONDecoder().decode(Fields.self, from: Data(json))
        } catch {
            throw Failure(.invalid, "this is no template record: \(error)")
        }
        guard fields.format <= Self.format else {
            throw Failure(
                .unsupported,
                "the template record has format \(fields.format)",
                hint: "a newer ccnfs reads it"
            )
        }
        guard let publisher = SHA256Digest(hex: fields.publisher) else {
            throw Failure(.invalid, "the template record's publisher is no key id")
        }
        guard let time = try? Date(fields.time, strategy: .iso8601),
            // Nanoseconds of it fit 64 bits.
            (0...9_223_372_035).contains(time.timeIntervalSince1970)
        else {
            throw Failure(.invalid, "the template record's time is none")
        }
        guard fields.version > 0 else {
            throw Failure(.invalid, "the template record has version \(fields.version)")
        }
        let names = (fields.disks + fields.files).map(\.name)
        guard Set(names).count == names.count else {
            throw Failure(.invalid, "the template record has two disks or files of one name")
        }
        self.init(
            name: try Name.templateName(uri: fields.name),
            version: fields.version,
            parentVersion: fields.parentVersion,
            publisher: KeyId(publisher),
            time: Int(time.timeIntervalSince1970),
            properties: fields.properties,
            disks: try fields.disks.map { (item) throws(Failure) in try item.checked() },
            files: try fields.files.map { (item) throws(Failure) in try item.checked() },
            origin: try fields.origin.map { (origin) throws(Failure) in try origin.checked() }
        )
    }

    package func json() throws(Failure) -> [UInt8] {
        let fields = Fields(
            format: Self.format,
            name: name.uri,
            version: version,
            parentVersion: parentVersion,
            publisher: publisher.digest.hex,
            time: Date(timeIntervalSince1970: Double(time)).formatted(.iso8601),
            properties: properties,
            disks: disks.map(Fields.Item.init),
            files: files.map(Fields.Item.init),
            origin: origin.map(Fields.Origin.init)
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(fields)) + [UInt8(ascii: "\n")]
        } catch {
            throw Failure(.invalid, "the template record cannot be written: \(error)")
        }
    }

    private struct Fields: Codable {
        var format: Int
        var name: String
        var version: Int
        var parentVersion: Int?
        var publisher: String
        var time: String
        var properties: [String: String]
        var disks: [Item]
        var files: [Item]
        /// Absent in a version made from images.
        var origin: Origin?

        struct Origin: Codable {
            var vm: String
            var snapshot: String?
            var template: String?
            var version: Int?

            init(_ origin: TemplateRecord.Origin) {
                vm = origin.machine
                snapshot = origin.snapshot
                template = origin.template?.uri
                version = origin.version
            }

            func checked() throws(Failure) -> TemplateRecord.Origin {
                TemplateRecord.Origin(
                    machine: vm,
                    snapshot: snapshot,
                    template: try template.map { (uri) throws(Failure) in try Name(uri: uri) },
                    version: version
                )
            }
        }

        struct Item: Codable {
            var name: String
            var size: Int
            var segmentSize: Int
            var root: String
            var levels: Int
            var dataBytes: Int

            init(_ item: TemplateRecord.Item) {
                name = item.name
                size = item.content.size
                segmentSize = item.content.segmentSize
                root = item.content.root.hex
                levels = item.content.levels
                dataBytes = item.dataByteCount
            }

            func checked() throws(Failure) -> TemplateRecord.Item {
                try TemplateRecord.check(itemName: name)
                let content = try ContentDescriptor.checked(
                    root: root,
                    size: size,
                    segmentSize: segmentSize,
                    levels: levels,
                    of: name
                )
                guard dataBytes >= 0, dataBytes <= content.segmentCount * segmentSize else {
                    throw Failure(.invalid, "\(name) cannot have \(dataBytes) bytes of data")
                }
                return TemplateRecord.Item(
                    name: name,
                    content: content,
                    dataByteCount: dataBytes
                )
            }
        }
    }

    /// Names of disks and files inside a template.
    package static func check(itemName name: String) throws(Failure) {
        guard !name.isEmpty, name.utf8.count <= 255, !name.hasPrefix("."), !name.hasPrefix("@"),
            !name.contains("/"), name != fileName,
            !name.unicodeScalars.contains(where: { $0.value < 32 })
        else {
            throw Failure(
                .invalid,
                "\"\(name)\" cannot name a disk, file or tag of a template: 1 to 255 bytes, not beginning "
                    + "with . or @, without / and control characters, and not \(fileName)"
            )
        }
    }
}

extension ContentDescriptor {
    package static let segmentSizes = [4096, 8192, 16384, 32768]
    /// Bytes; see Docs/Formats.md.
    package static let sizeLimit = 8 << 40

    /// Takes what a record or a catalog says of a content, if it can be true.
    static func checked(
        root hex: String,
        size: Int,
        segmentSize: Int,
        levels: Int,
        of what: String
    ) throws(Failure) -> ContentDescriptor {
        guard let root = ObjectId(hex: hex) else {
            throw Failure(.invalid, "the root of \(what) is no object id")
        }
        guard size >= 0, size <= sizeLimit, segmentSizes.contains(segmentSize),
            levels == ManifestNode.levels(size: size, segmentSize: segmentSize)
        else {
            throw Failure(
                .invalid,
                "\(what) cannot have \(size) bytes in segments of \(segmentSize) on \(levels) levels"
            )
        }
        return ContentDescriptor(
            root: root,
            size: size,
            segmentSize: segmentSize,
            levels: levels
        )
    }
}
