internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Foundation
internal import Management

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Take a snapshot of all disks of a VM at one moment, or drop one.",
        discussion: """
            The VM may run. The same as mkdir and rmdir in the VM's .snapshots directory, where the
            snapshot's disks are read-only files.

            EXAMPLES
              ccnfs snapshot web-01 before-upgrade
              ccnfs snapshot web-01 before-upgrade --delete
              ccnfs snapshot ccnx:/mycorp.com/nodes/host1:web-01 before-upgrade --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The VM, or NODE:VM of another node.") var machine: String
    @Argument(help: "The snapshot's name.") var name: String
    @Flag(help: "Drop it; its space comes back in the background.") var delete = false
    @OptionGroup var errand: ErrandOptions

    func run() async throws {
        let remote = try RemoteMachine(machine, isElsewhere: errand.isElsewhere)
        if delete {
            try await drop(remote)
            if !global.json { Output.line("\(machine)@\(name) is dropped") }
            return
        }
        func pick(_ response: ControlResponse) -> SnapshotSummary? {
            if case .snapshots(let taken) = response { taken.first } else { nil }
        }
        let taken: SnapshotSummary
        if let remote {
            taken = try await errand.perform(
                .snapshot(machine: remote.machine, name: name),
                to: remote.node,
                global,
                pick
            )
        } else {
            taken = try await global.perform(.snapshot(machine: machine, name: name), pick)
        }
        if global.json { return try Output.json(taken) }
        let count = taken.disks.count
        Output.line("\(machine)@\(name) is taken of \(count) disk\(count == 1 ? "" : "s")")
    }

    private func drop(_ remote: RemoteMachine?) async throws(Failure) {
        guard let remote else {
            _ = try await global.perform(.deleteSnapshot(machine: machine, name: name))
            return
        }
        _ = try await errand.perform(
            .deleteSnapshot(machine: remote.machine, name: name),
            to: remote.node,
            global
        ) { $0 }
    }
}

struct SnapshotsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshots",
        abstract: "List the snapshots of a VM, or of all.",
        discussion: """
            WRITTEN is what was written between the snapshot before and this one.

            EXAMPLES
              ccnfs snapshots web-01
              ccnfs snapshots ccnx:/mycorp.com/nodes/host1:web-01 --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The VM, or NODE:VM of another node.") var machine: String?
    @OptionGroup var errand: ErrandOptions

    func run() async throws {
        func pick(_ response: ControlResponse) -> [SnapshotSummary]? {
            if case .snapshots(let snapshots) = response { snapshots } else { nil }
        }
        let remote = try machine.map { (text) throws(Failure) in
            try RemoteMachine(text, isElsewhere: errand.isElsewhere)
        }
        let snapshots: [SnapshotSummary]
        if let remote = remote ?? nil {
            snapshots = try await errand.perform(
                .listSnapshots(machine: remote.machine),
                to: remote.node,
                global,
                pick
            )
        } else {
            snapshots = try await global.perform(.listSnapshots(machine: machine), pick)
        }
        if global.json { return try Output.json(snapshots) }
        Output.table(
            ["VM", "SNAPSHOT", "TAKEN", "DISKS", "SIZE", "WRITTEN"],
            snapshots.map { snapshot in
                [
                    snapshot.machine, snapshot.name,
                    Date(timeIntervalSince1970: Double(snapshot.created)).formatted(.iso8601),
                    String(snapshot.disks.count),
                    ByteCount.text(snapshot.disks.reduce(0) { $0 + $1.size }),
                    ByteCount.text(snapshot.disks.reduce(0) { $0 + $1.writtenBytes }),
                ]
            }
        )
    }
}

struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Put the disks of a VM back to what a snapshot has.",
        discussion: """
            Refused while a disk is open. What was written since is gone, unless another snapshot has it;
            disks that came after the snapshot stay as they are. The snapshot stays.

            EXAMPLE
              ccnfs rollback web-01 before-upgrade
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The VM.") var machine: String
    @Argument(help: "The snapshot.") var name: String

    func run() async throws {
        let disks = try await global.perform(.rollBack(machine: machine, snapshot: name)) {
            (response) -> [String]? in
            if case .rolledBack(let disks) = response { disks } else { nil }
        }
        if global.json { return try Output.json(["disks": disks]) }
        Output.line("\(machine) is as it was in \(name): \(disks.joined(separator: ", "))")
    }
}

struct DiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show where two sets of disks differ.",
        discussion: """
            Each is a VM, a snapshot (VM@NAME), or a template (its URI, the newest version, or URI@N). With
            one VM only it is compared with what it was deployed from. Nothing is read: a range is told
            where blocks were written or segments have other ids, whether or not the bytes differ.

            EXAMPLES
              ccnfs diff web-01
              ccnfs diff web-01@before web-01
              ccnfs diff ccnx:/mycorp.com/app1/linuxvm@1 ccnx:/mycorp.com/app1/linuxvm@2
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "What was.") var from: String
    @Argument(help: "What is.") var to: String?
    @Flag(help: "Print every range, not only sums.") var ranges = false

    func run() async throws {
        let first = try DiskSetArgument.parse(from)
        let request: ControlRequest
        if let to {
            request = .compare(from: first, to: try DiskSetArgument.parse(to))
        } else {
            let machine =
                switch first {
                case .machine(let name), .snapshot(let name, _): name
                case .template, .origin:
                    throw Failure(.usage, "name what to compare \(from) with")
                }
            request = .compare(from: .origin(machine: machine), to: first)
        }
        let difference = try await global.perform(request) { (response) -> Difference? in
            if case .difference(let difference) = response { difference } else { nil }
        }
        if global.json { return try Output.json(difference) }
        Output.table(
            ["DISK", "SIZE", "CHANGED", "RANGES"],
            difference.disks.map { disk in
                [
                    disk.name, disk.toSize.map(ByteCount.text) ?? "gone",
                    ByteCount.text(disk.changedBytes), String(disk.ranges.count),
                ]
            }
        )
        guard ranges else { return }
        for disk in difference.disks {
            for range in disk.ranges {
                Output.line("\(disk.name)  \(range.start)  \(range.byteCount)")
            }
        }
    }
}

/// What a command names by `web-01`, `web-01@before` or `ccnx:/mycorp.com/app1/linuxvm@3`.
enum DiskSetArgument {
    static func parse(_ text: String) throws(Failure) -> ControlRequest.DiskSet {
        guard text.hasPrefix("ccnx:") else {
            let (machine, snapshot) = try machine(text)
            return snapshot.map { .snapshot(machine: machine, name: $0) } ?? .machine(machine)
        }
        guard let at = text.lastIndex(of: "@") else {
            return .template(try Name.templateName(uri: text).uri, version: nil)
        }
        guard let version = Int(text[text.index(after: at)...]), version > 0 else {
            throw Failure(
                .usage,
                "\(text) names no version",
                hint: "write it as ccnx:/mycorp.com/app1/linuxvm@3"
            )
        }
        return .template(try Name.templateName(uri: String(text[..<at])).uri, version: version)
    }

    /// Reads `web-01` or `web-01@before`.
    static func machine(
        _ text: String
    ) throws(Failure) -> (machine: String, snapshot: String?) {
        guard let at = text.firstIndex(of: "@") else { return (text, nil) }
        let (machine, snapshot) = (String(text[..<at]), String(text[text.index(after: at)...]))
        guard !machine.isEmpty, !snapshot.isEmpty else {
            throw Failure(.usage, "\(text) is not of the form VM@SNAPSHOT")
        }
        return (machine, snapshot)
    }
}
