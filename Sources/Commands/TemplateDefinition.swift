internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Yams

/// A template as a YAML file describes it:
/// ```yaml
/// name: ccnx:/mycorp.com/app1/linuxvm
/// disks:
///   - image: debian.qcow2        # beside this file
///     name: disk0                # default: disk0, disk1, …
///     format: qcow2              # default: told from its first bytes
/// properties: {arch: x86_64, memory: 2G}
/// files: [domain.xml]
/// segmentSize: 32K
/// ```
struct TemplateDefinition {
    private let path: String
    private let fields: Fields

    private struct Fields: Decodable {
        var name: String
        var disks: [Disk]
        var properties: [String: String]?
        var files: [String]?
        var segmentSize: String?
    }

    private struct Disk: Decodable {
        var image: String
        var name: String?
        var format: String?
    }

    private static let keys: Set<String> = ["name", "disks", "properties", "files", "segmentSize"]

    init(path: String) throws(Failure) {
        self.path = FileTree.absolute(path)
        let text = String(decoding: try FileTree.bytes(of: path, limit: 1 << 20), as: UTF8.self)
        do {
            if let node = try Yams.compose(yaml: text), let mapping = node.mapping {
                for key in mapping.keys {
                    guard let name = key.string, Self.keys.contains(name) else {
                        throw Failure(
                            .configuration,
                            "\(path):\(key.mark?.line ?? 1): there is no key \(key.string ?? "?")",
                            hint: "the keys are \(Self.keys.sorted().joined(separator: ", "))"
                        )
                    }
                }
            }
            fields = try YAMLDecoder().decode(Fields.self, from: text)
        } catch let failure as Failure {
            throw failure
        } catch let error as YamlError {
            throw Failure(.configuration, "\(path): \(error)")
        } catch let DecodingError.keyNotFound(key, _) {
            throw Failure(.configuration, "\(path): \(key.stringValue) is missing")
        } catch let DecodingError.typeMismatch(_, context) {
            let place = context.codingPath.map(\.stringValue).joined(separator: ".")
            throw Failure(.configuration, "\(path): \(place) has a value of the wrong kind")
        } catch {
            throw Failure(.configuration, "\(path): \(error)")
        }
    }

    func publication() throws(Failure) -> ControlRequest.Publication {
        let base = FileTree.parent(of: path) ?? "/"
        func beside(_ file: String) -> String { file.hasPrefix("/") ? file : "\(base)/\(file)" }
        return ControlRequest.Publication(
            template: try Name.templateName(uri: fields.name).uri,
            disks: fields.disks.enumerated().map { index, disk in
                ControlRequest.Publication.Disk(
                    name: disk.name ?? "disk\(index)",
                    path: disk.image == "-" ? nil : beside(disk.image),
                    format: disk.format
                )
            },
            properties: fields.properties ?? [:],
            files: try (fields.files ?? []).map { (file) throws(Failure) in
                try .read(beside(file))
            },
            segmentSize: try fields.segmentSize.map { (text) throws(Failure) in
                try ByteCount.parse(text)
            } ?? 32 << 10,
            isDryRun: false,
            publicKeyPEM: ""
        )
    }
}
