internal import Failures
internal import Foundation
internal import GRDB

/// Small objects (manifest nodes, signed records, listings, small files), keyed by id.
struct ObjectTable: Sendable {
    private let database: SQLiteFile

    init(path: String) throws(Failure) {
        database = try SQLiteFile(path: path, version: 1) { db, found in
            guard found == 0 else { return }
            try db.execute(
                sql: """
                    CREATE TABLE object (
                        id BLOB PRIMARY KEY NOT NULL,
                        bytes BLOB NOT NULL
                    ) WITHOUT ROWID;
                    """
            )
        }
    }

    func bytes(of id: ObjectId) throws(Failure) -> [UInt8]? {
        try database.read { db in
            let statement = try db.cachedStatement(sql: "SELECT bytes FROM object WHERE id = ?")
            let data = try Data.fetchOne(statement, arguments: [Data32.data(id)])
            return data.map(Array.init)
        }
    }

    func has(_ id: ObjectId) throws(Failure) -> Bool {
        try database.read { db in
            let statement = try db.cachedStatement(sql: "SELECT 1 FROM object WHERE id = ?")
            return try Int.fetchOne(statement, arguments: [Data32.data(id)]) != nil
        }
    }

    /// - Returns: how many were new.
    func insert(_ objects: [(id: ObjectId, bytes: [UInt8])], durably: Bool) throws(Failure) -> Int {
        try database.write(durably: durably) { db in
            let statement = try db.cachedStatement(
                sql: "INSERT OR IGNORE INTO object (id, bytes) VALUES (?, ?)"
            )
            let before = db.totalChangesCount
            for (id, bytes) in objects {
                try statement.execute(arguments: [Data32.data(id), Data(bytes)])
            }
            return db.totalChangesCount - before
        }
    }

    func remove(_ ids: [ObjectId]) throws(Failure) {
        try database.write(durably: true) { db in
            let statement = try db.cachedStatement(sql: "DELETE FROM object WHERE id = ?")
            for id in ids { try statement.execute(arguments: [Data32.data(id)]) }
        }
    }

    func ids() throws(Failure) -> [ObjectId] {
        try database.read { db in
            try Data.fetchAll(db, sql: "SELECT id FROM object").compactMap(Data32.id)
        }
    }

    /// Objects and their bytes in sum.
    func usage() throws(Failure) -> (count: Int, byteCount: Int) {
        try database.read { db in
            let row = try Row.fetchOne(
                db,
                sql: "SELECT COUNT(*), COALESCE(SUM(LENGTH(bytes)), 0) FROM object"
            )
            return (row?[0] ?? 0, row?[1] ?? 0)
        }
    }

    /// Everything is in the main file and on disk, the write-ahead log is empty.
    func finish() throws(Failure) { try database.checkpoint() }

    func backUp(to copy: String) throws(Failure) { try database.backUp(to: copy) }

    func integrityProblems() throws(Failure) -> [String] { try database.integrityProblems() }
}
