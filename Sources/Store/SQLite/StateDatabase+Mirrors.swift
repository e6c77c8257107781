package import CCNx
package import Failures
internal import GRDB

/// A namespace that this node is to be a mirror repository of, from the repository that it is kept in step
/// with.
package struct MirrorRow: Sendable, Equatable {
    package var namespace: Name
    /// The face address of that repository.
    package var source: String
    /// How often it is looked at.
    package var intervalMilliseconds: Int
    /// True if the settings file names it, false if a command does.
    package var isFromSettings: Bool

    package init(
        namespace: Name,
        source: String,
        intervalMilliseconds: Int,
        isFromSettings: Bool
    ) {
        self.namespace = namespace
        self.source = source
        self.intervalMilliseconds = intervalMilliseconds
        self.isFromSettings = isFromSettings
    }
}

extension StateDatabase {
    package func mirrors() throws(Failure) -> [MirrorRow] {
        try file.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT namespace, source, intervalMilliseconds, isFromSettings FROM mirror
                    ORDER BY namespace
                    """
            ).map { row in
                MirrorRow(
                    namespace: try Name(uri: row[0]),
                    source: row[1],
                    intervalMilliseconds: row[2],
                    isFromSettings: row[3]
                )
            }
        }
    }

    /// Where a namespace that is mirrored here, or is to be, comes from; nil for any other.
    package func mirrorSource(of namespace: Name) throws(Failure) -> String? {
        try file.read { db in
            try String.fetchOne(
                db,
                sql: """
                    SELECT source FROM mirror WHERE namespace = ?1
                    UNION ALL
                    SELECT mirroredFrom FROM catalog
                        WHERE namespace = ?1 AND mirroredFrom IS NOT NULL
                    """,
                arguments: [namespace.uri]
            )
        }
    }

    /// Adds a mirror or changes it, durably.
    ///
    /// - Throws: `.readOnly` for a namespace that is published on this node.
    package func setMirror(_ mirror: MirrorRow) throws(Failure) {
        try file.write(durably: true) { db in
            try Self.refuseToMirror(mirror.namespace, db)
            try Self.insert(mirror, db)
        }
    }

    /// The mirrors that the settings file names, in place of those that it named before. A namespace that is
    /// published here is left out.
    ///
    /// - Returns: the namespaces left out.
    package func setMirrorsOfSettings(_ mirrors: [MirrorRow]) throws(Failure) -> [Name] {
        let known = try self.mirrors().filter(\.isFromSettings)
        if known == mirrors.sorted(by: { $0.namespace.uri < $1.namespace.uri }) { return [] }
        return try file.write(durably: true) { db in
            try db.execute(sql: "DELETE FROM mirror WHERE isFromSettings = 1")
            var leftOut: [Name] = []
            for mirror in mirrors {
                do {
                    try Self.refuseToMirror(mirror.namespace, db)
                } catch let failure as Failure where failure.kind == .readOnly {
                    leftOut.append(mirror.namespace)
                    continue
                }
                try Self.insert(mirror, db)
            }
            return leftOut
        }
    }

    /// The namespace is followed as any other from now on, and what was kept of it may be freed.
    ///
    /// - Returns: false if it was no mirror.
    package func removeMirror(_ namespace: Name) throws(Failure) -> Bool {
        try file.write(durably: true) { db in
            try db.execute(
                sql: "DELETE FROM mirror WHERE namespace = ?",
                arguments: [namespace.uri]
            )
            let wasToBe = db.changesCount > 0
            try db.execute(
                sql: """
                    UPDATE catalog SET mirroredFrom = NULL
                    WHERE namespace = ? AND mirroredFrom IS NOT NULL
                    """,
                arguments: [namespace.uri]
            )
            return wasToBe || db.changesCount > 0
        }
    }

    private static func refuseToMirror(_ namespace: Name, _ db: Database) throws {
        let isOurs = try Bool.fetchOne(
            db,
            sql: "SELECT publishedHere FROM catalog WHERE namespace = ?",
            arguments: [namespace.uri]
        )
        guard isOurs != true else {
            throw Failure(
                .readOnly,
                "\(namespace) is published on this node, so this node is no mirror of it"
            )
        }
    }

    private static func insert(_ mirror: MirrorRow, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT OR REPLACE INTO mirror
                    (namespace, source, intervalMilliseconds, isFromSettings)
                VALUES (?, ?, ?, ?)
                """,
            arguments: [
                mirror.namespace.uri, mirror.source, mirror.intervalMilliseconds,
                mirror.isFromSettings,
            ]
        )
    }
}
