internal import ArgumentParser
internal import Control
internal import Disks
internal import Failures
internal import Files
internal import Foundation
internal import Node
internal import Publishing
internal import Store

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Say how the node is, or how much of a file is here.",
        discussion: """
            Ends with status 69, after saying everything, if a catalog cannot be brought up to date or a
            mirror is not in step. What is kept by ccnfs fetch --keep and is not all here is said, and is
            no failure.

            EXAMPLES
              ccnfs status
              ccnfs status --json
              ccnfs status /ccn/mycorp.com/app1/linuxvm/disk0
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "A file of the mount.", completion: .file()) var file: String?

    func run() async throws {
        if let file { return try await showFile(file) }
        let status = try await global.perform(.status) { (response) -> NodeStatus? in
            if case .status(let status) = response { status } else { nil }
        }
        if global.json { try Output.json(status) } else { Self.show(status) }
        if let problem = status.catalogs.compactMap(\.problem).first {
            throw Failure(.unavailable, "a catalog cannot be brought up to date: \(problem)")
        }
        if let problem = status.mirrors.compactMap(\.problem).first {
            throw Failure(.unavailable, "a mirror is not in step: \(problem)")
        }
    }

    private static func show(_ status: NodeStatus) {
        Output.line("mount      \(status.mountPoint ?? "none")")
        Output.line("state      \(status.stateDirectory)")
        Output.line("cache      \(status.cacheDirectory)")
        Output.line("templates  \(status.templates), VMs \(status.machines)")
        for (name, usage) in [("published", status.published), ("cached", status.cache)] {
            Output.line(
                "\(name.padding(toLength: 11, withPad: " ", startingAt: 0))\(usage.segmentCount) segments in \(ByteCount.text(usage.imageByteCount)),"
                    + " \(usage.smallObjectCount) small objects"
            )
        }
        Output.line(
            "overlays   \(status.overlays.count) in \(ByteCount.text(status.overlays.allocatedBytes))"
                + (status.overlays.isReclaiming ? ", space is being reclaimed" : "")
        )
        Output.line(
            "fetched    \(status.store.fetchedObjects) objects, "
                + "\(ByteCount.text(status.store.fetchedBytes)), \(status.store.failedFetches) failed,"
                + " \(status.store.damagedSegments) damaged segments dropped"
        )
        Output.line(
            "network    \(status.interestsSent) Interests sent, \(status.interestsReceived) received, "
                + "\(status.pendingInterests) pending; \(status.parkedRequests) reads wait"
        )
        for content in status.kept { Output.line("kept       \(line(content))") }
        if let problem = status.keptProblem { Output.line("           PROBLEM: \(problem)") }
        if let transit = status.transit { Output.line("transit    \(line(transit))") }
        for face in status.faces {
            Output.line("face       \(face.isOutgoing ? "to" : "from") \(face.address)")
        }
        for source in status.sources { Output.line("asked      \(line(source))") }
        for catalog in status.catalogs {
            let isMirrored = status.mirrors.contains {
                $0.namespace == catalog.namespace && $0.serial != nil
            }
            let source =
                catalog.isPublishedHere
                ? "published here" : isMirrored ? "mirrored here" : "followed"
            Output.line("catalog    \(catalog.namespace) serial \(catalog.serial), \(source)")
            if let problem = catalog.problem { Output.line("           PROBLEM: \(problem)") }
        }
        for mirror in status.mirrors {
            Output.line("mirror     \(line(mirror))")
            if let problem = mirror.problem { Output.line("           PROBLEM: \(problem)") }
        }
    }

    private static func line(_ mirror: NodeStatus.MirrorReport) -> String {
        var text = "\(mirror.namespace) from \(mirror.source)"
        text += mirror.serial.map { ", serial \($0)" } ?? ", nothing yet"
        if let last = mirror.lastInStep { text += ", in step \(WallClock.seconds - last) s ago" }
        if let done = mirror.doneBytes, let total = mirror.totalBytes {
            text += "; \(ByteCount.text(done)) of \(ByteCount.text(total)) looked at"
        }
        if mirror.intervalMilliseconds == nil { text += "; not looked at any more" }
        return text
    }

    private static func line(_ content: KeptContent) -> String {
        let state =
            switch content.state {
            case .here: "here"
            case .fetching: "is being fetched"
            case .waiting where content.problem == nil: "not looked at yet"
            case .waiting: "not all here"
            }
        var text =
            "\(content.template) version \(content.version) \(content.item), "
            + "\(ByteCount.text(content.dataBytes)): \(state)"
        if let problem = content.problem { text += ", \(problem)" }
        return text
    }

    private static func line(_ transit: NodeStatus.TransitReport) -> String {
        let kept = transit.keptSegments + transit.keptPackets
        let answered = transit.answeredSegments + transit.answeredPackets
        var text =
            "\(ByteCount.text(transit.segmentBytes)) on disk, \(transit.packets) packets in memory; "
            + "\(kept) kept, \(answered) answered"
        if transit.wrongObjects > 0 { text += ", WRONG BYTES \(transit.wrongObjects) times" }
        return text
    }

    private static func line(_ source: NodeStatus.SourceReport) -> String {
        var text =
            "\(source.isPeer ? "peer " : "")\(source.address): \(source.objects) objects, "
            + "\(ByteCount.text(source.bytes)), \(source.misses) misses, \(source.timeouts) time-outs"
        if source.wrongObjects > 0 { text += ", WRONG BYTES \(source.wrongObjects) times" }
        if let benched = source.benchedMilliseconds {
            text += "; not asked for \((benched + 999) / 1000) s"
        } else if !source.isUp {
            text += "; not connected"
        }
        return text
    }

    private func showFile(_ file: String) async throws(Failure) {
        let path = PathArgument.treePath(file)
        let report = try await global.perform(.fileStatus(path: path)) {
            (response) -> FileReport? in
            if case .fileStatus(let report) = response { report } else { nil }
        }
        if global.json { return try Output.json(report) }
        Output.line("file      \(report.path)")
        Output.line("size      \(ByteCount.text(report.size))")
        if let template = report.template {
            Output.line("template  \(template) version \(report.version ?? 0)")
        }
        let percent = report.dataBytes == 0 ? 100 : report.localBytes * 100 / report.dataBytes
        Output.line(
            "local     \(ByteCount.text(report.localBytes)) of "
                + "\(ByteCount.text(report.dataBytes)) of data (\(percent) %)"
        )
        if report.kind == .machineDisk {
            Output.line("written   \(ByteCount.text(report.writtenBytes))")
        }
        if let error = report.error { Output.line("error     \(error)") }
    }
}

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check everything stored against its id.",
        discussion: """
            Damaged segments are dropped; they are fetched again where a source has them, and read as
            I/O errors where none has. --rebuild makes the index of segments anew from the image files;
            no node may run. --disk puts a VM's disk back into service after a failed write-out, once
            all its written blocks could be read from the disk below.

            EXAMPLES
              ccnfs verify
              ccnfs verify --rebuild
              ccnfs verify --disk /ccn/localhost/web-01/disk0
            """
    )

    @OptionGroup var global: GlobalOptions
    @Flag(help: "Make the index anew from what lies on disk.") var rebuild = false
    @Option(help: ArgumentHelp("Check a VM's disk.", valueName: "file"), completion: .file())
    var disk: String?

    func validate() throws {
        guard disk == nil || !rebuild else {
            throw ValidationError("--rebuild is for everything stored, --disk for one VM's disk")
        }
    }

    func run() async throws {
        if let disk {
            _ = try await global.perform(.checkDisk(path: PathArgument.treePath(disk)))
            if !global.json { Output.line("\(disk) is in service") }
            return
        }
        if rebuild { try await rebuildIndexes() }
        let session = CommandSession()
        let found = try await global.perform(.verify, session: session) {
            (response) -> Verification? in
            if case .verified(let found) = response { found } else { nil }
        }
        session.endProgress()
        if global.json { try Output.json(found) } else { Self.show(found) }
        guard found.isClean else {
            let count = found.published.damaged.count + found.cache.damaged.count
            throw Failure(
                .corrupt,
                "\(count) objects were damaged and are dropped",
                hint: "damaged published content has to be published anew; cached comes again"
            )
        }
    }

    private static func show(_ found: Verification) {
        for (name, findings) in [("published", found.published), ("cache", found.cache)] {
            Output.line(
                "\(name)  \(findings.segmentsChecked) segments and \(findings.objectsChecked) objects "
                    + "checked, \(findings.damaged.count) damaged"
            )
            for id in findings.damaged { Output.line("  damaged \(id)") }
            for problem in findings.databaseProblems { Output.line("  \(problem)") }
        }
        for problem in found.stateProblems { Output.line("state  \(problem)") }
    }

    private func rebuildIndexes() async throws(Failure) {
        let configuration = global.configuration
        let isJSON = global.json
        for home in [configuration.stateDirectory, configuration.cacheDirectory] {
            guard FileTree.exists("\(home)/content") else { continue }
            let lock = try StoreLock(home: home, purpose: "ccnfs verify --rebuild")
            let count = try await Threads.run { () throws(Failure) in
                try ContentStore.rebuildIndex(directory: "\(home)/content") { _ in }
            }
            if !isJSON { Output.line("\(home): \(count) segments indexed anew") }
            withExtendedLifetime(lock) {}
        }
    }
}

struct EvictCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evict",
        abstract: "Empty the cache; what is read again is fetched again.",
        discussion: """
            EXAMPLE
              ccnfs evict
            """
    )

    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let freed = try await global.freed(.evict)
        if global.json { return try Output.json(freed) }
        Output.line("freed \(ByteCount.text(freed.freedBytes)) of the cache")
    }
}

struct ReclaimCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reclaim",
        abstract: "Free published content that nothing refers to any more.",
        discussion: """
            Deleting a template does this by itself; after a publish that was cut off it frees what that
            had stored.

            EXAMPLE
              ccnfs reclaim
            """
    )

    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let freed = try await global.freed(.reclaim)
        if global.json { return try Output.json(freed) }
        Output.line(
            "freed \(ByteCount.text(freed.freedBytes)) in \(freed.freedSegments) segments"
        )
    }
}

extension GlobalOptions {
    fileprivate func freed(_ request: ControlRequest) async throws(Failure) -> Reclaimer.Report {
        try await perform(request) { (response) -> Reclaimer.Report? in
            if case .freed(let report) = response { report } else { nil }
        }
    }
}

enum PathArgument {
    /// A file of the mount as the node knows it, or a name in the tree as it is.
    static func treePath(_ path: String) -> String {
        if path.hasPrefix("ccnx:") { return path }
        guard FileTree.exists(path) else { return path }
        return (try? FileTree.canonical(path)) ?? path
    }
}
