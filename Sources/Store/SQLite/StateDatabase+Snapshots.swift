package import Failures
internal import GRDB

package struct SnapshotRow: Sendable, Equatable {
    package var id: Int64
    package var vm: Int64
    package var name: String
    /// Seconds since 1970.
    package var created: Int
    /// False until its blocks are durable: one that is found so at a start never came to be.
    package var isComplete: Bool

    package init(id: Int64, vm: Int64, name: String, created: Int, isComplete: Bool = false) {
        self.id = id
        self.vm = vm
        self.name = name
        self.created = created
        self.isComplete = isComplete
    }
}

/// A disk as a snapshot has it.
package struct SnapshotDiskRow: Sendable, Equatable {
    package var id: Int64
    package var snapshot: Int64
    package var name: String
    /// Bytes.
    package var size: Int
    package var attributes: OwnedAttributes
    /// Frozen: it and what lies below it never show anything else.
    package var overlay: Int64

    package init(
        id: Int64,
        snapshot: Int64,
        name: String,
        size: Int,
        attributes: OwnedAttributes,
        overlay: Int64
    ) {
        self.id = id
        self.snapshot = snapshot
        self.name = name
        self.size = size
        self.attributes = attributes
        self.overlay = overlay
    }
}

extension StateDatabase {
    package func snapshots() throws(Failure) -> [SnapshotRow] {
        try file.read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM snapshot ORDER BY created, id").map { row in
                SnapshotRow(
                    id: row["id"],
                    vm: row["vm"],
                    name: row["name"],
                    created: row["created"],
                    isComplete: row["isComplete"]
                )
            }
        }
    }

    package func snapshotDisks() throws(Failure) -> [SnapshotDiskRow] {
        try file.read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM snapshotDisk ORDER BY name").map { row in
                SnapshotDiskRow(
                    id: row["id"],
                    snapshot: row["snapshot"],
                    name: row["name"],
                    size: row["size"],
                    attributes: Self.attributes(row),
                    overlay: row["overlay"]
                )
            }
        }
    }

    /// One disk's change when its overlay is frozen.
    package struct Freeze: Sendable {
        /// With the fresh overlay.
        package var disk: DiskRow
        package var frozen: Int64
        /// Of the fresh overlay: all of the disk, to the frozen one.
        package var extents: [ExtentRow]
        package var directory: String?

        package init(disk: DiskRow, frozen: Int64, extents: [ExtentRow], directory: String?) {
            self.disk = disk
            self.frozen = frozen
            self.extents = extents
            self.directory = directory
        }
    }

    /// Puts fresh overlays over those of disks, and notes a snapshot of that moment, incomplete.
    ///
    /// Survives the process at once: what is written from now on goes into the fresh overlays.
    package func freeze(
        _ disks: [Freeze],
        as snapshot: SnapshotRow?,
        with snapshotDisks: [SnapshotDiskRow]
    ) throws(Failure) {
        try file.write(durably: false) { db in
            for freeze in disks {
                try Self.insert(
                    OverlayRow(
                        id: freeze.disk.overlay,
                        size: freeze.disk.size,
                        directory: freeze.directory
                    ),
                    extents: freeze.extents,
                    in: db
                )
                try db.execute(
                    sql: "UPDATE overlay SET size = ? WHERE id = ?",
                    arguments: [freeze.disk.size, freeze.frozen]
                )
                try Self.update(freeze.disk, in: db)
            }
            guard let snapshot else { return }
            try db.execute(
                sql: """
                    INSERT INTO snapshot (id, vm, name, created, isComplete) VALUES (?, ?, ?, ?, ?)
                    """,
                arguments: [
                    snapshot.id, snapshot.vm, snapshot.name, snapshot.created, snapshot.isComplete,
                ]
            )
            for disk in snapshotDisks {
                try db.execute(
                    sql: """
                        INSERT INTO snapshotDisk (id, snapshot, name, size, mode, userId, groupId,
                            modified, overlay)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        disk.id, disk.snapshot, disk.name, disk.size, disk.attributes.mode,
                        disk.attributes.userId, disk.attributes.groupId, disk.attributes.modified,
                        disk.overlay,
                    ]
                )
            }
        }
    }

    /// Drops snapshots durably; their overlays are the reclaimer's.
    package func deleteSnapshots(_ ids: [Int64]) throws(Failure) {
        try file.write(durably: true) { db in
            for id in ids {
                try db.execute(sql: "DELETE FROM snapshotDisk WHERE snapshot = ?", arguments: [id])
                try db.execute(sql: "DELETE FROM snapshot WHERE id = ?", arguments: [id])
            }
        }
    }

    /// Puts new disks in the place of old ones of a VM, durably.
    package func replaceDisks(
        _ old: [DiskRow],
        with new: [NewDisk],
        directory: String?
    ) throws(Failure) {
        try file.write(durably: true) { db in
            for disk in old {
                try db.execute(sql: "DELETE FROM disk WHERE id = ?", arguments: [disk.id])
            }
            for disk in new { try Self.insert(disk, directory: directory, in: db) }
        }
    }

    /// What a live disk of the copy shows: a frozen overlay, all of it.
    package struct Moment: Sendable {
        package var disk: Int64
        package var overlay: Int64
        /// Bytes.
        package var size: Int

        package init(disk: Int64, overlay: Int64, size: Int) {
            self.disk = disk
            self.overlay = overlay
            self.size = size
        }
    }

    /// Copies the database; in the copy live disks show these moments, and all overlays are in the
    /// state directory.
    package func backUp(to copy: String, showing moments: [Moment]) throws(Failure) {
        try file.backUp(to: copy) { db in
            try db.execute(sql: "DELETE FROM mapPage WHERE overlay IN (SELECT overlay FROM disk)")
            for moment in moments {
                guard
                    let live = try Int64.fetchOne(
                        db,
                        sql: "SELECT overlay FROM disk WHERE id = ?",
                        arguments: [moment.disk]
                    )
                else { continue }
                try db.execute(
                    sql: "UPDATE disk SET size = ? WHERE id = ?",
                    arguments: [moment.size, moment.disk]
                )
                let extent = ExtentRow(
                    start: 0,
                    byteCount: moment.size,
                    sourceStart: 0,
                    source: .overlay(moment.overlay)
                )
                try Self.replaceExtents(of: live, with: moment.size > 0 ? [extent] : [], in: db)
            }
            // The copy is another home: in a place outside it must not take the original's blocks for
            // its own.
            try db.execute(sql: "DELETE FROM meta WHERE key = 'home'")
            try db.execute(sql: "UPDATE overlay SET directory = NULL")
            try db.execute(sql: "UPDATE vm SET overlayDirectory = NULL")
            try db.execute(
                sql:
                    "DELETE FROM snapshotDisk WHERE snapshot IN (SELECT id FROM snapshot WHERE NOT isComplete)"
            )
            try db.execute(sql: "DELETE FROM snapshot WHERE NOT isComplete")
        }
    }
}
