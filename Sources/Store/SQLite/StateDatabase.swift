package import Failures
internal import GRDB

/// What exists nowhere else: trust, published versions, tags, catalogs seen, VMs, their profiles and
/// block maps. One SQLite file; see Docs/Formats.md for its tables.
///
/// Concurrency: any thread; writes are one at a time.
package final class StateDatabase: Sendable {
    /// Version 1: the first. Version 2: overlays on their own, which extents belong to and may refer
    /// to; snapshots; where overlays are kept; moved VMs. Version 3: pins, mirrors, what trusted keys may do,
    /// requests to manage this node from elsewhere.
    package static let formatVersion = 3
    let file: SQLiteFile
    /// There was no database before.
    package let isNew: Bool

    package init(path: String) throws(Failure) {
        var isNew = false
        file = try SQLiteFile(path: path, version: Self.formatVersion) { db, found in
            switch found {
            case 0:
                isNew = true
                try db.execute(sql: Self.schema)
            case 1: try db.execute(sql: Self.upgradeFrom1 + Self.upgradeFrom2)
            case 2: try db.execute(sql: Self.upgradeFrom2)
            default: break
            }
        }
        self.isNew = isNew
    }

    package func integrityProblems() throws(Failure) -> [String] { try file.integrityProblems() }

    /// Some commit might not outlive a power cut yet.
    package var hasUndurableCommits: Bool { file.hasUndurableCommits }

    /// Tells the state directories of several nodes apart; made at first use, durably.
    package func homeId() throws(Failure) -> String {
        let key = "home"
        let known = try file.read { db in
            try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = ?", arguments: [key])
        }
        if let known { return known }
        let made = String(UInt64.random(in: 0...UInt64.max), radix: 16)
        try file.write(durably: true) { db in
            try db.execute(
                sql: "INSERT INTO meta (key, value) VALUES (?, ?)",
                arguments: [key, made]
            )
        }
        return made
    }

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
            rights INTEGER NOT NULL DEFAULT 1,
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
            expires INTEGER NOT NULL,
            mirroredFrom TEXT
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
            templateVersion INTEGER,
            overlayDirectory TEXT,
            movedAs TEXT
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

        """ + overlayTables + newTables

    /// New with version 2.
    private static let overlayTables = """
        CREATE TABLE overlay (
            id INTEGER PRIMARY KEY NOT NULL,
            size INTEGER NOT NULL,
            directory TEXT
        );

        CREATE TABLE extent (
            overlay INTEGER NOT NULL REFERENCES overlay (id),
            start INTEGER NOT NULL,
            byteCount INTEGER NOT NULL,
            sourceStart INTEGER NOT NULL,
            below INTEGER REFERENCES overlay (id),
            root BLOB,
            contentSize INTEGER,
            segmentSize INTEGER,
            levels INTEGER,
            prefix TEXT,
            PRIMARY KEY (overlay, start)
        ) WITHOUT ROWID;
        CREATE INDEX extentBelow ON extent (below) WHERE below IS NOT NULL;

        CREATE TABLE mapPage (
            overlay INTEGER NOT NULL,
            page INTEGER NOT NULL,
            states BLOB NOT NULL,
            PRIMARY KEY (overlay, page)
        );

        CREATE TABLE snapshot (
            id INTEGER PRIMARY KEY NOT NULL,
            vm INTEGER NOT NULL REFERENCES vm (id),
            name TEXT NOT NULL,
            created INTEGER NOT NULL,
            isComplete INTEGER NOT NULL,
            UNIQUE (vm, name)
        );

        CREATE TABLE snapshotDisk (
            id INTEGER PRIMARY KEY NOT NULL,
            snapshot INTEGER NOT NULL REFERENCES snapshot (id),
            name TEXT NOT NULL,
            size INTEGER NOT NULL,
            mode INTEGER NOT NULL,
            userId INTEGER NOT NULL,
            groupId INTEGER NOT NULL,
            modified INTEGER NOT NULL,
            overlay INTEGER NOT NULL REFERENCES overlay (id),
            UNIQUE (snapshot, name)
        );

        CREATE TABLE importedMachine (
            token TEXT PRIMARY KEY NOT NULL,
            imported INTEGER NOT NULL
        ) WITHOUT ROWID;

        """

    /// New with version 3.
    private static let newTables = """

        CREATE TABLE pin (
            template TEXT NOT NULL,
            version INTEGER NOT NULL,
            item TEXT NOT NULL,
            root BLOB NOT NULL,
            size INTEGER NOT NULL,
            segmentSize INTEGER NOT NULL,
            levels INTEGER NOT NULL,
            dataByteCount INTEGER NOT NULL,
            PRIMARY KEY (template, version, item)
        ) WITHOUT ROWID;

        CREATE TABLE managed (
            request BLOB PRIMARY KEY NOT NULL,
            received INTEGER NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE mirror (
            namespace TEXT PRIMARY KEY NOT NULL,
            source TEXT NOT NULL,
            intervalMilliseconds INTEGER NOT NULL,
            isFromSettings INTEGER NOT NULL
        ) WITHOUT ROWID;
        """

    /// Keys that were trusted before might publish, and nothing else.
    private static let upgradeFrom2 = """

        ALTER TABLE trust ADD COLUMN rights INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE catalog ADD COLUMN mirroredFrom TEXT;
        """ + newTables

    private static let upgradeFrom1 = """
        ALTER TABLE vm ADD COLUMN overlayDirectory TEXT;
        ALTER TABLE vm ADD COLUMN movedAs TEXT;
        ALTER TABLE extent RENAME TO extent1;
        ALTER TABLE mapPage RENAME TO mapPage1;
        \(overlayTables)
        INSERT INTO overlay (id, size) SELECT overlay, size FROM disk;
        INSERT INTO extent (overlay, start, byteCount, sourceStart, root, contentSize, segmentSize,
                levels, prefix)
            SELECT disk.overlay, start, byteCount, sourceStart, root, contentSize, segmentSize, levels,
                prefix
            FROM extent1 JOIN disk ON disk.id = extent1.disk;
        INSERT INTO mapPage (overlay, page, states)
            SELECT overlay, page, states FROM mapPage1 WHERE overlay IN (SELECT overlay FROM disk);
        DROP TABLE extent1;
        DROP TABLE mapPage1;

        """
}
