public import ArgumentParser
internal import Failures
internal import Glibc

/// The `ccnfs` tool.
public struct CCNFS: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "ccnfs",
        abstract: "VM templates and disks as files, over a content-centric network.",
        discussion: """
            EXAMPLES
              ccnfs key generate
              ccnfs trust add ccnx:/mycorp.com /var/lib/ccnfs/keys/publisher.pub
              ccnfs publish debian.qcow2 ccnx:/mycorp.com/app1/linuxvm
              ccnfs mount /ccn
              ccnfs deploy ccnx:/mycorp.com/app1/linuxvm web-01

            ccnfs --version prints the version of ccnfs itself.

            Exit status: 0, or one of sysexits.h: 64 wrong words, 65 bad data, 66 no such thing,
            69 something needed is not there, 73 exists already, 74 I/O, 75 try again, 77 not allowed,
            78 a configuration or definition that cannot be followed.
            """,
        groupedSubcommands: [
            CommandGroup(
                name: "Publishing",
                subcommands: [
                    KeyCommand.self, TrustCommand.self, PublishCommand.self,
                    RepublishCommand.self, TagCommand.self, DeleteCommand.self,
                    MirrorCommand.self,
                ]
            ),
            CommandGroup(
                name: "Looking",
                subcommands: [
                    ListCommand.self, ShowCommand.self, VersionsCommand.self, VMsCommand.self,
                    StatusCommand.self, MapCommand.self,
                ]
            ),
            CommandGroup(
                name: "Using",
                subcommands: [
                    DeployCommand.self, ExportCommand.self, ExportVMCommand.self,
                    ImportVMCommand.self, MountCommand.self, UnmountCommand.self,
                    NodeCommand.self, ConfigCommand.self,
                ]
            ),
            CommandGroup(
                name: "Snapshots",
                subcommands: [
                    SnapshotCommand.self, SnapshotsCommand.self, RollbackCommand.self,
                    DiffCommand.self,
                ]
            ),
            CommandGroup(
                name: "Neighbours",
                subcommands: [FaceCommand.self, RouteCommand.self, PeerCommand.self]
            ),
            CommandGroup(
                name: "Upkeep",
                subcommands: [
                    VerifyCommand.self, FetchCommand.self, UnkeepCommand.self, EvictCommand.self,
                    ReclaimCommand.self,
                    BackupCommand.self,
                ]
            ),
        ]
    )

    public init() {}

    private static let version = "0.1.0"

    /// Parses the command line, runs the command and exits with its status.
    public static func runTool() async -> Never {
        // A reader that closed our output early is noticed by the failing write.
        _ = signal(SIGPIPE, SIG_IGN)
        // Not `version:` of the configuration, which subcommands would inherit beside their own
        // --version, and no flag here, which would be found before theirs.
        if CommandLine.arguments.dropFirst() == ["--version"] {
            Output.line(version)
            Glibc.exit(0)
        }
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            Glibc.exit(0)
        } catch let failure as Failure {
            Output.complain(failure)
            Glibc.exit(failure.kind.exitStatus)
        } catch {
            let status = exitCode(for: error).rawValue
            if status == 0 { CCNFS.exit(withError: error) }
            var text = fullMessage(for: error)
            if text.hasPrefix("Error: ") { text = String(text.dropFirst("Error: ".count)) }
            if !text.isEmpty { Output.standardError("ccnfs: \(text)") }
            Glibc.exit(status)
        }
    }
}
