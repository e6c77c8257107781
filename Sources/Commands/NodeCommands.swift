internal import ArgumentParser
internal import CCNx
internal import Control
internal import FUSE
internal import Faces
internal import Failures
internal import Files
internal import Foundation
internal import Glibc
internal import Logging
internal import Node
internal import Settings

/// What a node takes, with or without a mount. What is told here goes before the settings file; an option
/// that may be given again takes the place of all that the file has of its kind.
struct NodeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Read settings from this file; --config=-FILE reads it if it is there.",
            valueName: "file"
        ),
        completion: .file()
    )
    var config: String?

    @Option(
        help: ArgumentHelp(
            "Answer other nodes here, such as tcp:127.0.0.1:9695; may be given again.",
            valueName: "address"
        )
    )
    var listen: [String] = []

    @Option(
        help: ArgumentHelp(
            "Ask this node for names under a prefix; may be given again.",
            valueName: "prefix=address"
        )
    )
    var route: [String] = []

    @Option(
        help: ArgumentHelp(
            "Ask this node near by before repositories; may be given again.",
            valueName: "address"
        )
    )
    var peer: [String] = []

    @Option(
        help: ArgumentHelp(
            "Find neighbours on the link of this network device, or on all, and be found; may be given again.",
            valueName: "device"
        )
    )
    var discover: [String] = []

    @Option(
        help: ArgumentHelp(
            "Look at the catalogs of other repositories so often (default: 2).",
            valueName: "seconds"
        )
    )
    var catalogInterval: Double?

    @Option(
        help: ArgumentHelp(
            "Bytes the cache may take, such as 50G (default: what the filesystem has).",
            valueName: "size"
        )
    )
    var cacheLimit: String?

    @Option(
        help: ArgumentHelp(
            "Bytes to keep of what passes through for others, 0 for nothing (default: 256M).",
            valueName: "size"
        )
    )
    var transitCache: String?

    @Option(
        help: ArgumentHelp(
            "Keep written blocks of new VMs in this directory (default: the state directory).",
            valueName: "dir"
        ),
        completion: .directory
    )
    var vmStore: String?

    @Flag(help: "Take templates that are published from elsewhere by trusted keys.")
    var acceptPublish = false

    @Flag(
        help: "Let keys with the right manage templates and VMs from elsewhere, and nodes report."
    )
    var acceptManagement = false

    @Option(
        help: ArgumentHelp(
            "Report the VMs of this node under this name, such as ccnx:/mycorp.com/nodes/host1.",
            valueName: "name"
        )
    )
    var nodeName: String?

    /// What the settings file says; nothing if none was named.
    func settings() throws(Failure) -> NodeSettings {
        guard let file = configFile else { return NodeSettings() }
        if file.mayBeAbsent, !FileTree.exists(file.path) { return NodeSettings() }
        return try NodeSettings(path: file.path)
    }

    /// Reads the file anew while a node runs; nil if none was named.
    func reload(
        _ make: @escaping @Sendable (NodeSettings) throws(Failure) -> NodeConfiguration
    ) -> (@Sendable () throws(Failure) -> NodeConfiguration)? {
        guard config != nil else { return nil }
        return { () throws(Failure) in try make(try settings()) }
    }

    /// As in systemd's units a hyphen before the path says that the file need not be there.
    private var configFile: (path: String, mayBeAbsent: Bool)? {
        guard let config else { return nil }
        guard config.hasPrefix("-") else { return (FileTree.absolute(config), false) }
        return (FileTree.absolute(String(config.dropFirst())), true)
    }

    func apply(to configuration: inout NodeConfiguration) throws(Failure) {
        if acceptPublish { configuration.acceptsPublishing = true }
        if acceptManagement { configuration.acceptsManagement = true }
        if let nodeName { configuration.nodeName = try Name.nodeName(uri: nodeName) }
        if !listen.isEmpty {
            configuration.listenAddresses = try listen.map { (text) throws(Failure) in
                try FaceAddress(text)
            }
        }
        if !route.isEmpty {
            configuration.routes = try route.map { (text) throws(Failure) in
                try NodeConfiguration.Route(text)
            }
        }
        if !peer.isEmpty {
            configuration.peers = try peer.map { (text) throws(Failure) in
                try FaceAddress(text)
            }
        }
        if !discover.isEmpty {
            let devices = try DiscoverySettings.Devices(discover)
            var settings = configuration.discovery ?? DiscoverySettings(devices: devices)
            settings.devices = devices
            configuration.discovery = settings
        }
        if let catalogInterval {
            guard Self.catalogIntervals.contains(catalogInterval) else {
                throw Failure(
                    .usage,
                    "the catalogs cannot be looked at every \(catalogInterval) seconds",
                    hint: "give a number from 0.1 to 86400"
                )
            }
            configuration.catalogInterval = catalogInterval
        }
        if let vmStore { configuration.overlayPlace = FileTree.absolute(vmStore) }
        if let cacheLimit { configuration.cacheLimit = try ByteCount.parse(cacheLimit) }
        if let transitCache {
            configuration.transitLimit =
                transitCache == "0" ? 0 : try ByteCount.parse(transitCache)
        }
    }

    private static let catalogIntervals = 0.1...86_400

    /// The same options for a process that is started with them.
    var words: [String] {
        var words = configFile.map { ["--config=\($0.mayBeAbsent ? "-" : "")\($0.path)"] } ?? []
        words += listen.flatMap { ["--listen", $0] } + route.flatMap { ["--route", $0] }
        words += peer.flatMap { ["--peer", $0] } + discover.flatMap { ["--discover", $0] }
        if let catalogInterval { words += ["--catalog-interval", "\(catalogInterval)"] }
        if let cacheLimit { words += ["--cache-limit", cacheLimit] }
        if let transitCache { words += ["--transit-cache", transitCache] }
        if let vmStore { words += ["--vm-store", FileTree.absolute(vmStore)] }
        if acceptPublish { words.append("--accept-publish") }
        if acceptManagement { words.append("--accept-management") }
        if let nodeName { words += ["--node-name", nodeName] }
        return words
    }
}

struct MountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Mount the namespace; templates and VM disks are files in it.",
        discussion: """
            Returns once the mount answers, and goes on in the background; its log is node.log in the
            state directory. Without root it mounts through fusermount3: only you see the mount (unless
            --allow-other and user_allow_other in /etc/fuse.conf), and read-ahead stays at 128 KiB.

            The settings file is explained in Mounts/ccnfs.yaml; options go before it. SIGHUP makes the node
            read it anew: routes, peers and trust are taken over, other settings at the next start.

            EXAMPLES
              ccnfs mount /ccn
              ccnfs mount /ccn --route ccnx:/mycorp.com=tcp:repo.mycorp.com:9695
              ccnfs mount --config /etc/ccnfs/ccnfs.yaml
            """
    )

    @OptionGroup var global: GlobalOptions
    @OptionGroup var node: NodeOptions
    @Argument(
        help: "An empty directory (default: the settings file's mount.point).",
        completion: .directory
    )
    var mountPoint: String?
    @Flag(name: [.customShort("f"), .long], help: "Stay in the foreground, log to standard error.")
    var foreground = false
    @Flag(inversion: .prefixedNo, help: "Nothing can be written or made.") var readOnly: Bool?
    @Flag(inversion: .prefixedNo, help: "Let other users in, as the files' modes allow.")
    var allowOther: Bool?
    @Flag(help: .hidden) var leaveNote = false

    func run() async throws { try await mountLeavingNote() }

    private func mountLeavingNote() async throws(Failure) {
        do throws(Failure) {
            try await mount()
        } catch  where leaveNote {
            // Who started this process says it to the user.
            try BackgroundProcess.leaveNote("\(error.kind.exitStatus)\n\(Self.text(error))")
            throw error
        }
    }

    private func mount() async throws(Failure) {
        let settings = try node.settings()
        let (configuration, mountPoint) = try mountConfiguration(settings)
        guard foreground else {
            return try startInBackground(mountPoint, configuration, settings)
        }
        let leavesNote = leaveNote
        let logger = try global.logger(settings)
        let running = try Node(configuration, logger: logger)
        let reload = node.reload { (settings) throws(Failure) in
            var configuration = try self.configuration(settings)
            configuration.mountPoint = mountPoint
            return configuration
        }
        try await running.run(reload: reload) { addresses in
            logger.notice(
                "mounted",
                metadata: ["mount.point": "\(mountPoint)", "listening": "\(addresses)"]
            )
            if leavesNote {
                try? BackgroundProcess.leaveNote("0\n\(addresses.joined(separator: "\n"))")
            }
        }
    }

    private func mountConfiguration(
        _ settings: NodeSettings
    ) throws(Failure) -> (configuration: NodeConfiguration, mountPoint: String) {
        var configuration = try configuration(settings)
        guard let wanted = mountPoint ?? configuration.mountPoint else {
            throw Failure(
                .usage,
                "there is no place to mount at",
                hint: "ccnfs mount /ccn, or mount: {point: /ccn} in the file of --config"
            )
        }
        let place = try MountPoint.checked(wanted)
        configuration.mountPoint = place
        return (configuration, place)
    }

    private func configuration(_ settings: NodeSettings) throws(Failure) -> NodeConfiguration {
        var configuration = global.nodeConfiguration(settings)
        try node.apply(to: &configuration)
        if let readOnly { configuration.isReadOnly = readOnly }
        if let allowOther { configuration.allowsOthers = allowOther }
        return configuration
    }

    private static func text(_ failure: Failure) -> String {
        "\(failure)" + (failure.firstHint.map { "\n\($0)" } ?? "")
    }

    private func startInBackground(
        _ mountPoint: String,
        _ configuration: NodeConfiguration,
        _ settings: NodeSettings
    ) throws(Failure) {
        let program = try FileTree.canonical("/proc/self/exe")
        try FileTree.makeDirectory(configuration.stateDirectory, permissions: 0o700)
        let log = "\(configuration.stateDirectory)/node.log"
        var words = ["ccnfs", "mount", mountPoint, "--foreground", "--leave-note"]
        words += ["--state", configuration.stateDirectory, "--cache", configuration.cacheDirectory]
        words += ["--log-level", try global.level(settings).rawValue]
        words += node.words
        words.append(configuration.isReadOnly ? "--read-only" : "--no-read-only")
        words.append(configuration.allowsOthers ? "--allow-other" : "--no-allow-other")
        let process = try BackgroundProcess(program, words, logPath: log)
        let note = try process.note()?.split(separator: "\n").map(String.init) ?? []
        guard let status = note.first.flatMap({ Int32($0) }) else {
            throw Failure(
                .unavailable,
                "the node ended before \(mountPoint) was mounted",
                hint: "see its log: \(log)"
            )
        }
        guard status == 0 else {
            Output.standardError("ccnfs: \(note.dropFirst().first ?? "the mount failed")")
            if note.count > 2 { Output.standardError("  hint: \(note[2])") }
            Glibc.exit(status)
        }
        if global.json {
            struct Mounted: Encodable {
                let mountPoint: String
                let process: Int32
                let listening: [String]
                let log: String
            }
            return try Output.json(
                Mounted(
                    mountPoint: mountPoint,
                    process: process.processId,
                    listening: Array(note.dropFirst()),
                    log: log
                )
            )
        }
        Output.line("mounted at \(mountPoint) by process \(process.processId)")
        for address in note.dropFirst() { Output.line("listening on \(address)") }
    }
}

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Serve other nodes without a mount, in the foreground.",
        discussion: """
            The settings file is explained in Mounts/ccnfs.yaml; options go before it, and its mount
            is for ccnfs mount only. SIGHUP makes the node read it anew: routes, peers and trust are
            taken over, other settings at the next start.

            EXAMPLES
              ccnfs node --listen tcp:127.0.0.1:9695
              ccnfs node --config /etc/ccnfs/ccnfs.yaml
            """
    )

    @OptionGroup var global: GlobalOptions
    @OptionGroup var node: NodeOptions

    func run() async throws {
        let settings = try node.settings()
        let logger = try global.logger(settings)
        let running = try Node(try configuration(settings), logger: logger)
        try await running.run(reload: reload) { addresses in
            for address in addresses { Output.line("listening on \(address)") }
        }
    }

    var reload: (@Sendable () throws(Failure) -> NodeConfiguration)? {
        node.reload { (settings) throws(Failure) in try configuration(settings) }
    }

    func configuration(_ settings: NodeSettings) throws(Failure) -> NodeConfiguration {
        var configuration = global.nodeConfiguration(settings)
        try node.apply(to: &configuration)
        configuration.mountPoint = nil
        return configuration
    }
}

struct UnmountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unmount",
        abstract: "Unmount, and wait until everything is on disk.",
        discussion: """
            Also clears a mount whose node died ("Transport endpoint is not connected").

            EXAMPLE
              ccnfs unmount /ccn
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "Where it is mounted.", completion: .directory) var mountPoint: String
    @Flag(help: "Detach a mount that is in use; its node ends when its last user does.")
    var lazy = false

    private static let patience = Duration.seconds(60)

    func run() async throws { try await unmount() }

    private func unmount() async throws(Failure) {
        let path = MountPoint.normalized(mountPoint)
        guard let entry = try Mounts.entry(at: path) else {
            throw Failure(.notFound, "nothing is mounted at \(path)")
        }
        guard entry.type == "fuse.ccnfs" else {
            throw Failure(.invalid, "what is mounted at \(path) is \(entry.type), not ccnfs")
        }
        let isDead = Mounts.isDead(path)
        let process =
            isDead
            ? nil
            : Mounts.process(serving: path)
        do throws(Failure) {
            try Mounts.unmount(path, lazily: lazy || isDead)
        } catch  where error.kind == .busy {
            throw Failure(
                .busy,
                "\(path) is in use",
                hint: "see who: fuser -vm \(path); or detach it: ccnfs unmount --lazy \(path)",
                cause: error
            )
        }
        if let process, !lazy { try await waitForEnd(of: process) }
        if !global.json {
            Output.line(
                isDead ? "\(path): the mount of a dead node is cleared" : Self.outcome(path, lazy)
            )
        }
    }

    private static func outcome(_ path: String, _ isLazy: Bool) -> String {
        isLazy ? "\(path): detached; its node ends when the last user does" : "\(path): unmounted"
    }

    private func waitForEnd(of process: Int32) async throws(Failure) {
        let hasEnded = await waitUntil(within: Self.patience, every: .milliseconds(20)) {
            kill(process, 0) != 0
        }
        guard hasEnded else {
            throw Failure(
                .timedOut,
                "node \(process) is still writing to disk",
                hint: "it ends by itself; see its log in the state directory"
            )
        }
    }
}

enum MountPoint {
    /// The path as the kernel lists it, or as near as can be said without asking a dead mount.
    static func normalized(_ path: String) -> String {
        var path = FileTree.absolute(path)
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        guard !Mounts.isDead(path), let resolved = try? FileTree.canonical(path) else {
            return path
        }
        return resolved
    }

    /// A place that can be mounted on.
    static func checked(_ path: String) throws(Failure) -> String {
        let path = normalized(path)
        if Mounts.isDead(path) {
            throw Failure(
                .unavailable,
                "the mount at \(path) was left behind by a node that died",
                hint: "clear it: ccnfs unmount \(path)"
            )
        }
        if let entry = try Mounts.entry(at: path), entry.type == "fuse.ccnfs" {
            throw Failure(
                .busy,
                "ccnfs is mounted at \(path) already",
                hint: "ccnfs status, or unmount it"
            )
        }
        guard let status = try FileTree.status(of: path) else {
            throw Failure(.notFound, "there is no directory \(path)", hint: "mkdir -p \(path)")
        }
        guard status.kind == .directory else {
            throw Failure(.notDirectory, "\(path) is not a directory")
        }
        guard FileTree.exists("/dev/fuse") else {
            throw Failure(.unavailable, "there is no /dev/fuse", hint: "as root: modprobe fuse")
        }
        return path
    }
}
