import CCNx
import Disks
import Failures
import Files
import Profiles
import Store
import TestSupport

/// A node's VMs over templates that a fake source has, in a folder of their own.
final class DiskScene {
    static let prefix = Name(segments: [.name("mycorp.com"), .name("app1")])
    static let attributes = OwnedAttributes(
        mode: 0o600,
        userId: 0,
        groupId: 0,
        modified: 1_700_000_000_000_000_000
    )

    let folder: TemporaryFolder
    let source = FakeSource()
    let overlays: String
    private(set) var bootId = "boot-1"
    private(set) var store: LayeredStore
    private(set) var database: StateDatabase
    private var opened: VirtualMachines?
    private var contents: [ContentDescriptor: SegmentedContent] = [:]

    /// - Parameter overlays: elsewhere than in the test's own folder.
    init(overlays: String? = nil) throws(Failure) {
        do {
            folder = try TemporaryFolder()
        } catch {
            throw Failure(.io, "\(error)")
        }
        self.overlays = overlays ?? "\(folder.path)/overlays"
        store = try Self.store(in: folder.path, source)
        database = try StateDatabase(path: "\(folder.path)/state.sqlite")
        opened = try open()
    }

    private static func store(
        in path: String,
        _ source: FakeSource
    ) throws(Failure) -> LayeredStore {
        LayeredStore(
            published: try ContentStore(directory: "\(path)/published"),
            cache: try ContentStore(directory: "\(path)/cache"),
            source: source,
            logger: quiet
        )
    }

    var machines: VirtualMachines {
        guard let opened else { preconditionFailure("the scene is open") }
        return opened
    }

    /// Drops everything in memory, as the death of the process does, and opens it again.
    func reopen(bootId: String? = nil) throws(Failure) {
        if let bootId { self.bootId = bootId }
        opened = nil
        contents = [:]
        store = try Self.store(in: folder.path, source)
        database = try StateDatabase(path: "\(folder.path)/state.sqlite")
        opened = try open()
    }

    private func open() throws(Failure) -> VirtualMachines {
        try VirtualMachines(
            database: database,
            overlaysDirectory: overlays,
            bootId: bootId,
            reserve: SpaceReserve(directory: folder.path),
            logger: quiet
        ) { descriptor, _ in content(descriptor) }
    }

    func content(_ descriptor: ContentDescriptor) -> SegmentedContent {
        if let content = contents[descriptor] { return content }
        let content = SegmentedContent(descriptor, prefix: Self.prefix, store: store)
        contents[descriptor] = content
        return content
    }

    // MARK: Templates

    /// A template's disk of these bytes, known to the source alone.
    func template(_ bytes: [UInt8], segmentSize: Int = 4096) throws(Failure) -> ContentDescriptor {
        var builder = ManifestBuilder()
        let zeros = ObjectId(of: [UInt8](repeating: 0, count: segmentSize))
        for start in stride(from: 0, to: bytes.count, by: segmentSize) {
            let segment = Array(bytes[start..<min(start + segmentSize, bytes.count)])
            let id = ObjectId(of: segment)
            if id == zeros { continue }
            source.add(segment)
            try builder.append(id, at: start / segmentSize) { source.add($1) }
        }
        return try builder.finish(size: bytes.count, segmentSize: segmentSize) { source.add($1) }
    }

    /// A new VM `vm` with one disk `disk0` that is all of a template.
    func deploy(_ descriptor: ContentDescriptor) throws(Failure) -> Disk {
        let extent = Extent(
            start: 0,
            byteCount: descriptor.size,
            content: content(descriptor),
            sourceStart: 0
        )
        try machines.make(
            named: "vm",
            attributes: Self.attributes,
            template: Self.prefix,
            templateVersion: 1,
            disks: [
                .init(
                    name: "disk0",
                    size: descriptor.size,
                    attributes: Self.attributes,
                    profile: Profile(extents: [extent])
                )
            ]
        )
        return try disk()
    }

    func disk(_ name: String = "disk0", of machine: String = "vm") throws(Failure) -> Disk {
        guard let disk = machines.disk(name, of: machine) else {
            throw Failure(.notFound, "the scene has no disk \(name) of \(machine)")
        }
        return disk
    }
}

extension Disk {
    /// Writes as the tree does: again with fills after `.missing`.
    func writeWaiting(_ bytes: [UInt8], at offset: Int) async throws(Failure) {
        var fills: BlockFills?
        for _ in 0..<4 {
            if case .complete = try write(bytes.span, at: offset, fills: fills) { return }
            fills = try await self.fills(forWriteAt: offset, byteCount: bytes.count)
        }
        throw Failure(.timedOut, "the write found something missing again and again")
    }

    func residentBytes(at offset: Int, byteCount: Int) throws(Failure) -> [UInt8]? {
        var result = Result<Residency, Failure>.success(.missing)
        let bytes = [UInt8](capacity: byteCount) { output in
            do throws(Failure) {
                result = .success(
                    try readResident(at: offset, byteCount: byteCount, into: &output)
                )
            } catch {
                result = .failure(error)
            }
        }
        guard case .complete = try result.get() else {
            precondition(bytes.isEmpty, "what is missing is not read in part")
            return nil
        }
        return bytes
    }
}

/// Fast enough for millions of bytes without optimisation.
func same(_ left: [UInt8], _ right: some Collection<UInt8>) -> Bool {
    left.count == right.count && ObjectId(of: left) == ObjectId(of: Array(right))
}
