package import CCNx
package import Failures
internal import Foundation
package import Store

/// The templates of a namespace as its catalog lists them.
package struct Listing: Sendable {
    package var versions: [VersionRow]
    package var tags: [TagRow]

    package init(versions: [VersionRow], tags: [TagRow]) {
        self.versions = versions
        self.tags = tags
    }

    private struct Fields: Codable {
        var templates: [Template]

        struct Template: Codable {
            var name: String
            var versions: [Version]
            var tags: [String: Int]
        }

        struct Version: Codable {
            var version: Int
            var record: String
            var withdrawn: Int?
        }
    }

    package func json() throws(Failure) -> [UInt8] {
        let names = Set(versions.map(\.template)).sorted()
        let templates = names.map { name in
            Fields.Template(
                name: name.uri,
                versions: versions.filter { $0.template == name }.map {
                    Fields.Version(
                        version: $0.version,
                        record: $0.record.hex,
                        withdrawn: $0.withdrawn
                    )
                },
                tags: Dictionary(
                    uniqueKeysWithValues: tags.filter { $0.template == name }
                        .map { ($0.tag, $0.version) }
                )
            )
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(Fields(templates: templates)))
        } catch {
            throw Failure(.invalid, "the listing cannot be written: \(error)")
        }
    }

    package init(json: [UInt8], namespace: Name, publishedHere: Bool) throws(Failure) {
        let fields: Fields
        do {
            fields = try JSONDecoder().decode(Fields.self, from: Data(json))
        } catch {
            throw Failure(.invalid, "this is no listing of \(namespace): \(error)")
        }
        versions = []
        tags = []
        var listed: Set<Name> = []
        for template in fields.templates {
            let name = try Name.templateName(uri: template.name)
            guard name.hasPrefix(namespace) else {
                throw Failure(.untrusted, "the catalog of \(namespace) lists \(name)")
            }
            var numbers: Set<Int> = []
            let isNew = listed.insert(name).inserted
            for version in template.versions {
                guard let record = ObjectId(hex: version.record), version.version > 0, isNew,
                    numbers.insert(version.version).inserted
                else {
                    throw Failure(.invalid, "the listing of \(name) is malformed")
                }
                versions.append(
                    VersionRow(
                        template: name,
                        version: version.version,
                        record: record,
                        publishedHere: publishedHere,
                        withdrawn: version.withdrawn
                    )
                )
            }
            for (tag, version) in template.tags {
                // It becomes the name of a symbolic link.
                try TemplateRecord.check(itemName: tag)
                tags.append(TagRow(template: name, tag: tag, version: version))
            }
        }
    }
}
