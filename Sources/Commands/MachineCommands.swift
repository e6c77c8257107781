internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Management

struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Make VMs from a template, at once and whatever its size.",
        discussion: """
            Several names make several VMs, all of them or none.

            EXAMPLES
              ccnfs deploy ccnx:/mycorp.com/app1/linuxvm web-01 --size 20G
              ccnfs deploy ccnx:/mycorp.com/app1/linuxvm@3 web-02
              ccnfs deploy ccnx:/mycorp.com/app1/linuxvm ci-{001..100}
              ccnfs deploy ccnx:/mycorp.com/db db-01 --vm-store /srv/fast
              ccnfs deploy ccnx:/mycorp.com/db ccnx:/mycorp.com/nodes/host1:db-01 --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template, or TEMPLATE@VERSION.") var name: String
    @Argument(help: "The VMs' names; NODE:VM makes it on another node.") var machines: [String]
    @Option(name: [.customLong("version"), .customShort("n")], help: "Default: the newest.")
    var number: Int?
    @Option(help: "Bytes of the first disk, at least the template's.") var size: String?
    @Option(
        help: ArgumentHelp(
            "Keep the VMs' written blocks in this directory (default: the node's).",
            valueName: "dir"
        ),
        completion: .directory
    )
    var vmStore: String?
    @OptionGroup var errand: ErrandOptions

    func validate() throws {
        if machines.isEmpty { throw ValidationError("name at least one VM") }
    }

    func run() async throws {
        let (name, version) = try TemplateArgument.parse(name, version: number)
        let made = try await deploy(name, version)
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

    private func deploy(
        _ name: String,
        _ version: Int?
    ) async throws(Failure) -> [MachineSummary] {
        func pick(_ response: ControlResponse) -> [MachineSummary]? {
            if case .machines(let made) = response { made } else { nil }
        }
        let size = try size.map { text throws(Failure) in try ByteCount.parse(text) }
        guard let remote = try RemoteMachine.all(machines, isElsewhere: errand.isElsewhere) else {
            let deployment = ControlRequest.Deployment(
                template: name,
                version: version,
                machines: machines,
                size: size,
                overlayPlace: vmStore.map(FileTree.absolute)
            )
            return try await global.perform(.deploy(deployment), pick)
        }
        guard vmStore == nil else {
            throw Failure(.usage, "--vm-store is a directory of this node, and the VMs are not")
        }
        return try await errand.perform(
            .deploy(template: name, version: version, machines: remote.machines, size: size),
            to: remote.node,
            global,
            pick
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
    @Argument(help: "A file of the mount.", completion: .file()) var file: String

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
