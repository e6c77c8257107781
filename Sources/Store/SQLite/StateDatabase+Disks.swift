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
    /// Where its written blocks are kept; nil for the state directory.
    package var overlayDirectory: String?
    /// The export it left with: it is read-only since. Nil for a VM that is here.
    package var movedAs: String?

    package init(
        id: Int64,
        name: String,
        attributes: OwnedAttributes,
        created: Int,
        template: Name? = nil,
        templateVersion: Int? = nil,
        overlayDirectory: String? = nil,
        movedAs: String? = nil
    ) {
        self.id = id
        self.name = name
        self.attributes = attributes
        self.created = created
        self.template = template
        self.templateVersion = templateVersion
        self.overlayDirectory = overlayDirectory
        self.movedAs = movedAs
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
                    templateVersion: row["templateVersion"],
                    overlayDirectory: row["overlayDirectory"],
                    movedAs: row["movedAs"]
                )
            }
        }
    }

    /// A disk that comes to be, with the overlay that takes its writes and what lies below that.
    package struct NewDisk: Sendable {
        package var disk: DiskRow
        package var extents: [ExtentRow]

        package init(_ disk: DiskRow, extents: [ExtentRow] = []) {
            self.disk = disk
            self.extents = extents
        }
    }

    package func insert(_ vm: VMRow, disks: [NewDisk] = []) throws(Failure) {
        try insert([(vm: vm, disks: disks)])
    }

    /// Makes several VMs with their disks, all of them or none.
    ///
    /// - Parameter token: of an import, which can be made once; `.exists` if it was.
    package func insert(
        _ machines: [(vm: VMRow, disks: [NewDisk])],
        imported token: String? = nil,
        mapPages: [(overlay: Int64, pages: [MapPageRow])] = [],
        durably: Bool = false
    ) throws(Failure) {
        try file.write(durably: durably) { db in
            if let token {
                try db.execute(
                    sql:
                        "INSERT OR IGNORE INTO importedMachine (token, imported) VALUES (?, unixepoch())",
                    arguments: [token]
                )
                guard db.changesCount > 0 else {
                    throw Failure(
                        .exists,
                        "this export was imported here before",
                        hint: "--clone makes one more copy of it"
                    )
                }
            }
            for (vm, disks) in machines {
                try Self.insert(vm, in: db)
                for disk in disks {
                    try Self.insert(disk, directory: vm.overlayDirectory, in: db)
                }
            }
            for (overlay, pages) in mapPages { try Self.replace(pages, of: overlay, in: db) }
        }
    }

    private static func insert(_ vm: VMRow, in db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO vm (id, name, mode, userId, groupId, created, modified, template,
                    templateVersion, overlayDirectory, movedAs)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                vm.id, vm.name, vm.attributes.mode, vm.attributes.userId, vm.attributes.groupId,
                vm.created, vm.attributes.modified, vm.template?.uri, vm.templateVersion,
                vm.overlayDirectory, vm.movedAs,
            ]
        )
    }

    package func update(_ vm: VMRow, durably: Bool = false) throws(Failure) {
        try file.write(durably: durably) { db in
            try db.execute(
                sql: """
                    UPDATE vm SET name = ?, mode = ?, userId = ?, groupId = ?, modified = ?,
                        template = ?, templateVersion = ?, overlayDirectory = ?, movedAs = ?
                    WHERE id = ?
                    """,
                arguments: [
                    vm.name, vm.attributes.mode, vm.attributes.userId, vm.attributes.groupId,
                    vm.attributes.modified, vm.template?.uri, vm.templateVersion,
                    vm.overlayDirectory, vm.movedAs, vm.id,
                ]
            )
        }
    }

    package func deleteVM(_ id: Int64) throws(Failure) {
        try file.write(durably: false) { db in
            try db.execute(sql: "DELETE FROM vm WHERE id = ?", arguments: [id])
        }
    }

    static func attributes(_ row: Row) -> OwnedAttributes {
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

    /// - Parameter directory: where its overlay is; nil for the state directory.
    package func insert(_ disk: NewDisk, directory: String? = nil) throws(Failure) {
        try file.write(durably: false) { db in
            try Self.insert(disk, directory: directory, in: db)
        }
    }

    /// Changes everything a disk row says, and with `extents` or `mapPages` also those of its overlay,
    /// at once.
    ///
    /// A map page without states is removed.
    package func update(
        _ disk: DiskRow,
        extents: [ExtentRow]? = nil,
        mapPages: [MapPageRow] = [],
        durably: Bool = false
    ) throws(Failure) {
        try file.write(durably: durably) { db in
            // Deleted while it is open: what is in memory is all it has from now on.
            guard try Self.update(disk, in: db) else { return }
            if let extents { try Self.replaceExtents(of: disk.overlay, with: extents, in: db) }
            try Self.replace(mapPages, of: disk.overlay, in: db)
        }
    }

    /// - Returns: false if there is no such disk any more.
    @discardableResult
    static func update(_ disk: DiskRow, in db: Database) throws -> Bool {
        try db.execute(
            sql: """
                UPDATE disk SET vm = ?, name = ?, size = ?, mode = ?, userId = ?, groupId = ?,
                    modified = ?, overlay = ?, failure = ?
                WHERE id = ?
                """,
            arguments: [
                disk.vm, disk.name, disk.size, disk.attributes.mode, disk.attributes.userId,
                disk.attributes.groupId, disk.attributes.modified, disk.overlay, disk.failure,
                disk.id,
            ]
        )
        return db.changesCount > 0
    }

    /// Takes a disk out of service, or puts it back with nil; on disk when this returns.
    package func setFailure(_ failure: String?, ofDisk id: Int64) throws(Failure) {
        try file.write(durably: true) { db in
            try db.execute(
                sql: "UPDATE disk SET failure = ? WHERE id = ?",
                arguments: [failure, id]
            )
        }
    }

    /// Deletes a disk durably, and its overlay unless another one refers to it.
    ///
    /// - Returns: whether the overlay went too; else the reclaimer looks after it.
    package func deleteDisk(_ disk: DiskRow) throws(Failure) -> Bool {
        try file.write(durably: true) { db in
            try db.execute(sql: "DELETE FROM disk WHERE id = ?", arguments: [disk.id])
            let isReferred = try Bool.fetchOne(
                db,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM extent WHERE below = :id)
                        OR EXISTS (SELECT 1 FROM snapshotDisk WHERE overlay = :id)
                    """,
                arguments: ["id": disk.overlay]
            )
            guard isReferred == false else { return false }
            try Self.deleteOverlay(disk.overlay, in: db)
            return true
        }
    }

    static func insert(_ new: NewDisk, directory: String?, in db: Database) throws {
        let disk = new.disk
        try insert(
            OverlayRow(id: disk.overlay, size: disk.size, directory: directory),
            extents: new.extents,
            in: db
        )
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
}
