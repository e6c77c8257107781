internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Files

struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Make VMs from a template, at once and whatever its size.",
        discussion: """
            Several names make several VMs, all of them or none.

            EXAMPLES
              ccnfs deploy ccnx:/mycorp.com/app1/linuxvm web-01 --size 20G
              ccnfs deploy ccnx:/mycorp.com/app1/linuxvm ci-{001..100}
              ccnfs deploy ccnx:/mycorp.com/db db-01 --vm-store /srv/fast
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template.") var name: String
    @Argument(help: "The VMs' names.") var machines: [String]
    @Option(name: [.customLong("version"), .customShort("n")], help: "Default: the newest.")
    var number: Int?
    @Option(help: "Bytes of the first disk, at least the template's.") var size: String?
    @Option(
        help: ArgumentHelp(
            "Keep the VMs' written blocks in this directory (default: the node's).",
            valueName: "dir"
        )
    )
    var vmStore: String?

    func validate() throws {
        if machines.isEmpty { throw ValidationError("name at least one VM") }
    }

    func run() async throws {
        let name = try Name.templateName(uri: name).uri
        let deployment = ControlRequest.Deployment(
            template: name,
            version: number,
            machines: machines,
            size: try size.map { text throws(Failure) in try ByteCount.parse(text) },
            overlayPlace: vmStore.map(FileTree.absolute)
        )
        let made = try await global.perform(.deploy(deployment)) {
            (response) -> [MachineSummary]? in
            if case .machines(let made) = response { made } else { nil }
        }
        if global.json {
            // One VM was one value before there could be several.
            return made.count == 1 ? try Output.json(made[0]) : try Output.json(made)
        }
        for machine in made {
            Output.line(
                "\(machine.name) is deployed from \(name) version \(machine.templateVersion ?? 0)"
            )
            for disk in machine.disks {
                Output.line("  \(disk.name)  \(ByteCount.text(disk.size))")
            }
        }
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
            ["VM", "DISK", "SIZE", "WRITTEN", "SNAPSHOTS", "TEMPLATE", "STATE"],
            machines.flatMap { machine in
                let template =
                    machine.template.map { "\($0) version \(machine.templateVersion ?? 0)" } ?? "-"
                if machine.disks.isEmpty {
                    return [[machine.name, "-", "-", "-", "-", template, "no disks"]]
                }
                return machine.disks.map { disk in
                    [
                        machine.name, disk.name, ByteCount.text(disk.size),
                        ByteCount.text(disk.writtenBytes), String(machine.snapshots.count),
                        template,
                        Self.state(of: disk, machine),
                    ]
                }
            }
        )
    }
}

extension VMsCommand {
    private static func state(of disk: MachineSummary.Disk, _ machine: MachineSummary) -> String {
        if let problem = disk.problem { return "OUT OF SERVICE: \(problem)" }
        return machine.movedAs == nil ? "well" : "moved, read-only"
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
