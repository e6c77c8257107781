internal import ArgumentParser
internal import Control
internal import Failures
internal import Files
internal import Foundation
internal import Logging
internal import Node
internal import Settings

/// What every command takes.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Directory of what exists nowhere else (default: $CCNFS_STATE, /var/lib/ccnfs as root).",
            valueName: "dir"
        ),
        completion: .directory
    )
    var state: String?

    @Option(
        help: ArgumentHelp(
            "Directory of what can be fetched again (default: $CCNFS_CACHE, /var/cache/ccnfs as root).",
            valueName: "dir"
        ),
        completion: .directory
    )
    var cache: String?

    @Flag(help: "Print the answer as JSON.")
    var json = false

    @Option(
        help: "Log from this level on: debug, info, notice, warning, error. (default: notice)"
    )
    var logLevel: String?

    var stateDirectory: String { configuration.stateDirectory }

    var configuration: NodeConfiguration { nodeConfiguration(NodeSettings()) }

    /// What is told here goes before the settings, and these before the environment.
    func nodeConfiguration(_ settings: NodeSettings) -> NodeConfiguration {
        let homes = NodeConfiguration.defaultHomes(environment: ProcessInfo.processInfo.environment)
        var configuration = NodeConfiguration(
            stateDirectory: state.map(FileTree.absolute) ?? settings.stateDirectory ?? homes.state,
            cacheDirectory: cache.map(FileTree.absolute) ?? settings.cacheDirectory ?? homes.cache
        )
        configuration.take(settings)
        return configuration
    }

    func level(_ settings: NodeSettings = NodeSettings()) throws(Failure) -> Logger.Level {
        guard let logLevel else { return settings.logLevel ?? .notice }
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw Failure(
                .usage,
                "there is no log level \(logLevel)",
                hint: "write debug, info, notice, warning or error"
            )
        }
        return level
    }

    func logger(_ settings: NodeSettings = NodeSettings()) throws(Failure) -> Logger {
        let level = try level(settings)
        var logger = Logger(label: "ccnfs") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = level
        return logger
    }

    /// Lets the running node do it, or takes the homes and does it here.
    func perform(
        _ request: ControlRequest,
        session: some ControlSession = CommandSession()
    ) async throws(Failure) -> ControlResponse {
        let client = ControlClient(
            path: NodeConfiguration.controlPath(stateDirectory: stateDirectory)
        )
        if let response = try await client.perform(request, session: session) { return response }
        var logger = try logger()
        // One command says what went wrong itself; the log is for those who ask for it.
        if logger.logLevel > .info { logger.logLevel = .critical }
        let operations = try NodeOperations(
            standalone: configuration,
            purpose: "a ccnfs command",
            logger: logger
        )
        return try await operations.perform(request, session: session)
    }

    /// Lets the running node do what no command can do by itself.
    func performAtNode(_ request: NeighbourRequest) async throws(Failure) -> NeighbourResponse {
        let client = ControlClient(
            path: NodeConfiguration.controlPath(stateDirectory: stateDirectory)
        )
        guard
            let response = try await client.perform(
                .neighbours(request),
                session: CommandSession()
            )
        else {
            throw Failure(
                .unavailable,
                "no node runs with the state directory \(stateDirectory)",
                hint:
                    "start it: ccnfs mount or ccnfs node; routes and peers may stand in its settings file"
            )
        }
        guard case .neighbours(let answer) = response else { throw Self.otherAnswer }
        return answer
    }

    static let otherAnswer = Failure(
        .unsupported,
        "the node answered something else than was asked",
        hint: "is it of the same version? restart it"
    )

    /// ``perform(_:session:)``, for an answer of one kind.
    func perform<Answer>(
        _ request: ControlRequest,
        session: some ControlSession = CommandSession(),
        _ pick: (ControlResponse) -> Answer?
    ) async throws(Failure) -> Answer {
        guard let answer = pick(try await perform(request, session: session)) else {
            throw Self.otherAnswer
        }
        return answer
    }
}
