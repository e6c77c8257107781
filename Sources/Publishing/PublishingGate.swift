package import Failures
internal import Synchronization

/// Keeps apart those who change published content and those who need it to stay as it is: what is stored but
/// not visible yet looks like garbage to a reclaim, and half of it would be in a backup.
///
/// - A *publish*, and each change of a catalog, refuses reclaims and backups until it ends.
/// - A *pull* brings content from another node, perhaps for hours. It stores in short *turns*; a reclaim or a
///   backup goes on between two of them and leaves alone what the pull has claimed.
/// - A *reclaim* or *backup* waits for the turns under way, refuses publishes, and lets pulls wait.
///
/// A turn may change catalogs: it is let end first.
///
/// Concurrency: any thread.
package final class PublishingGate: Sendable {
    private enum Exclusion {
        case none
        /// No turn begins; those under way end.
        case wanted
        case held
    }

    private struct State {
        var publishes = 0
        var turns = 0
        var exclusion = Exclusion.none
        var pulls: [ObjectIdentifier: PullClaims] = [:]
    }

    private let state = Mutex(State())

    /// How often somebody who waits looks whether it is his turn.
    private static let lookInterval = Duration.milliseconds(10)
    /// How long a reclaim waits for turns to end: a few segments or a catalog are written in one.
    private static let turnPatience = Duration.seconds(60)
    /// How long a pull waits for its turn: a backup copies everything.
    private static let exclusionPatience = Duration.seconds(3600)

    package init() {}

    // MARK: Publishing

    func enterPublish() throws(Failure) {
        try state.withLock { (state) throws(Failure) in
            guard state.exclusion != .held else { throw Self.reclaiming }
            state.publishes += 1
        }
    }

    func leavePublish() { state.withLock { $0.publishes -= 1 } }

    // MARK: Pulling

    /// Runs `body`, for as long as which reclaims leave alone what it claims.
    func pulling<Value: Sendable>(
        _ body: (PullClaims) async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let claims = PullClaims()
        state.withLock { $0.pulls[ObjectIdentifier(claims)] = claims }
        defer { state.withLock { $0.pulls[ObjectIdentifier(claims)] = nil } }
        return try await body(claims)
    }

    /// Runs `body`, which looks at what is stored or stores something, while nothing is reclaimed or copied.
    /// It does not wait for anybody elsewhere, and for no turn of its own.
    func turn<Value: Sendable>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let end = ContinuousClock.now + Self.exclusionPatience
        while !beginTurn() {
            guard ContinuousClock.now < end else { throw Self.reclaiming }
            try await Self.pause()
        }
        defer { state.withLock { $0.turns -= 1 } }
        return try await body()
    }

    private func beginTurn() -> Bool {
        state.withLock { state in
            guard state.exclusion == .none else { return false }
            state.turns += 1
            return true
        }
    }

    /// What the pulls under way count on.
    var claims: [PullClaims] { state.withLock { Array($0.pulls.values) } }

    // MARK: Reclaiming and backing up

    /// Runs `body` while nothing is published, stored or reclaimed.
    ///
    /// - Throws: `.busy` while something is.
    package func whileNothingChanges<Value: Sendable>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        try state.withLock { (state) throws(Failure) in
            guard state.exclusion == .none else { throw Self.reclaiming }
            // Within a turn it ends with that.
            guard state.publishes == 0 || state.turns > 0 else { throw Self.publishing }
            state.exclusion = .wanted
        }
        defer { state.withLock { $0.exclusion = .none } }
        let end = ContinuousClock.now + Self.turnPatience
        while try !hold() {
            guard ContinuousClock.now < end else { throw Self.publishing }
            try await Self.pause()
        }
        return try await body()
    }

    private func hold() throws(Failure) -> Bool {
        try state.withLock { (state) throws(Failure) in
            guard state.turns == 0 else { return false }
            guard state.publishes == 0 else { throw Self.publishing }
            state.exclusion = .held
            return true
        }
    }

    private static func pause() async throws(Failure) {
        do {
            try await Task.sleep(for: lookInterval)
        } catch {
            throw Failure(.cancelled, "nobody waits for it any more")
        }
    }

    private static var reclaiming: Failure {
        Failure(
            .busy,
            "published content is being reclaimed or backed up at the moment",
            hint: "try again in a moment"
        )
    }

    private static var publishing: Failure {
        Failure(
            .busy,
            "a publish is under way, so nothing is reclaimed now",
            hint: "afterwards: ccnfs reclaim"
        )
    }
}
