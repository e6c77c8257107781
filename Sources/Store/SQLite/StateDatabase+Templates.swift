package import CCNx
package import Failures
internal import GRDB

/// One published version of a template, as the catalogs say.
package struct VersionRow: Sendable, Equatable {
    package var template: Name
    package var version: Int
    /// The signed record, an object of the store.
    package var record: ObjectId
    package var publishedHere: Bool
    /// Seconds since 1970 when it was withdrawn.
    package var withdrawn: Int?

    package init(
        template: Name,
        version: Int,
        record: ObjectId,
        publishedHere: Bool,
        withdrawn: Int? = nil
    ) {
        self.template = template
        self.version = version
        self.record = record
        self.publishedHere = publishedHere
        self.withdrawn = withdrawn
    }
}

package struct TagRow: Sendable, Equatable {
    package var template: Name
    package var tag: String
    package var version: Int

    package init(template: Name, tag: String, version: Int) {
        self.template = template
        self.tag = tag
        self.version = version
    }
}

/// The newest catalog of a namespace that this node knows.
package struct CatalogRow: Sendable, Equatable {
    package var namespace: Name
    package var serial: Int
    /// The signed catalog, an object of the store.
    package var object: ObjectId
    package var publishedHere: Bool
    /// Seconds since 1970.
    package var expires: Int
    /// The face address of the repository that this node is a mirror of: everything that the catalog names is
    /// in the published store. Nil for a catalog that is published or followed here.
    package var mirroredFrom: String?

    package init(
        namespace: Name,
        serial: Int,
        object: ObjectId,
        publishedHere: Bool,
        expires: Int,
        mirroredFrom: String? = nil
    ) {
        self.namespace = namespace
        self.serial = serial
        self.object = object
        self.publishedHere = publishedHere
        self.expires = expires
        self.mirroredFrom = mirroredFrom
    }

    /// Whether this node answers for the namespace: all that the catalog names is kept here.
    package var isKept: Bool { publishedHere || mirroredFrom != nil }
}

extension StateDatabase {
    package func versions() throws(Failure) -> [VersionRow] {
        try file.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT template, version, record, publishedHere, withdrawn FROM version
                    ORDER BY template, version
                    """
            ).compactMap { row in
                guard let record = Data32.id(row[2]) else { return nil }
                return VersionRow(
                    template: try Name(uri: row[0]),
                    version: row[1],
                    record: record,
                    publishedHere: row[3],
                    withdrawn: row[4]
                )
            }
        }
    }

    package func tags() throws(Failure) -> [TagRow] {
        try file.read { db in
            try Row.fetchAll(db, sql: "SELECT template, tag, version FROM tag ORDER BY 1, 2")
                .map { row in
                    TagRow(template: try Name(uri: row[0]), tag: row[1], version: row[2])
                }
        }
    }

    package func catalogs() throws(Failure) -> [CatalogRow] {
        try file.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT namespace, serial, object, publishedHere, expires, mirroredFrom
                    FROM catalog
                    """
            ).compactMap { row in
                guard let object = Data32.id(row[2]) else { return nil }
                return CatalogRow(
                    namespace: try Name(uri: row[0]),
                    serial: row[1],
                    object: object,
                    publishedHere: row[3],
                    expires: row[4],
                    mirroredFrom: row[5]
                )
            }
        }
    }

    /// Makes one change of a namespace's catalog, all of it or nothing, on disk when this returns.
    ///
    /// - Throws: `.busy` when `catalog.serial` is not higher than the one known: someone was faster. A mirror
    ///   may take over the catalog that it followed, and is not followed over. `.readOnly` for what is published here and comes from
    ///   elsewhere, or the other way round.
    package func commit(
        catalog: CatalogRow,
        versions: [VersionRow],
        tags: [TagRow]
    ) throws(Failure) {
        let namespace = catalog.namespace
        try file.write(durably: true) { db in
            try Self.checkMayReplace(catalog, db)
            let under = "\(namespace.uri)/"
            for table in ["version", "tag"] {
                try db.execute(
                    sql: "DELETE FROM \(table) WHERE template = ? OR substr(template, 1, ?) = ?",
                    arguments: [namespace.uri, under.count, under]
                )
            }
            for row in versions {
                try db.execute(
                    sql: """
                        INSERT INTO version (template, version, record, publishedHere, withdrawn)
                        VALUES (?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        row.template.uri, row.version, Data32.data(row.record), row.publishedHere,
                        row.withdrawn,
                    ]
                )
            }
            for row in tags {
                try db.execute(
                    sql: "INSERT INTO tag (template, tag, version) VALUES (?, ?, ?)",
                    arguments: [row.template.uri, row.tag, row.version]
                )
            }
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO catalog
                        (namespace, serial, object, publishedHere, expires, mirroredFrom)
                    VALUES (?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    namespace.uri, catalog.serial, Data32.data(catalog.object),
                    catalog.publishedHere, catalog.expires, catalog.mirroredFrom,
                ]
            )
        }
    }

    private static func checkMayReplace(_ catalog: CatalogRow, _ db: Database) throws {
        let known = try Row.fetchOne(
            db,
            sql: """
                SELECT serial, object, publishedHere, mirroredFrom FROM catalog
                WHERE namespace = ?
                """,
            arguments: [catalog.namespace.uri]
        )
        guard let known else { return }
        let isPublishedHere: Bool = known[2]
        guard isPublishedHere == catalog.publishedHere else {
            throw Failure(
                .readOnly,
                isPublishedHere
                    ? "\(catalog.namespace) is published on this node"
                    : "the catalog of \(catalog.namespace) comes from another repository"
            )
        }
        // Else what the mirror has would be nobody's until it is in step again.
        let mirroredFrom: String? = known[3]
        guard mirroredFrom == nil || catalog.mirroredFrom != nil else {
            throw Failure(.busy, "\(catalog.namespace) is mirrored on this node meanwhile")
        }
        let serial: Int = known[0]
        let isSame = catalog.mirroredFrom != nil && Data32.id(known[1]) == catalog.object
        guard serial < catalog.serial || isSame else {
            throw Failure(
                .busy,
                "the catalog of \(catalog.namespace) is at serial \(serial) already"
            )
        }
    }
}
