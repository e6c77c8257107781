package import CCNx
package import Failures
internal import GRDB

/// A content that stays here: a disk or carried file of a version, whatever becomes of that.
package struct PinRow: Sendable, Hashable {
    package var template: Name
    package var version: Int
    /// The disk's or the file's name.
    package var item: String
    package var root: ObjectId
    /// Bytes.
    package var size: Int
    package var segmentSize: Int
    package var levels: Int
    /// Bytes of segments that are not holes.
    package var dataByteCount: Int

    package init(
        template: Name,
        version: Int,
        item: String,
        root: ObjectId,
        size: Int,
        segmentSize: Int,
        levels: Int,
        dataByteCount: Int
    ) {
        self.template = template
        self.version = version
        self.item = item
        self.root = root
        self.size = size
        self.segmentSize = segmentSize
        self.levels = levels
        self.dataByteCount = dataByteCount
    }
}

extension StateDatabase {
    package func pins() throws(Failure) -> [PinRow] {
        try file.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT template, version, item, root, size, segmentSize, levels, dataByteCount
                    FROM pin ORDER BY template, version, item
                    """
            ).compactMap { row in
                guard let root = Data32.id(row[3]) else { return nil }
                return PinRow(
                    template: try Name(uri: row[0]),
                    version: row[1],
                    item: row[2],
                    root: root,
                    size: row[4],
                    segmentSize: row[5],
                    levels: row[6],
                    dataByteCount: row[7]
                )
            }
        }
    }

    /// Those that are there already stay; on disk when this returns.
    package func insert(_ pins: [PinRow]) throws(Failure) {
        try file.write(durably: true) { db in
            for pin in pins {
                try db.execute(
                    sql: """
                        INSERT OR REPLACE INTO pin (template, version, item, root, size, segmentSize,
                            levels, dataByteCount)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        pin.template.uri, pin.version, pin.item, Data32.data(pin.root), pin.size,
                        pin.segmentSize, pin.levels, pin.dataByteCount,
                    ]
                )
            }
        }
    }

    /// - Parameter version: nil for all versions of the template.
    package func removePins(of template: Name, version: Int?) throws(Failure) {
        try file.write(durably: true) { db in
            try db.execute(
                sql: "DELETE FROM pin WHERE template = ? AND (? IS NULL OR version = ?)",
                arguments: [template.uri, version, version]
            )
        }
    }
}
