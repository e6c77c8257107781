package import CCNx
package import Failures
internal import Foundation
internal import GRDB

package struct VMRow: Sendable, Equatable {
    package var id: Int64
    package var name: String
    package var attributes: OwnedAttributes
    /// Seconds since 1970.
    package var created: Int
    package var template: Name?
    package var templateVersion: Int?

    package init(
        id: Int64,
        name: String,
        attributes: OwnedAttributes,
        created: Int,
        template: Name? = nil,
        templateVersion: Int? = nil
    ) {
        self.id = id
        self.name = name
        self.attributes = attributes
        self.created = created
        self.template = template
        self.templateVersion = templateVersion
    }
}

/// What a file keeps of who may do what with it.
package struct OwnedAttributes: Sendable, Equatable {
    /// Permission bits, 0o7777.
    package var mode: UInt32
    package var userId: UInt32
    package var groupId: UInt32
    /// Nanoseconds since 1970 of the last change of content.
    package var modified: Int

    package init(mode: UInt32, userId: UInt32, groupId: UInt32, modified: Int) {
        self.mode = mode
        self.userId = userId
        self.groupId = groupId
        self.modified = modified
    }
}

package struct DiskRow: Sendable, Equatable {
    package var id: Int64
    package var vm: Int64
    package var name: String
    /// Bytes.
    package var size: Int
    package var attributes: OwnedAttributes
    /// The overlay that takes the writes: names its files and its map pages.
    package var overlay: Int64
    /// Why the disk answers nothing until it is checked; nil when it is well.
    package var failure: String?

    package init(
        id: Int64,
        vm: Int64,
        name: String,
        size: Int,
        attributes: OwnedAttributes,
        overlay: Int64,
        failure: String? = nil
    ) {
        self.id = id
        self.vm = vm
        self.name = name
        self.size = size
        self.attributes = attributes
        self.overlay = overlay
        self.failure = failure
    }
}

/// A run of a disk that maps to content. Bytes everywhere.
package struct ExtentRow: Sendable, Equatable {
    package var start: Int
    package var byteCount: Int
    package var root: ObjectId
    package var contentSize: Int
    package var segmentSize: Int
    package var levels: Int
    package var prefix: Name
    package var sourceStart: Int

    package init(
        start: Int,
        byteCount: Int,
        root: ObjectId,
        contentSize: Int,
        segmentSize: Int,
        levels: Int,
        prefix: Name,
        sourceStart: Int
    ) {
        self.start = start
        self.byteCount = byteCount
        self.root = root
        self.contentSize = contentSize
        self.segmentSize = segmentSize
        self.levels = levels
        self.prefix = prefix
        self.sourceStart = sourceStart
    }
}

extension ExtentRow {
    /// Bytes a disk or content may have.
    private static let sizeLimit = 8 << 40

    fileprivate func isPossible(after end: Int) -> Bool {
        let limit = Self.sizeLimit
        return start >= end && start <= limit && byteCount > 0 && byteCount <= limit - start
            && [4096, 8192, 16384, 32768].contains(segmentSize)
            && (0...limit).contains(contentSize) && (0...contentSize).contains(sourceStart)
            && byteCount <= contentSize - sourceStart && (0...4).contains(levels)
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

// MARK: - VMs

extension StateDatabase {
    package func vms() throws(Failure) -> [VMRow] {
        try file.read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM vm ORDER BY name").map { row in
                let template: String? = row["template"]
                return VMRow(
                    id: row["id"],
                    name: row["name"],
                    attributes: Self.attributes(row),
                    created: row["created"],
                    template: try template.map { try Name(uri: $0) },
                    templateVersion: row["templateVersion"]
                )
            }
        }
    }

    package func insert(_ vm: VMRow, disks: [(disk: DiskRow, extents: [ExtentRow])] = [])
        throws(Failure)
    {
        try file.write(durably: false) { db in
            try db.execute(
                sql: """
                    INSERT INTO vm (id, name, mode, userId, groupId, created, modified, template,
                        templateVersion)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    vm.id, vm.name, vm.attributes.mode, vm.attributes.userId,
                    vm.attributes.groupId, vm.created, vm.attributes.modified, vm.template?.uri,
                    vm.templateVersion,
                ]
            )
            for (disk, extents) in disks {
                try Self.insert(disk, in: db)
                try Self.replaceExtents(of: disk.id, with: extents, in: db)
            }
        }
    }

    package func update(_ vm: VMRow) throws(Failure) {
        try file.write(durably: false) { db in
            try db.execute(
                sql: """
                    UPDATE vm SET name = ?, mode = ?, userId = ?, groupId = ?, modified = ?,
                        template = ?, templateVersion = ?
                    WHERE id = ?
                    """,
                arguments: [
                    vm.name, vm.attributes.mode, vm.attributes.userId, vm.attributes.groupId,
                    vm.attributes.modified, vm.template?.uri, vm.templateVersion, vm.id,
                ]
            )
        }
    }

    package func deleteVM(_ id: Int64) throws(Failure) {
        try file.write(durably: false) { db in
            try db.execute(sql: "DELETE FROM vm WHERE id = ?", arguments: [id])
        }
    }

    private static func attributes(_ row: Row) -> OwnedAttributes {
        OwnedAttributes(
            mode: row["mode"],
            userId: row["userId"],
            groupId: row["groupId"],
            modified: row["modified"]
        )
    }
}

// MARK: - Disks

extension StateDatabase {
    package func disks() throws(Failure) -> [DiskRow] {
        try file.read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM disk ORDER BY vm, name").map { row in
                DiskRow(
                    id: row["id"],
                    vm: row["vm"],
                    name: row["name"],
                    size: row["size"],
                    attributes: Self.attributes(row),
                    overlay: row["overlay"],
                    failure: row["failure"]
                )
            }
        }
    }

    /// - Throws: `.corrupt` for a row that cannot be: guessing would show wrong bytes.
    package func extents(of disk: Int64) throws(Failure) -> [ExtentRow] {
        try file.read { db in
            var end = 0
            return try Row.fetchAll(
                db,
                sql: "SELECT * FROM extent WHERE disk = ? ORDER BY start",
                arguments: [disk]
            ).map { row in
                guard let root = Data32.id(row["root"]) else {
                    throw Failure(.corrupt, "an extent of disk \(disk) has no root")
                }
                let extent = ExtentRow(
                    start: row["start"],
                    byteCount: row["byteCount"],
                    root: root,
                    contentSize: row["contentSize"],
                    segmentSize: row["segmentSize"],
                    levels: row["levels"],
                    prefix: try Name(uri: row["prefix"]),
                    sourceStart: row["sourceStart"]
                )
                guard extent.isPossible(after: end) else {
                    throw Failure(.corrupt, "an extent of disk \(disk) is malformed")
                }
                end = extent.start + extent.byteCount
                return extent
            }
        }
    }

    package func insert(_ disk: DiskRow) throws(Failure) {
        try file.write(durably: false) { db in try Self.insert(disk, in: db) }
    }

    /// Changes everything a disk row says, and with `extents` or `mapPages` also those, at once.
    ///
    /// A map page without states is removed.
    package func update(
        _ disk: DiskRow,
        extents: [ExtentRow]? = nil,
        mapPages: [MapPageRow] = [],
        removingMapPagesFrom firstRemoved: Int? = nil,
        durably: Bool = false
    ) throws(Failure) {
        try file.write(durably: durably) { db in
            try db.execute(
                sql: """
                    UPDATE disk SET vm = ?, name = ?, size = ?, mode = ?, userId = ?, groupId = ?,
                        modified = ?, failure = ?
                    WHERE id = ?
                    """,
                arguments: [
                    disk.vm, disk.name, disk.size, disk.attributes.mode, disk.attributes.userId,
                    disk.attributes.groupId, disk.attributes.modified, disk.failure, disk.id,
                ]
            )
            // Deleted while it is open: what is in memory is all it has from now on.
            guard db.changesCount > 0 else { return }
            if let extents { try Self.replaceExtents(of: disk.id, with: extents, in: db) }
            if let firstRemoved {
                try db.execute(
                    sql: "DELETE FROM mapPage WHERE overlay = ? AND page >= ?",
                    arguments: [disk.overlay, firstRemoved]
                )
            }
            try Self.replace(mapPages, of: disk.overlay, in: db)
        }
    }

    package func deleteDisk(_ disk: DiskRow) throws(Failure) {
        try file.write(durably: true) { db in
            try db.execute(sql: "DELETE FROM extent WHERE disk = ?", arguments: [disk.id])
            try db.execute(sql: "DELETE FROM mapPage WHERE overlay = ?", arguments: [disk.overlay])
            try db.execute(sql: "DELETE FROM disk WHERE id = ?", arguments: [disk.id])
        }
    }

    private static func insert(_ disk: DiskRow, in db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO disk (id, vm, name, size, mode, userId, groupId, modified, overlay)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                disk.id, disk.vm, disk.name, disk.size, disk.attributes.mode,
                disk.attributes.userId, disk.attributes.groupId, disk.attributes.modified,
                disk.overlay,
            ]
        )
    }

    private static func replaceExtents(
        of disk: Int64,
        with extents: [ExtentRow],
        in db: Database
    ) throws {
        try db.execute(sql: "DELETE FROM extent WHERE disk = ?", arguments: [disk])
        for extent in extents {
            try db.execute(
                sql: """
                    INSERT INTO extent (disk, start, byteCount, root, contentSize, segmentSize,
                        levels, prefix, sourceStart)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    disk, extent.start, extent.byteCount, Data32.data(extent.root),
                    extent.contentSize, extent.segmentSize, extent.levels, extent.prefix.uri,
                    extent.sourceStart,
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

    /// Removes pages that a flush committed behind the deletion of their disk.
    package func deleteOrphanMapPages() throws(Failure) {
        try file.write(durably: false) { db in
            try db.execute(
                sql: "DELETE FROM mapPage WHERE overlay NOT IN (SELECT overlay FROM disk)"
            )
        }
    }

    /// Commits changed map pages of several overlays, and times of change of disks, in one
    /// transaction, on disk when this returns.
    package func commit(
        mapPages: [(overlay: Int64, pages: [MapPageRow])],
        modified disks: [DiskRow]
    ) throws(Failure) {
        try file.write(durably: true) { db in
            for (overlay, pages) in mapPages { try Self.replace(pages, of: overlay, in: db) }
            for disk in disks {
                try db.execute(
                    sql: "UPDATE disk SET modified = ? WHERE id = ?",
                    arguments: [disk.attributes.modified, disk.id]
                )
            }
        }
    }

    private static func replace(
        _ pages: [MapPageRow],
        of overlay: Int64,
        in db: Database
    ) throws {
        for page in pages {
            if page.states.isEmpty {
                try db.execute(
                    sql: "DELETE FROM mapPage WHERE overlay = ? AND page = ?",
                    arguments: [overlay, page.page]
                )
            } else {
                try db.execute(
                    sql: "INSERT OR REPLACE INTO mapPage (overlay, page, states) VALUES (?, ?, ?)",
                    arguments: [overlay, page.page, Data(page.states)]
                )
            }
        }
    }
}
