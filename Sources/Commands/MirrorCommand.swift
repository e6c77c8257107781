internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Node
internal import Settings

struct MirrorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mirror",
        abstract: "Keep all of a namespace here, in step with another repository of it.",
        discussion: """
            Brings every version that the other repository's catalog lists, and then answers for the
            namespace as that repository does; when that one is gone, nodes with a route to this one go on.
            Returns when all of it is here; a node that runs, or is started later, looks for new versions
            from then on. Cut off, it goes on where it was. Given again, it also brings anew what was
            lost here. Templates are published, tagged and deleted at the other repository only.

            EXAMPLES
              ccnfs mirror ccnx:/mycorp.com --from repository.mycorp.com
              ccnfs mirror ccnx:/mycorp.com --from repository.mycorp.com --once
              ccnfs mirror ccnx:/mycorp.com --stop
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The namespace, such as ccnx:/mycorp.com.") var namespace: String
    @Option(
        help: ArgumentHelp(
            "The repository, or a mirror of it, such as repository.mycorp.com:9695.",
            valueName: "address"
        )
    )
    var from: String?
    @Option(
        help: ArgumentHelp("Look for new versions so often (default: 60s).", valueName: "time")
    )
    var interval: String?
    @Flag(help: "Bring what there is now, and do not look again.") var once = false
    @Flag(help: "Be a mirror of it no more; what was kept is freed.") var stop = false

    static let intervals = 1_000...86_400_000

    func run() async throws {
        let namespace = try Name.namespace(uri: namespace).uri
        if stop {
            guard from == nil, interval == nil, !once else {
                throw Failure(.usage, "--stop goes with no other option of ccnfs mirror")
            }
            _ = try await global.perform(.endMirror(namespace: namespace))
            if !global.json { Output.line("\(namespace) is mirrored here no more") }
            return
        }
        guard let from else {
            throw Failure(
                .usage,
                "there is no repository to mirror \(namespace) from",
                hint: "ccnfs mirror \(namespace) --from HOST"
            )
        }
        let mirror = ControlRequest.Mirror(
            namespace: namespace,
            source: try AddressArgument.address(from),
            intervalMilliseconds: try intervalMilliseconds(),
            isOnce: once
        )
        let session = CommandSession()
        defer { session.endProgress() }
        let begun = try await global.perform(.mirror(mirror), session: session) {
            (response) -> MirrorBegun? in
            if case .mirrored(let begun) = response { begun } else { nil }
        }
        session.endProgress()
        if global.json { return try Output.json(begun) }
        let versions = begun.versions == 1 ? "1 version" : "\(begun.versions) versions"
        Output.line("\(begun.namespace) is here with \(versions), serial \(begun.serial)")
        Output.line(
            "  \(ByteCount.text(begun.pulledBytes)) in \(begun.pulledObjects) objects came from "
                + begun.source
        )
    }

    private func intervalMilliseconds() throws(Failure) -> Int {
        guard let interval else { return NodeConfiguration.Mirror.defaultIntervalMilliseconds }
        let milliseconds = try Quantity.milliseconds(interval)
        guard Self.intervals.contains(milliseconds) else {
            throw Failure(.usage, "--interval must be from 1s to 24h")
        }
        return milliseconds
    }
}
