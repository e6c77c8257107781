internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Management
internal import Publishing
internal import Signing

struct RepublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "republish",
        abstract: "Publish a VM as the next version of its template, or as a new template.",
        discussion: """
            The VM may run: what is published is one moment of all its disks, or a snapshot. Only segments
            with written blocks are read; all others keep their ids. With --rebase the VM itself then stands
            on what was published, and the space of its written blocks comes back.

            EXAMPLES
              ccnfs republish web-01
              ccnfs republish web-01@configured ccnx:/mycorp.com/app2/webserver --rebase
              ccnfs republish web-01 --to repository.mycorp.com
              ccnfs republish ccnx:/mycorp.com/nodes/host1:web-01 ccnx:/mycorp.com/app1/linuxvm

            A VM of another node becomes a version at the repository of the template that its node has a
            route to, or at the node itself; the key signs here.
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The VM, or VM@SNAPSHOT; of another node NODE:VM.") var machine: String
    @Argument(help: "The template (default: what the VM was deployed from).") var name: String?
    @Option(
        help: ArgumentHelp(
            "Ask there for the other node (default: where this node's routes lead).",
            valueName: "place"
        )
    )
    var at: String?
    @Option(
        help: ArgumentHelp(
            "The private key to sign with (default: keys/publisher.pem in the state directory).",
            valueName: "file"
        ),
        completion: .file()
    )
    var key: String?
    @Option(
        help: ArgumentHelp(
            "A property of the template beside those of the one before; may be given again.",
            valueName: "k=v"
        )
    )
    var property: [String] = []
    @Flag(help: "Let the VM stand on what was published.") var rebase = false
    @OptionGroup var destination: DestinationOptions

    func run() async throws {
        if rebase, destination.to != nil {
            throw Failure(
                .usage,
                "--rebase is for what is published on this node",
                hint: "publish it here first, or leave --rebase out"
            )
        }
        let key = try SigningKey(key, global)
        if let remote = try RemoteMachine(machine, isElsewhere: at != nil) {
            let report = try await republish(remote, key)
            return global.json ? try Output.json(report) : PublishCommand.show(report)
        }
        let (machine, snapshot) = try DiskSetArgument.machine(machine)
        let republication = ControlRequest.Republication(
            machine: machine,
            snapshot: snapshot,
            template: try name.map { (text) throws(Failure) in try TemplateArgument.whole(text) },
            properties: try PropertyArgument.parse(property),
            isRebasing: rebase,
            publicKeyPEM: key.publicPEM,
            repository: try destination.address(),
            repositoryKey: destination.repositoryKey
        )
        let session = CommandSession(key: key.privateKey)
        defer { session.endProgress() }
        let report = try await global.perform(.republish(republication), session: session) {
            (response) -> PublishReport? in
            if case .published(let report) = response { report } else { nil }
        }
        session.endProgress()
        if global.json { return try Output.json(report) }
        PublishCommand.show(report)
        if rebase { Output.line("\(machine) stands on version \(report.version)") }
    }

    private func republish(
        _ remote: RemoteMachine,
        _ key: SigningKey
    ) async throws(Failure) -> PublishReport {
        guard let name else {
            throw Failure(
                .usage,
                "of a VM of another node the template has to be named",
                hint: "what it was deployed from: ccnfs vms --all"
            )
        }
        guard !rebase, destination.to == nil, destination.repositoryKey == nil else {
            throw Failure(.usage, "--rebase, --to and --repository-key are for VMs of this node")
        }
        let (machine, snapshot) = try DiskSetArgument.machine(remote.machine)
        return try await global.perform(
            .republish(
                .init(
                    machine: machine,
                    snapshot: snapshot,
                    template: try TemplateArgument.whole(name),
                    properties: try PropertyArgument.parse(property)
                )
            ),
            to: remote.node,
            at: at,
            signedBy: key
        ) { (response) -> PublishReport? in
            if case .published(let report) = response { report } else { nil }
        }
    }
}

struct ExportVMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export-vm",
        abstract: "Write a VM into one file, to go on on another node.",
        discussion: """
            The file has the profile and the written blocks; content of templates is named, not copied. The
            VM has moved then: here it is read-only. --keep leaves it as it is, and so does a snapshot.

            EXAMPLES
              ccnfs export-vm web-01 web-01.ccnfs
              ccnfs export-vm web-01@nightly /backup/web-01.ccnfs
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The VM, or VM@SNAPSHOT.") var machine: String
    @Argument(help: "The file to write.", completion: .file()) var file: String
    @Flag(help: "The VM stays here; the export is a copy.") var keep = false
    @Flag(help: "Replace a file that is there.") var force = false

    func run() async throws {
        let (machine, snapshot) = try DiskSetArgument.machine(machine)
        let export = ControlRequest.MachineExport(
            machine: machine,
            snapshot: snapshot,
            path: FileTree.absolute(file),
            isKept: keep,
            overwrites: force
        )
        let session = CommandSession()
        defer { session.endProgress() }
        let exported = try await global.perform(.exportMachine(export), session: session) {
            (response) -> MachineExported? in
            if case .machineExported(let exported) = response { exported } else { nil }
        }
        session.endProgress()
        if global.json { return try Output.json(exported) }
        Output.line(
            "\(exported.machine) is in \(file), \(ByteCount.text(exported.fileBytes)), written blocks "
                + ByteCount.text(exported.writtenBytes)
        )
        if exported.isMoved { Output.line("here it is read-only now") }
    }
}

struct ImportVMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-vm",
        abstract: "Make a VM of an exported file.",
        discussion: """
            The file is checked as a whole before anything is made. Content of templates that is not here is
            fetched when it is read. An export is imported once on a node; --clone makes one more copy.

            EXAMPLES
              ccnfs import-vm web-01.ccnfs
              ccnfs import-vm web-01.ccnfs --name web-02 --clone
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The file.", completion: .file()) var file: String
    @Option(help: "The VM's name (default: the one it had).") var name: String?
    @Flag(help: "Make a copy, also of an export that was imported here.") var clone = false
    @Option(
        help: ArgumentHelp(
            "Keep the VM's written blocks in this directory (default: the node's).",
            valueName: "dir"
        ),
        completion: .directory
    )
    var vmStore: String?

    func run() async throws {
        let machineImport = ControlRequest.MachineImport(
            path: FileTree.absolute(file),
            name: name,
            isClone: clone,
            overlayPlace: vmStore.map(FileTree.absolute)
        )
        let session = CommandSession()
        defer { session.endProgress() }
        let made = try await global.perform(.importMachine(machineImport), session: session) {
            (response) -> MachineSummary? in
            if case .machines(let made) = response { made.first } else { nil }
        }
        session.endProgress()
        if global.json { return try Output.json(made) }
        let count = made.disks.count
        Output.line("\(made.name) is here with \(count) disk\(count == 1 ? "" : "s")")
    }
}

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the state of this node into a directory that can take its place.",
        discussion: """
            The node may run: each VM is copied as it is at one moment, with its snapshots. To restore, stop
            the node and copy the directory to where the state was: cp -a --sparse=always DIR STATE.

            EXAMPLE
              ccnfs backup /backup/ccnfs-2026-11-24
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "A directory that is not there yet.", completion: .directory) var directory:
        String

    func run() async throws {
        let session = CommandSession()
        defer { session.endProgress() }
        let backup = try await global.perform(
            .backUp(directory: FileTree.absolute(directory)),
            session: session
        ) { (response) -> Backup? in
            if case .backedUp(let backup) = response { backup } else { nil }
        }
        session.endProgress()
        if global.json { return try Output.json(backup) }
        Output.line(
            "\(directory): \(backup.machines) VMs, \(ByteCount.text(backup.copiedBytes)) of blocks and "
                + "content"
        )
    }
}

/// Reads `--property k=v`.
enum PropertyArgument {
    static func parse(_ words: [String]) throws(Failure) -> [String: String] {
        var properties: [String: String] = [:]
        for property in words {
            guard let equals = property.firstIndex(of: "="), equals != property.startIndex else {
                throw Failure(.usage, "property \"\(property)\" is not of the form key=value")
            }
            properties[String(property[..<equals])] = String(
                property[property.index(after: equals)...]
            )
        }
        return properties
    }
}
