internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Settings

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
    private let name: String
    private let disks: [Disk]
    private let properties: [String: String]
    private let files: [String]
    private let segmentSize: String?

    private struct Disk {
        var image: String
        var name: String?
        var format: String?
    }

    private enum Key: String, CaseIterable { case name, disks, properties, files, segmentSize }

    private enum DiskKey: String, CaseIterable { case image, name, format }

    init(path: String) throws(Failure) {
        self.path = FileTree.absolute(path)
        guard let root = try YAMLDocument.root(of: path), root.isMapping else {
            throw Failure(.configuration, "\(path):1:1: this describes no template")
        }
        var found: (name: String?, disks: [Disk]?, segmentSize: String?) = (nil, nil, nil)
        var properties: [String: String] = [:]
        var files: [String] = []
        try root.visit(Key.self) { (key, value) throws(Failure) in
            switch key {
            case .name: found.name = try value.text()
            case .disks:
                found.disks = try value.list { (item) throws(Failure) in try Self.disk(item) }
            case .properties:
                for (key, value) in try value.entries() { properties[key] = try value.text() }
            case .files: files = try value.list { (item) throws(Failure) in try item.text() }
            case .segmentSize: found.segmentSize = try value.text()
            }
        }
        guard let name = found.name else { throw root.missing(Key.name.rawValue) }
        guard let disks = found.disks else { throw root.missing(Key.disks.rawValue) }
        self.name = name
        self.disks = disks
        self.properties = properties
        self.files = files
        segmentSize = found.segmentSize
    }

    private static func disk(_ item: YAMLValue) throws(Failure) -> Disk {
        var found: (image: String?, name: String?, format: String?) = (nil, nil, nil)
        try item.visit(DiskKey.self) { (key, value) throws(Failure) in
            switch key {
            case .image: found.image = try value.text()
            case .name: found.name = try value.text()
            case .format: found.format = try value.text()
            }
        }
        guard let image = found.image else { throw item.missing(DiskKey.image.rawValue) }
        return Disk(image: image, name: found.name, format: found.format)
    }

    func publication() throws(Failure) -> ControlRequest.Publication {
        let base = FileTree.parent(of: path) ?? "/"
        func beside(_ file: String) -> String { file.hasPrefix("/") ? file : "\(base)/\(file)" }
        return ControlRequest.Publication(
            template: try Name.templateName(uri: name).uri,
            disks: disks.enumerated().map { index, disk in
                ControlRequest.Publication.Disk(
                    name: disk.name ?? "disk\(index)",
                    path: disk.image == "-" ? nil : beside(disk.image),
                    format: disk.format
                )
            },
            properties: properties,
            files: try files.map { (file) throws(Failure) in
                try .read(beside(file))
            },
            segmentSize: try segmentSize.map { (text) throws(Failure) in
                try ByteCount.parse(text)
            } ?? 32 << 10,
            isDryRun: false,
            publicKeyPEM: ""
        )
    }
}
