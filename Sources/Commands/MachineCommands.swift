internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures

struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Make a VM from a template, at once and whatever its size.",
        discussion: """
            EXAMPLE
              ccnfs deploy ccnx:/mycorp.com/app1/linuxvm web-01 --size 20G
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template.") var name: String
    @Argument(help: "The VM's name.") var machine: String
    @Option(name: [.customLong("version"), .customShort("n")], help: "Default: the newest.")
    var number: Int?
    @Option(help: "Bytes of the first disk, at least the template's.") var size: String?

    func run() async throws {
        let name = try Name.templateName(uri: name).uri
        let request = ControlRequest.deploy(
            template: name,
            version: number,
            machine: machine,
            size: try size.map { text throws(Failure) in try ByteCount.parse(text) }
        )
        let summary = try await global.perform(request) { (response) -> MachineSummary? in
            if case .deployed(let summary) = response { summary } else { nil }
        }
        if global.json { return try Output.json(summary) }
        Output.line(
            "\(summary.name) is deployed from \(name) version \(summary.templateVersion ?? 0)"
        )
        for disk in summary.disks { Output.line("  \(disk.name)  \(ByteCount.text(disk.size))") }
    }
}

struct VMsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vms",
        abstract: "List the VMs of this node.",
        discussion: """
            EXAMPLE
              ccnfs vms
            """
    )

    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let machines = try await global.perform(.listMachines) { (response) -> [MachineSummary]? in
            if case .machines(let machines) = response { machines } else { nil }
        }
        if global.json { return try Output.json(machines) }
        Output.table(
            ["VM", "DISK", "SIZE", "WRITTEN", "TEMPLATE", "STATE"],
            machines.flatMap { machine in
                let template =
                    machine.template.map { "\($0) version \(machine.templateVersion ?? 0)" } ?? "-"
                if machine.disks.isEmpty {
                    return [[machine.name, "-", "-", "-", template, "no disks"]]
                }
                return machine.disks.map { disk in
                    [
                        machine.name, disk.name, ByteCount.text(disk.size),
                        ByteCount.text(disk.writtenBytes), template,
                        disk.problem.map { "OUT OF SERVICE: \($0)" } ?? "well",
                    ]
                }
            }
        )
    }
}

struct MapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "map",
        abstract: "Show which sectors of a file are which object's.",
        discussion: """
            Sectors have 512 bytes. A run is an object (named by its URI), blocks written on this node
            (overlay), or a hole.

            EXAMPLE
              ccnfs map /ccn/localhost/web-01/disk0
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "A file of the mount.") var file: String

    func run() async throws {
        let map = try await global.perform(.fileMap(path: PathArgument.treePath(file))) {
            (response) -> FileMap? in
            if case .fileMap(let map) = response { map } else { nil }
        }
        if global.json { return try Output.json(map) }
        Output.table(
            ["SECTOR", "COUNT", "KIND", "OBJECT"],
            map.runs.map { run in
                [
                    String(run.start / 512), String((run.byteCount + 511) / 512),
                    run.kind.rawValue, run.uri ?? "",
                ]
            }
        )
    }
}
