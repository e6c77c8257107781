package import Publishing
package import Store

/// What a node answers. The payloads are also what `--json` prints.
package enum ControlResponse: Sendable, Codable {
    case done
    case templates([TemplateSummary])
    case template(TemplateDetail)
    case machines([MachineSummary])
    case trust([TrustSummary])
    case published(PublishReport)
    case mirrored(MirrorBegun)
    case snapshots([SnapshotSummary])
    case rolledBack(disks: [String])
    case difference(Difference)
    case machineExported(MachineExported)
    case backedUp(Backup)
    case deleted(Deletion)
    case fetched(FetchReport)
    case unkept([KeptContent])
    case exported(Export)
    case status(NodeStatus)
    case fileStatus(FileReport)
    case fileMap(FileMap)
    case verified(Verification)
    case freed(Reclaimer.Report)
    case neighbours(NeighbourResponse)
    case nodes(NodeList)
}

package struct TemplateSummary: Sendable, Codable {
    package var name: String
    package var newestVersion: Int?
    package var versions: [VersionSummary]
    package var tags: [String: Int]

    package init(
        name: String,
        newestVersion: Int?,
        versions: [VersionSummary],
        tags: [String: Int]
    ) {
        self.name = name
        self.newestVersion = newestVersion
        self.versions = versions
        self.tags = tags
    }
}

package struct VersionSummary: Sendable, Codable {
    package var version: Int
    package var isTrusted: Bool
    /// Why it is not served; nil when it is.
    package var problem: String?
    package var publisher: String?
    /// Seconds since 1970.
    package var time: Int?
    package var diskCount: Int
    /// Bytes a guest sees, all disks.
    package var size: Int
    package var dataBytes: Int
    /// Names of its disks and files that `ccnfs fetch --keep` keeps there.
    package var kept: [String]

    package init(
        version: Int,
        problem: String?,
        publisher: String?,
        time: Int?,
        diskCount: Int,
        size: Int,
        dataBytes: Int,
        kept: [String]
    ) {
        self.version = version
        isTrusted = problem == nil
        self.problem = problem
        self.publisher = publisher
        self.time = time
        self.diskCount = diskCount
        self.size = size
        self.dataBytes = dataBytes
        self.kept = kept
    }
}

package struct TemplateDetail: Sendable, Codable {
    package var name: String
    package var version: VersionSummary
    package var parentVersion: Int?
    /// The VM it was made from; nil for one made from images.
    package var origin: Origin?
    package var properties: [String: String]
    package var disks: [Item]
    package var files: [Item]
    package var tags: [String]

    package struct Origin: Sendable, Codable {
        package var machine: String
        package var snapshot: String?
        package var template: String?
        package var version: Int?

        package init(machine: String, snapshot: String?, template: String?, version: Int?) {
            self.machine = machine
            self.snapshot = snapshot
            self.template = template
            self.version = version
        }
    }

    package struct Item: Sendable, Codable {
        package var name: String
        package var size: Int
        package var dataBytes: Int
        /// Nil while the version is not served.
        package var localBytes: Int?
        package var root: String
        package var segmentSize: Int

        package init(
            name: String,
            size: Int,
            dataBytes: Int,
            localBytes: Int?,
            root: String,
            segmentSize: Int
        ) {
            self.name = name
            self.size = size
            self.dataBytes = dataBytes
            self.localBytes = localBytes
            self.root = root
            self.segmentSize = segmentSize
        }
    }

    package init(
        name: String,
        version: VersionSummary,
        parentVersion: Int?,
        origin: Origin?,
        properties: [String: String],
        disks: [Item],
        files: [Item],
        tags: [String]
    ) {
        self.name = name
        self.version = version
        self.parentVersion = parentVersion
        self.origin = origin
        self.properties = properties
        self.disks = disks
        self.files = files
        self.tags = tags
    }
}

package struct MachineSummary: Sendable, Codable {
    package var name: String
    package var template: String?
    package var templateVersion: Int?
    package var disks: [Disk]
    package var snapshots: [String]
    /// The export it left with; read-only since.
    package var movedAs: String?
    /// Where its written blocks are kept; nil for the state directory.
    package var overlayDirectory: String?

    package struct Disk: Sendable, Codable {
        package var name: String
        package var size: Int
        /// Since the last snapshot.
        package var writtenBytes: Int
        /// Why it is out of service; nil when it is not.
        package var problem: String?

        package init(name: String, size: Int, writtenBytes: Int, problem: String?) {
            self.name = name
            self.size = size
            self.writtenBytes = writtenBytes
            self.problem = problem
        }
    }

    package init(
        name: String,
        template: String?,
        templateVersion: Int?,
        disks: [Disk],
        snapshots: [String],
        movedAs: String?,
        overlayDirectory: String?
    ) {
        self.name = name
        self.template = template
        self.templateVersion = templateVersion
        self.disks = disks
        self.snapshots = snapshots
        self.movedAs = movedAs
        self.overlayDirectory = overlayDirectory
    }
}

package struct SnapshotSummary: Sendable, Codable {
    package var machine: String
    package var name: String
    /// Seconds since 1970.
    package var created: Int
    package var disks: [Disk]

    package struct Disk: Sendable, Codable {
        package var name: String
        package var size: Int
        /// Bytes of blocks that were written since the snapshot before.
        package var writtenBytes: Int

        package init(name: String, size: Int, writtenBytes: Int) {
            self.name = name
            self.size = size
            self.writtenBytes = writtenBytes
        }
    }

    package init(machine: String, name: String, created: Int, disks: [Disk]) {
        self.machine = machine
        self.name = name
        self.created = created
        self.disks = disks
    }
}

/// Where two sets of disks differ. Ranges are where bytes may differ: whole blocks that were written,
/// whole segments whose ids differ.
package struct Difference: Sendable, Codable {
    package var from: String
    package var to: String
    package var disks: [Disk]

    package struct Disk: Sendable, Codable {
        package var name: String
        /// Bytes; nil where one side has no such disk.
        package var fromSize: Int?
        package var toSize: Int?
        package var changedBytes: Int
        package var ranges: [Range]

        package init(
            name: String,
            fromSize: Int?,
            toSize: Int?,
            changedBytes: Int,
            ranges: [Range]
        ) {
            self.name = name
            self.fromSize = fromSize
            self.toSize = toSize
            self.changedBytes = changedBytes
            self.ranges = ranges
        }
    }

    package struct Range: Sendable, Codable {
        package var start: Int
        package var byteCount: Int

        package init(start: Int, byteCount: Int) {
            self.start = start
            self.byteCount = byteCount
        }
    }

    package init(from: String, to: String, disks: [Disk]) {
        self.from = from
        self.to = to
        self.disks = disks
    }
}

package struct MachineExported: Sendable, Codable {
    package var machine: String
    package var path: String
    /// Names this export; it can be imported once on a node.
    package var token: String
    /// Bytes of the file.
    package var fileBytes: Int
    package var writtenBytes: Int
    /// The VM is read-only here now.
    package var isMoved: Bool

    package init(
        machine: String,
        path: String,
        token: String,
        fileBytes: Int,
        writtenBytes: Int,
        isMoved: Bool
    ) {
        self.machine = machine
        self.path = path
        self.token = token
        self.fileBytes = fileBytes
        self.writtenBytes = writtenBytes
        self.isMoved = isMoved
    }
}

package struct Backup: Sendable, Codable {
    package var directory: String
    package var machines: Int
    /// Bytes that the copies take on disk.
    package var copiedBytes: Int

    package init(directory: String, machines: Int, copiedBytes: Int) {
        self.directory = directory
        self.machines = machines
        self.copiedBytes = copiedBytes
    }
}

package struct TrustSummary: Sendable, Codable {
    package var prefix: String
    package var keyId: String
    package var algorithm: String
    package var rights: [String]
    /// By the settings file; false for what commands added alone.
    package var isConfigured: Bool

    package init(
        prefix: String,
        keyId: String,
        algorithm: String,
        rights: [String],
        isConfigured: Bool
    ) {
        self.prefix = prefix
        self.keyId = keyId
        self.algorithm = algorithm
        self.rights = rights
        self.isConfigured = isConfigured
    }
}

/// A mirror that is in step.
package struct MirrorBegun: Sendable, Codable {
    package var namespace: String
    package var source: String
    package var serial: Int
    /// Versions kept here.
    package var versions: Int
    /// What came for it this time: segments, nodes, records, catalogs.
    package var pulledObjects: Int
    package var pulledBytes: Int

    package init(
        namespace: String,
        source: String,
        serial: Int,
        versions: Int,
        pulledObjects: Int,
        pulledBytes: Int
    ) {
        self.namespace = namespace
        self.source = source
        self.serial = serial
        self.versions = versions
        self.pulledObjects = pulledObjects
        self.pulledBytes = pulledBytes
    }
}

package struct FetchReport: Sendable, Codable {
    package var template: String
    package var version: Int
    package var items: [Item]
    package var seconds: Double

    package struct Item: Sendable, Codable {
        package var name: String
        /// Bytes of data, all of them here now.
        package var dataBytes: Int
        /// Those that came.
        package var fetchedBytes: Int

        package init(name: String, dataBytes: Int, fetchedBytes: Int) {
            self.name = name
            self.dataBytes = dataBytes
            self.fetchedBytes = fetchedBytes
        }
    }

    package init(template: String, version: Int, items: [Item], seconds: Double) {
        self.template = template
        self.version = version
        self.items = items
        self.seconds = seconds
    }
}

package struct Deletion: Sendable, Codable {
    package var template: String
    package var versions: [Int]
    package var freed: Reclaimer.Report
    /// VMs whose profiles keep parts of it.
    package var keptFor: [String]

    package init(
        template: String,
        versions: [Int],
        freed: Reclaimer.Report,
        keptFor: [String]
    ) {
        self.template = template
        self.versions = versions
        self.freed = freed
        self.keptFor = keptFor
    }
}

package struct Export: Sendable, Codable {
    package var template: String
    package var version: Int
    package var disk: String
    package var path: String
    package var size: Int
    package var dataBytes: Int

    package init(
        template: String,
        version: Int,
        disk: String,
        path: String,
        size: Int,
        dataBytes: Int
    ) {
        self.template = template
        self.version = version
        self.disk = disk
        self.path = path
        self.size = size
        self.dataBytes = dataBytes
    }
}

package struct Verification: Sendable, Codable {
    package var published: ContentStore.Findings
    package var cache: ContentStore.Findings
    package var stateProblems: [String]

    package init(
        published: ContentStore.Findings,
        cache: ContentStore.Findings,
        stateProblems: [String]
    ) {
        self.published = published
        self.cache = cache
        self.stateProblems = stateProblems
    }

    package var isClean: Bool {
        stateProblems.isEmpty
            && [published, cache].allSatisfy { $0.damaged.isEmpty && $0.databaseProblems.isEmpty }
    }
}
