internal import CCNx
internal import Control
internal import Disks
internal import Failures
internal import Images
internal import Profiles
internal import Publishing
internal import Store
internal import Templates

extension TemplateSummary {
    init(_ template: Template, kept: KeptItems) {
        self.init(
            name: template.name.uri,
            newestVersion: template.newest?.number,
            versions: template.versions.map { version in
                VersionSummary(version, kept: kept.names(of: template.name, version.number))
            },
            tags: template.tags
        )
    }
}

extension VersionSummary {
    init(_ version: TemplateVersion, kept: [String]) {
        let disks = version.record?.disks ?? []
        self.init(
            version: version.number,
            problem: version.problem.map { "\($0.cause ?? $0)" },
            publisher: version.record?.publisher.digest.hex,
            time: version.record?.time,
            diskCount: disks.count,
            size: disks.reduce(0) { $0 + $1.content.size },
            dataBytes: disks.reduce(0) { $0 + $1.dataByteCount },
            kept: kept
        )
    }
}

extension MachineSummary {
    init(_ machine: VirtualMachine) {
        self.init(
            name: machine.name,
            template: machine.template?.uri,
            templateVersion: machine.templateVersion,
            disks: machine.disks.sorted { $0.key < $1.key }.map { name, disk in
                Disk(
                    name: name,
                    size: disk.size,
                    writtenBytes: disk.writtenByteCount,
                    problem: disk.row.failure
                )
            }
                + machine.missingDisks.sorted { $0.key < $1.key }.map { name, problem in
                    Disk(name: name, size: 0, writtenBytes: 0, problem: problem)
                },
            snapshots: machine.snapshots.map(\.name),
            movedAs: machine.movedAs,
            overlayDirectory: machine.overlayDirectory
        )
    }
}

extension PublishRequest {
    init(_ publication: ControlRequest.Publication) throws(Failure) {
        self.init(
            template: try Name(uri: publication.template),
            disks: try publication.disks.map { (disk) throws(Failure) in
                DiskSource(
                    name: disk.name,
                    path: disk.path,
                    format: try disk.format.map(ImageFormat.named)
                )
            },
            properties: publication.properties,
            files: publication.files.map { FileSource(name: $0.name, bytes: Array($0.bytes)) },
            segmentSize: publication.segmentSize,
            isDryRun: publication.isDryRun
        )
    }
}

extension ImageFormat {
    static func named(_ name: String) throws(Failure) -> ImageFormat {
        guard let format = ImageFormat(rawValue: name) else {
            let known = allCases.map(\.rawValue).joined(separator: ", ")
            throw Failure(.usage, "there is no image format \(name); these are: \(known)")
        }
        return format
    }
}

extension SnapshotSummary {
    init(_ snapshot: Snapshot, of machine: VirtualMachine) throws(Failure) {
        self.init(
            machine: machine.name,
            name: snapshot.name,
            created: snapshot.created,
            disks: try snapshot.disks.sorted { $0.key < $1.key }.map {
                (name, disk) throws(Failure) in
                Disk(name: name, size: disk.size, writtenBytes: try disk.writtenByteCount())
            }
        )
    }
}
