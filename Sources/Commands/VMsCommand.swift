internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Management

struct VMsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vms",
        abstract: "List the VMs of this node, or of all nodes.",
        discussion: """
            With --all every repository that a route of this node leads to is asked, or those of --at, for the
            nodes that the key may operate. REPORTED is how long ago a node told; one that has not for 90
            seconds is late. Status 69 if some repository could not be asked.

            EXAMPLES
              ccnfs vms
              ccnfs vms --all --key admin.pem
              ccnfs vms --all --at repository.mycorp.com --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "With --all: nodes whose names begin with this, such as ccnx:/mycorp.com.")
    var prefix: String?
    @Flag(help: "VMs of all nodes.") var all = false
    @Option(
        help: ArgumentHelp(
            "Ask this repository; may be given again (default: those of this node's routes).",
            valueName: "address"
        )
    )
    var at: [String] = []
    @Option(
        help: ArgumentHelp(
            "The private key to ask with (default: the publisher's).",
            valueName: "file"
        ),
        completion: .file()
    )
    var key: String?

    func validate() throws {
        guard all || at.isEmpty && key == nil && prefix == nil else {
            throw ValidationError("a prefix, --at and --key go with --all")
        }
    }

    func run() async throws {
        if all { return try await listAll() }
        let machines = try await global.perform(.listMachines) { (response) -> [MachineSummary]? in
            if case .machines(let machines) = response { machines } else { nil }
        }
        if global.json { return try Output.json(machines) }
        Output.table(
            ["VM", "DISK", "SIZE", "WRITTEN", "SNAPSHOTS", "TEMPLATE", "STATE"],
            machines.flatMap { MachineLine.cells(of: $0.asReported) }
        )
    }

    private func listAll() async throws(Failure) {
        let key = try SigningKey(key, global)
        let places = try at.map { (text) throws(Failure) in try AddressArgument.address(text) }
        let list = try await global.perform(
            .listNodes(
                prefix: try prefix.map { (text) throws(Failure) in try Name(uri: text).uri }
                    ?? Name().uri,
                repositories: places,
                publicKeyPEM: key.publicPEM
            ),
            session: CommandSession(key: key.privateKey)
        ) { (response) -> NodeList? in
            if case .nodes(let list) = response { list } else { nil }
        }
        let first = list.problems.first
        if let first, list.nodes.isEmpty { throw first.failure.failure }
        if global.json { try Output.json(list) } else { Self.show(list) }
        if let first {
            throw Failure(
                .unavailable,
                "\(list.problems.count) of the repositories could not be asked, so VMs may be missing",
                cause: first.failure.failure
            )
        }
    }

    private static func show(_ list: NodeList) {
        Output.table(
            [
                "NODE", "VM", "DISK", "SIZE", "WRITTEN", "SNAPSHOTS", "TEMPLATE", "STATE",
                "REPORTED",
            ],
            list.nodes.flatMap { node -> [[String]] in
                let reported = "\(node.ageSeconds) s ago" + (node.isLate ? ", LATE" : "")
                if node.machines.isEmpty {
                    return [
                        [node.name] + [String](repeating: "-", count: 6) + ["no VMs", reported]
                    ]
                }
                return node.machines.flatMap { MachineLine.cells(of: $0) }
                    .map { [node.name] + $0 + [reported] }
            }
        )
        for node in list.nodes where node.isLate {
            Output.standardError(
                "\(node.name) is late: it reported \(node.ageSeconds) s ago, what is shown may have changed"
            )
        }
    }
}

/// How a VM is shown: a line for each disk.
private enum MachineLine {
    static func cells(of machine: Inventory.Machine) -> [[String]] {
        let template =
            machine.template.map { "\($0) version \(machine.templateVersion ?? 0)" } ?? "-"
        if machine.disks.isEmpty {
            return [[machine.name, "-", "-", "-", "-", template, "no disks"]]
        }
        return machine.disks.map { disk in
            [
                machine.name, disk.name, ByteCount.text(disk.size),
                ByteCount.text(disk.writtenBytes), String(machine.snapshots.count), template,
                state(of: disk, machine),
            ]
        }
    }

    private static func state(of disk: Inventory.Disk, _ machine: Inventory.Machine) -> String {
        if let problem = disk.problem { return "OUT OF SERVICE: \(problem)" }
        return machine.isMoved ? "moved, read-only" : "well"
    }
}
