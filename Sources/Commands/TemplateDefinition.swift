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
    private static let diskKeys: Set<String> = ["image", "name", "format"]

    init(path: String) throws(Failure) {
        self.path = FileTree.absolute(path)
        let text = String(decoding: try FileTree.bytes(of: path, limit: 1 << 20), as: UTF8.self)
        do {
            guard let document = try Yams.compose(yaml: text), document.mapping != nil else {
                throw Failure(.configuration, "\(path):1: this describes no template")
            }
            try Self.check(document, Self.keys, path)
            for disk in document["disks"]?.sequence ?? [] {
                try Self.check(disk, Self.diskKeys, path)
            }
            do {
                fields = try YAMLDecoder().decode(Fields.self, from: text)
            } catch let error as DecodingError {
                throw Self.failure(error, in: document, path)
            }
        } catch let failure as Failure {
            throw failure
        } catch YamlError.scanner(_, let problem, let mark, _) {
            throw Failure(.configuration, "\(path):\(mark.line): \(problem)")
        } catch YamlError.parser(_, let problem, let mark, _) {
            throw Failure(.configuration, "\(path):\(mark.line): \(problem)")
        } catch YamlError.composer(_, let problem, let mark, _) {
            throw Failure(.configuration, "\(path):\(mark.line): \(problem)")
        } catch {
            throw Failure(.configuration, "\(path): \(error)")
        }
    }

    private static func check(
        _ node: Node,
        _ keys: Set<String>,
        _ path: String
    ) throws(Failure) {
        guard let mapping = node.mapping else { return }
        for key in mapping.keys {
            guard let name = key.string, keys.contains(name) else {
                throw Failure(
                    .configuration,
                    "\(path):\(key.mark?.line ?? 1): there is no key \(key.string ?? "?")",
                    hint: "the keys are \(keys.sorted().joined(separator: ", "))"
                )
            }
        }
    }

    private static func failure(
        _ error: DecodingError,
        in document: Node,
        _ path: String
    ) -> Failure {
        func told(_ what: String, at place: [any CodingKey]) -> Failure {
            var node = document
            var line = node.mark?.line ?? 1
            for key in place {
                let next = key.intValue.flatMap { node.sequence?[$0] } ?? node[key.stringValue]
                guard let next else { break }
                node = next
                line = node.mark?.line ?? line
            }
            return Failure(.configuration, "\(path):\(line): \(what)")
        }
        switch error {
        case .keyNotFound(let key, let context):
            return told("\(key.stringValue) is missing", at: context.codingPath)
        case .typeMismatch(_, let context), .valueNotFound(_, let context),
            .dataCorrupted(let context):
            let place = context.codingPath.map(\.stringValue).joined(separator: ".")
            return told("\(place) has a value of the wrong kind", at: context.codingPath)
        @unknown default:
            return Failure(.configuration, "\(path): \(error)")
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
