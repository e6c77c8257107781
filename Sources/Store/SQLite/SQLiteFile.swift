internal import Failures
internal import Files
internal import GRDB
internal import Synchronization

/// One SQLite database in WAL mode: the only place that turns SQLite's errors into `Failure`s.
///
/// Concurrency: reads run beside each other and beside one writer (GRDB's pool).
final class SQLiteFile: Sendable {
    let path: String
    private let pool: DatabasePool
    private let undurableCommits = Atomic<Bool>(false)

    /// A commit that was not durable came after the last durable one.
    var hasUndurableCommits: Bool { undurableCommits.load(ordering: .acquiring) }

    /// Opens or makes the database.
    ///
    /// - Parameters:
    ///   - version: what this program writes. An older file is brought up by `upgrade`, a newer one is
    ///     refused untouched.
    ///   - upgrade: called in one transaction with the version found, 0 for a new file.
    init(
        path: String,
        version: Int,
        upgrade: (Database, _ from: Int) throws -> Void
    ) throws(Failure) {
        self.path = path
        var configuration = Configuration()
        configuration.maximumReaderCount = 4
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA synchronous = NORMAL")
        }
        do {
            try Self.refuseNewer(path, version)
            pool = try DatabasePool(path: path, configuration: configuration)
            try pool.writeWithoutTransaction { db in
                let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
                guard found < version else { return }
                try db.inTransaction(.immediate) {
                    try upgrade(db, found)
                    try db.execute(sql: "PRAGMA user_version = \(version)")
                    return .commit
                }
            }
        } catch {
            throw Self.failure(error, path)
        }
    }

    /// Looks without writing: opening a pool changes the file.
    private static func refuseNewer(_ path: String, _ version: Int) throws {
        guard FileTree.exists(path) else { return }
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(5)
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        let found = try queue.read { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
        try queue.close()
        guard found <= version else {
            throw Failure(
                .unsupported,
                "\(path) has format \(found), this program knows up to \(version)",
                hint: "run the newer ccnfs that wrote it"
            )
        }
    }

    func read<Value>(_ body: (Database) throws -> Value) throws(Failure) -> Value {
        do {
            return try pool.read(body)
        } catch {
            throw Self.failure(error, path)
        }
    }

    /// Runs one transaction.
    ///
    /// - Parameter durably: true: on disk when this returns, and with it every commit before it
    ///   (SQLite `synchronous=FULL`). False: survives the death of the process, not a power cut.
    @discardableResult
    func write<Value>(
        durably: Bool,
        _ body: (Database) throws -> Value
    ) throws(Failure) -> Value {
        do {
            return try pool.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA synchronous = \(durably ? "FULL" : "NORMAL")")
                var value: Value?
                try db.inTransaction(.immediate) {
                    value = try body(db)
                    return .commit
                }
                // The writer is one, so a later commit cannot have been missed.
                undurableCommits.store(!durably, ordering: .releasing)
                guard let value else {
                    throw Failure(.io, "the transaction on \(path) ended without a result")
                }
                return value
            }
        } catch {
            throw Self.failure(error, path)
        }
    }

    /// Moves the write-ahead log into the main file, on disk when this returns.
    func checkpoint() throws(Failure) {
        do {
            _ = try pool.writeWithoutTransaction { db in try db.checkpoint(.truncate) }
        } catch {
            throw Self.failure(error, path)
        }
    }

    /// Copies the database as it is at one moment, while it may be in use; then changes the copy.
    func backUp(
        to copy: String,
        _ change: (Database) throws -> Void = { _ in }
    ) throws(Failure) {
        do {
            let queue = try DatabaseQueue(path: copy)
            try pool.backup(to: queue)
            try queue.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA synchronous = FULL")
                try db.inTransaction(.immediate) {
                    try change(db)
                    return .commit
                }
            }
            try queue.close()
        } catch {
            throw Self.failure(error, copy)
        }
    }

    /// What SQLite's own check finds; empty when all is well.
    func integrityProblems() throws(Failure) -> [String] {
        try read { db in
            try String.fetchAll(db, sql: "PRAGMA integrity_check").filter { $0 != "ok" }
        }
    }

    private static func failure(_ error: any Error, _ path: String) -> Failure {
        if let failure = error as? Failure { return failure }
        guard let error = error as? DatabaseError else { return Failure(.io, "\(path): \(error)") }
        let reason = error.message ?? "SQLite error \(error.resultCode.rawValue)"
        switch error.resultCode {
        case .SQLITE_FULL:
            return Failure(.noSpace, "\(path): \(reason)", hint: "free space on that filesystem")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return Failure(.corrupt, "\(path): \(reason)", hint: Self.remedy(path))
        case .SQLITE_BUSY, .SQLITE_LOCKED: return Failure(.busy, "\(path): \(reason)")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN:
            return Failure(.notPermitted, "\(path): \(reason)")
        default: return Failure(.io, "\(path): \(reason)")
        }
    }

    /// The index can be made anew; the others are what a backup is for, or the cache's to lose.
    private static func remedy(_ path: String) -> String {
        path.hasSuffix("/index.sqlite")
            ? "make it anew: ccnfs verify --rebuild"
            : "restore the directory from a backup; a cache directory may just be deleted"
    }
}
