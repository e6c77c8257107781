import Control
import Failures
import Files
import TestSupport
import Testing

@testable import Commands

struct TemplateDefinitionTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func publication(_ yaml: String) throws -> ControlRequest.Publication {
        let path = "\(folder.path)/template.yaml"
        try FileTree.replace(path, with: Array(yaml.utf8), permissions: 0o600)
        return try TemplateDefinition(path: path).publication()
    }

    @Test func readsEverythingThatATemplateMayHave() throws {
        try FileTree.replace(
            "\(folder.path)/domain.xml",
            with: Array("<domain/>".utf8),
            permissions: 0o600
        )
        let publication = try publication(
            """
            name: ccnx:/mycorp.com/app1/linuxvm
            disks:
              - image: debian.qcow2        # beside this file
                name: root
                format: qcow2
              - image: /images/data.raw
              - image: "-"
            properties: {arch: x86_64, memory: 2G, cpus: 2}
            files: [domain.xml]
            segmentSize: 16K
            """
        )
        #expect(publication.template == "ccnx:/mycorp.com/app1/linuxvm")
        #expect(publication.disks.map(\.name) == ["root", "disk1", "disk2"])
        #expect(
            publication.disks.map(\.path)
                == ["\(folder.path)/debian.qcow2", "/images/data.raw", nil]
        )
        #expect(publication.disks.map(\.format) == ["qcow2", nil, nil])
        #expect(publication.properties == ["arch": "x86_64", "memory": "2G", "cpus": "2"])
        #expect(publication.files.map(\.name) == ["domain.xml"])
        #expect(publication.files.map { Array($0.bytes) } == [Array("<domain/>".utf8)])
        #expect(publication.segmentSize == 16 << 10)
        #expect(!publication.isDryRun)
    }

    @Test func hasDefaults() throws {
        let publication = try publication(
            "{name: 'ccnx:/mycorp.com/vm', disks: [{image: a.raw}]}"
        )
        #expect(publication.disks.map(\.name) == ["disk0"])
        #expect(publication.segmentSize == 32 << 10)
        #expect(publication.properties.isEmpty)
        #expect(publication.files.isEmpty)
    }

    @Test(
        arguments: [
            ("name: ccnx:/a/b\ndisks:\n  - image: x\nsegmentsize: 4K\n", ":4:1: ", "segmentsize"),
            ("name: ccnx:/a/b\ndisks: [{image: x}\n", ":", ""),
            ("name: ccnx:/a/b\n\tdisks: []\n", ":2:", ""),
            ("disks: [{image: x}]\n", ":1:1: ", "name is missing"),
            ("name: ccnx:/a/b\n", ":1:1: ", "disks is missing"),
            ("name: ccnx:/a/b\ndisks:\n  - name: x\n", ":3:5: ", "image is missing"),
            ("name: ccnx:/a/b\ndisks:\n  - image: x\n    nme: y\n", ":4:5: ", "nme"),
            ("name: ccnx:/a/b\ndisks: 5\n", ":2:8: ", "disks"),
            ("name: ccnx:/a/b\ndisks:\n  - image: [x]\n", ":3:12: ", "image"),
            ("name: [a]\ndisks: [{image: x}]\n", ":1:7: ", "name"),
            ("", ":1:1: ", "no template"), ("just text\n", ":1:1: ", "no template"),
            ("- a\n- b\n", ":1:1: ", "no template"),
        ])
    func saysWhatIsWrongAndWhere(yaml: String, line: String, reason: String) async {
        let refused = await failure { try publication(yaml) }
        let message = refused?.message ?? ""
        #expect(refused?.kind == .configuration)
        #expect(message.contains("template.yaml\(line)"))
        #expect(message.contains(reason))
    }

    @Test func refusesWhatNoTemplateCanHave() async {
        let name = await failure { try publication("{name: 'ccnx:/a', disks: [{image: x}]}") }
        #expect(name?.kind == .invalid)
        let size = await failure {
            try publication("{name: 'ccnx:/a/b', disks: [{image: x}], segmentSize: big}")
        }
        #expect(size?.kind == .usage)
        let file = await failure {
            try publication("{name: 'ccnx:/a/b', disks: [{image: x}], files: [none.xml]}")
        }
        #expect(file?.kind == .notFound)
        let missing = await failure { try TemplateDefinition(path: "\(folder.path)/none.yaml") }
        #expect(missing?.kind == .notFound)
    }
}
