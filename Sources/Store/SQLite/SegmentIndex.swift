internal import Failures
internal import Files
internal import GRDB

/// Segment id to place: derived data, made anew by ``ContentStore/rebuildIndex()``.
struct SegmentIndex: Sendable {
    private let database: SQLiteFile

    init(path: String) throws(Failure) {
        database = try SQLiteFile(path: path, version: 1) { db, found in
            guard found == 0 else { return }
            try db.execute(
                sql: """
                    CREATE TABLE segment (
                        id BLOB PRIMARY KEY NOT NULL,
                        image INTEGER NOT NULL,
                        position INTEGER NOT NULL
                    ) WITHOUT ROWID;
                    CREATE TABLE image (
                        number INTEGER PRIMARY KEY NOT NULL,
                        root BLOB UNIQUE
                    );
                    """
            )
        }
    }

    static func remove(at path: String) throws(Failure) {
        for suffix in ["", "-wal", "-shm"] { try FileTree.remove(path + suffix) }
    }

    /// The places of `ids`, in their order; nil where the segment is not here.
    func places(of ids: [ObjectId]) throws(Failure) -> [SegmentPlace?] {
        try database.read { db in
            let statement = try db.cachedStatement(
                sql: "SELECT image, position FROM segment WHERE id = ?"
            )
            return try ids.map { id in
                if id.isHole { return nil }
                return try Row.fetchOne(statement, arguments: [Data32.data(id)]).map(Self.place)
            }
        }
    }

    /// Records where segments lie; the first place known for an id stays.
    func insert(_ places: [(id: ObjectId, place: SegmentPlace)]) throws(Failure) {
        try database.write(durably: false) { db in
            let statement = try db.cachedStatement(
                sql: "INSERT OR IGNORE INTO segment (id, image, position) VALUES (?, ?, ?)"
            )
            for (id, place) in places {
                try statement.execute(arguments: [Data32.data(id), place.image, place.position])
            }
        }
    }

    /// Forgets that segments lie at these places, on disk when this returns: their space may be used
    /// again. One that lies elsewhere by now stays.
    func remove(_ segments: [(id: ObjectId, place: SegmentPlace)]) throws(Failure) {
        try database.write(durably: true) { db in
            let statement = try db.cachedStatement(
                sql: "DELETE FROM segment WHERE id = ? AND image = ? AND position = ?"
            )
            for (id, place) in segments {
                try statement.execute(
                    arguments: [Data32.data(id), place.image, place.position]
                )
            }
        }
    }

    /// Every segment with its place, in no order.
    func forEach(_ body: (ObjectId, SegmentPlace) throws -> Void) throws(Failure) {
        try database.read { db in
            let rows = try Row.fetchCursor(db, sql: "SELECT image, position, id FROM segment")
            while let row = try rows.next() {
                guard let id = Data32.id(row[2]) else { continue }
                try body(id, Self.place(row))
            }
        }
    }

    func count() throws(Failure) -> Int {
        try database.read { db in
            try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM segment") ?? 0
        }
    }

    // MARK: Images

    /// The image that holds the segments of the disk with this root.
    func image(forRoot root: ObjectId) throws(Failure) -> Int? {
        try database.read { db in
            try Int.fetchOne(
                db,
                sql: "SELECT number FROM image WHERE root = ?",
                arguments: [Data32.data(root)]
            )
        }
    }

    /// Takes the next image number; `root` is nil while it is not known.
    func addImage(root: ObjectId?, atLeast: Int) throws(Failure) -> Int {
        try database.write(durably: true) { db in
            let last = try Int.fetchOne(db, sql: "SELECT MAX(number) FROM image") ?? 0
            let number = max(last + 1, atLeast)
            try db.execute(
                sql: "INSERT INTO image (number, root) VALUES (?, ?)",
                arguments: [number, root.map(Data32.data)]
            )
            return number
        }
    }

    /// The position behind the last one in an image that a segment lies at. Looks at all segments.
    func endPosition(ofImage number: Int) throws(Failure) -> Int {
        try database.read { db in
            try Int.fetchOne(
                db,
                sql: "SELECT MAX(position) + 1 FROM segment WHERE image = ?",
                arguments: [number]
            ) ?? 0
        }
    }

    /// Forgets all segments of an image, on disk when this returns.
    func removeSegments(ofImage number: Int) throws(Failure) {
        try database.write(durably: true) { db in
            try db.execute(sql: "DELETE FROM segment WHERE image = ?", arguments: [number])
        }
    }

    func removeImage(_ number: Int) throws(Failure) {
        try database.write(durably: true) { db in
            try db.execute(sql: "DELETE FROM image WHERE number = ?", arguments: [number])
        }
    }

    private static func place(_ row: Row) -> SegmentPlace {
        SegmentPlace(image: row[0], position: row[1])
    }

    /// Everything is in the main file and on disk, the write-ahead log is empty.
    func finish() throws(Failure) { try database.checkpoint() }

    func backUp(to copy: String) throws(Failure) { try database.backUp(to: copy) }

    func integrityProblems() throws(Failure) -> [String] { try database.integrityProblems() }
}
