package import CCNx
package import Failures
internal import Foundation
internal import GRDB

/// Written blocks of a disk: what names its files, its map pages and its extents.
package struct OverlayRow: Sendable, Equatable {
    package var id: Int64
    /// Bytes of the disk when it was frozen; of a live overlay not kept up.
    package var size: Int
    /// The folder that its own folder is in; nil for that of the state directory.
    package var directory: String?

    package init(id: Int64, size: Int, directory: String? = nil) {
        self.id = id
        self.size = size
        self.directory = directory
    }
}

/// A run of a disk below an overlay. Bytes everywhere.
package struct ExtentRow: Sendable, Equatable {
    package var start: Int
    package var byteCount: Int
    /// Where the run begins in its source.
    package var sourceStart: Int
    package var source: Source

    package enum Source: Sendable, Equatable {
        case content(Content)
        /// A frozen overlay with everything below it.
        case overlay(Int64)
    }

    package struct Content: Sendable, Equatable {
        package var root: ObjectId
        package var size: Int
        package var segmentSize: Int
        package var levels: Int
        package var prefix: Name

        package init(root: ObjectId, size: Int, segmentSize: Int, levels: Int, prefix: Name) {
            self.root = root
            self.size = size
            self.segmentSize = segmentSize
            self.levels = levels
            self.prefix = prefix
        }
    }

    package init(start: Int, byteCount: Int, sourceStart: Int, source: Source) {
        self.start = start
        self.byteCount = byteCount
        self.sourceStart = sourceStart
        self.source = source
    }
}

extension ExtentRow {
    /// Bytes a disk or content may have.
    private static let sizeLimit = 8 << 40

    fileprivate func isPossible(after end: Int) -> Bool {
        let limit = Self.sizeLimit
        guard start >= end, start <= limit, byteCount > 0, byteCount <= limit - start,
            sourceStart >= 0, byteCount <= limit - sourceStart
        else { return false }
        switch source {
        case .overlay: return sourceStart % 4096 == 0 && start % 4096 == 0
        case .content(let content):
            return [4096, 8192, 16384, 32768].contains(content.segmentSize)
                && (0...limit).contains(content.size) && sourceStart <= content.size
                && byteCount <= content.size - sourceStart && (0...4).contains(content.levels)
        }
    }
}

/// Part of a durable block map, as `Profiles/BlockMap` cuts it.
package struct MapPageRow: Sendable, Equatable {
    package var page: Int
    package var states: [UInt8]

    /// Bytes of a page: 4,096 blocks of two bits.
    static let byteCount = 1024
    /// Pages of the largest disk.
    static let pages = 0..<(8 << 40) / (4096 * 4096)

    package init(page: Int, states: [UInt8]) {
        self.page = page
        self.states = states
    }
}

// MARK: - Overlays and extents

extension StateDatabase {
    package func overlays() throws(Failure) -> [OverlayRow] {
        try file.read { db in
            try Row.fetchAll(db, sql: "SELECT id, size, directory FROM overlay").map { row in
                OverlayRow(id: row[0], size: row[1], directory: row[2])
            }
        }
    }

    /// The extents of all overlays, those of each in order.
    ///
    /// - Throws: `.corrupt` for a row that cannot be: guessing would show wrong bytes.
    package func extents() throws(Failure) -> [Int64: [ExtentRow]] {
        try file.read { db in
            var extents: [Int64: [ExtentRow]] = [:]
            let rows = try Row.fetchCursor(
                db,
                sql: "SELECT * FROM extent ORDER BY overlay, start"
            )
            while let row = try rows.next() {
                let overlay: Int64 = row["overlay"]
                let before = extents[overlay]?.last
                extents[overlay, default: []].append(
                    try Self.extent(row, of: overlay, after: before)
                )
            }
            return extents
        }
    }

    package func extents(of overlay: Int64) throws(Failure) -> [ExtentRow] {
        try file.read { db in
            var last: ExtentRow?
            return try Row.fetchAll(
                db,
                sql: "SELECT * FROM extent WHERE overlay = ? ORDER BY start",
                arguments: [overlay]
            ).map { row in
                let extent = try Self.extent(row, of: overlay, after: last)
                last = extent
                return extent
            }
        }
    }

    private static func extent(
        _ row: Row,
        of overlay: Int64,
        after before: ExtentRow?
    ) throws -> ExtentRow {
        let source: ExtentRow.Source
        if let below: Int64 = row["below"] {
            source = .overlay(below)
        } else {
            guard let root = Data32.id(row["root"]) else {
                throw Failure(.corrupt, "an extent of overlay \(overlay) has no root")
            }
            source = .content(
                ExtentRow.Content(
                    root: root,
                    size: row["contentSize"],
                    segmentSize: row["segmentSize"],
                    levels: row["levels"],
                    prefix: try Name(uri: row["prefix"])
                )
            )
        }
        let extent = ExtentRow(
            start: row["start"],
            byteCount: row["byteCount"],
            sourceStart: row["sourceStart"],
            source: source
        )
        guard extent.isPossible(after: before.map { $0.start + $0.byteCount } ?? 0) else {
            throw Failure(
                .corrupt,
                "the extent of overlay \(overlay) at \(extent.start), \(extent.byteCount) bytes from "
                    + "\(extent.sourceStart) of its source, cannot be"
            )
        }
        return extent
    }

    /// Changes what lies below an overlay that is no live disk's.
    package func replaceExtents(
        of overlay: Int64,
        with extents: [ExtentRow]
    ) throws(Failure) {
        try file.write(durably: false) { db in
            try Self.replaceExtents(of: overlay, with: extents, in: db)
        }
    }

    /// Deletes overlays that nothing refers to but each other, durably.
    package func deleteOverlays(_ ids: [Int64]) throws(Failure) {
        try file.write(durably: true) { db in
            // They refer to each other: extents first.
            for id in ids {
                try db.execute(sql: "DELETE FROM extent WHERE overlay = ?", arguments: [id])
            }
            for id in ids { try Self.deleteOverlay(id, in: db) }
        }
    }

    static func insert(_ overlay: OverlayRow, extents: [ExtentRow], in db: Database) throws {
        try db.execute(
            sql: "INSERT INTO overlay (id, size, directory) VALUES (?, ?, ?)",
            arguments: [overlay.id, overlay.size, overlay.directory]
        )
        try replaceExtents(of: overlay.id, with: extents, in: db)
    }

    static func deleteOverlay(_ id: Int64, in db: Database) throws {
        for sql in [
            "DELETE FROM extent WHERE overlay = ?", "DELETE FROM mapPage WHERE overlay = ?",
            "DELETE FROM overlay WHERE id = ?",
        ] {
            try db.execute(sql: sql, arguments: [id])
        }
    }

    static func replaceExtents(
        of overlay: Int64,
        with extents: [ExtentRow],
        in db: Database
    ) throws {
        try db.execute(sql: "DELETE FROM extent WHERE overlay = ?", arguments: [overlay])
        var end = 0
        for extent in extents {
            // What could not be read again would take the disk out of the next start.
            guard extent.isPossible(after: end) else {
                throw Failure(
                    .invalid,
                    "overlay \(overlay) cannot map \(extent.byteCount) bytes at \(extent.start)"
                )
            }
            end = extent.start + extent.byteCount
            var below: Int64?
            var content: ExtentRow.Content?
            switch extent.source {
            case .overlay(let id): below = id
            case .content(let of): content = of
            }
            try db.execute(
                sql: """
                    INSERT INTO extent (overlay, start, byteCount, sourceStart, below, root,
                        contentSize, segmentSize, levels, prefix)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    overlay, extent.start, extent.byteCount, extent.sourceStart, below,
                    content.map { Data32.data($0.root) }, content?.size, content?.segmentSize,
                    content?.levels, content?.prefix.uri,
                ]
            )
        }
    }
}

// MARK: - Block maps

extension StateDatabase {
    package func mapPages(of overlay: Int64) throws(Failure) -> [MapPageRow] {
        try file.read { db in
            try Row.fetchAll(
                db,
                sql: "SELECT page, states FROM mapPage WHERE overlay = ? ORDER BY page",
                arguments: [overlay]
            ).map { row in
                let page: Int = row[0]
                let states: Data = row[1]
                guard MapPageRow.pages.contains(page), states.count == MapPageRow.byteCount else {
                    throw Failure(.corrupt, "map page \(page) of overlay \(overlay) is malformed")
                }
                return MapPageRow(page: page, states: Array(states))
            }
        }
    }

    /// Removes pages that a flush committed behind the deletion of their overlay.
    package func deleteOrphanMapPages() throws(Failure) {
        try file.write(durably: false) { db in
            try db.execute(
                sql: "DELETE FROM mapPage WHERE overlay NOT IN (SELECT id FROM overlay)"
            )
        }
    }

    /// Commits changed map pages of several overlays, and times of change of disks, in one
    /// transaction, on disk when this returns.
    ///
    /// - Parameter snapshot: is complete with that.
    package func commit(
        mapPages: [(overlay: Int64, pages: [MapPageRow])],
        modified disks: [DiskRow] = [],
        completing snapshot: Int64? = nil
    ) throws(Failure) {
        try file.write(durably: true) { db in
            if let snapshot {
                try db.execute(
                    sql: "UPDATE snapshot SET isComplete = 1 WHERE id = ?",
                    arguments: [snapshot]
                )
            }
            for (overlay, pages) in mapPages { try Self.replace(pages, of: overlay, in: db) }
            for disk in disks {
                try db.execute(
                    sql: "UPDATE disk SET modified = ? WHERE id = ?",
                    arguments: [disk.attributes.modified, disk.id]
                )
            }
        }
    }

    static func replace(_ pages: [MapPageRow], of overlay: Int64, in db: Database) throws {
        for page in pages {
            if page.states.isEmpty {
                try db.execute(
                    sql: "DELETE FROM mapPage WHERE overlay = ? AND page = ?",
                    arguments: [overlay, page.page]
                )
            } else {
                // Not REPLACE, which deletes and inserts; and the table has row ids, since a page is
                // too large for a leaf without: one frame of the log a page instead of six.
                try db.execute(
                    sql: """
                        INSERT INTO mapPage (overlay, page, states) VALUES (?, ?, ?)
                        ON CONFLICT (overlay, page) DO UPDATE SET states = excluded.states
                        """,
                    arguments: [overlay, page.page, Data(page.states)]
                )
            }
        }
    }
}
