package import Failures
internal import GRDB

/// What exists nowhere else: trust, published versions, tags, catalogs seen, VMs, their profiles and
/// block maps. One SQLite file; see Docs/Formats.md for its tables.
///
/// Concurrency: any thread; writes are one at a time.
package final class StateDatabase: Sendable {
    /// Version 1: the first.
    package static let formatVersion = 1
    let file: SQLiteFile
    /// There was no database before.
    package let isNew: Bool

    package init(path: String) throws(Failure) {
        var isNew = false
        file = try SQLiteFile(path: path, version: Self.formatVersion) { db, found in
            guard found == 0 else { return }
            isNew = true
            try db.execute(sql: Self.schema)
        }
        self.isNew = isNew
    }

    package func integrityProblems() throws(Failure) -> [String] { try file.integrityProblems() }

    /// Some commit might not outlive a power cut yet.
    package var hasUndurableCommits: Bool { file.hasUndurableCommits }

    /// Every commit so far is on disk when this returns.
    package func synchronize() throws(Failure) {
        try file.write(durably: true) { db in
            try db.execute(
                sql: "UPDATE meta SET value = value + 1 WHERE key = 'synchronizations'"
            )
        }
    }

    private static let schema = """
        CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
        INSERT INTO meta (key, value) VALUES ('synchronizations', 0);

        CREATE TABLE trust (
            prefix TEXT NOT NULL,
            keyId BLOB NOT NULL,
            publicKey BLOB NOT NULL,
            added INTEGER NOT NULL,
            PRIMARY KEY (prefix, keyId)
        ) WITHOUT ROWID;

        CREATE TABLE version (
            template TEXT NOT NULL,
            version INTEGER NOT NULL,
            record BLOB NOT NULL,
            publishedHere INTEGER NOT NULL,
            withdrawn INTEGER,
            PRIMARY KEY (template, version)
        ) WITHOUT ROWID;

        CREATE TABLE tag (
            template TEXT NOT NULL,
            tag TEXT NOT NULL,
            version INTEGER NOT NULL,
            PRIMARY KEY (template, tag)
        ) WITHOUT ROWID;

        CREATE TABLE catalog (
            namespace TEXT PRIMARY KEY NOT NULL,
            serial INTEGER NOT NULL,
            object BLOB NOT NULL,
            publishedHere INTEGER NOT NULL,
            expires INTEGER NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE vm (
            id INTEGER PRIMARY KEY NOT NULL,
            name TEXT NOT NULL UNIQUE,
            mode INTEGER NOT NULL,
            userId INTEGER NOT NULL,
            groupId INTEGER NOT NULL,
            created INTEGER NOT NULL,
            modified INTEGER NOT NULL,
            template TEXT,
            templateVersion INTEGER
        );

        CREATE TABLE disk (
            id INTEGER PRIMARY KEY NOT NULL,
            vm INTEGER NOT NULL REFERENCES vm (id),
            name TEXT NOT NULL,
            size INTEGER NOT NULL,
            mode INTEGER NOT NULL,
            userId INTEGER NOT NULL,
            groupId INTEGER NOT NULL,
            modified INTEGER NOT NULL,
            overlay INTEGER NOT NULL,
            failure TEXT,
            UNIQUE (vm, name)
        );

        CREATE TABLE extent (
            disk INTEGER NOT NULL REFERENCES disk (id),
            start INTEGER NOT NULL,
            byteCount INTEGER NOT NULL,
            root BLOB NOT NULL,
            contentSize INTEGER NOT NULL,
            segmentSize INTEGER NOT NULL,
            levels INTEGER NOT NULL,
            prefix TEXT NOT NULL,
            sourceStart INTEGER NOT NULL,
            PRIMARY KEY (disk, start)
        ) WITHOUT ROWID;

        CREATE TABLE mapPage (
            overlay INTEGER NOT NULL,
            page INTEGER NOT NULL,
            states BLOB NOT NULL,
            PRIMARY KEY (overlay, page)
        ) WITHOUT ROWID;
        """
}
