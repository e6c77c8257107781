import CCNx
import Disks
import Failures
import Files
import Profiles
import Store
import Synchronization
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
    private var contents: SharedContents

    /// - Parameter overlays: elsewhere than in the test's own folder.
    init(overlays: String? = nil) throws(Failure) {
        do {
            folder = try TemporaryFolder()
        } catch {
            throw Failure(.io, "\(error)")
        }
        self.overlays = overlays ?? "\(folder.path)/overlays"
        store = try Self.store(in: folder.path, source)
        contents = SharedContents(store)
        database = try StateDatabase(path: "\(folder.path)/state.sqlite")
        opened = try open()
    }

    /// The readers of contents, one for those who read the same.
    private final class SharedContents: Sendable {
        private let store: LayeredStore
        private let open = Mutex<[ContentDescriptor: SegmentedContent]>([:])

        init(_ store: LayeredStore) { self.store = store }

        func content(_ descriptor: ContentDescriptor) -> SegmentedContent {
            open.withLock { open in
                if let content = open[descriptor] { return content }
                let content = SegmentedContent(descriptor, prefix: prefix, store: store)
                open[descriptor] = content
                return content
            }
        }
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
        // A process that is dead does nothing any more.
        opened?.finishBackgroundWork()
        opened = nil
        store = try Self.store(in: folder.path, source)
        contents = SharedContents(store)
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
        ) { [contents] descriptor, _ in contents.content(descriptor) }
    }

    func content(_ descriptor: ContentDescriptor) -> SegmentedContent {
        contents.content(descriptor)
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
                    source: CloneSource(content(descriptor))
                )
            ]
        )
        return try disk()
    }

    /// A new VM `vm` with one empty disk `disk0`.
    func blank() throws(Failure) -> Disk {
        try machines.make(named: "vm", attributes: Self.attributes)
        return try machines.makeDisk(named: "disk0", in: "vm", attributes: Self.attributes)
    }

    func disk(_ name: String = "disk0", of machine: String = "vm") throws(Failure) -> Disk {
        guard let disk = machines.disk(name, of: machine) else {
            throw Failure(.notFound, "the scene has no disk \(name) of \(machine)")
        }
        return disk
    }
}

extension VirtualMachines {
    @discardableResult
    func make(
        named name: String,
        attributes: OwnedAttributes,
        template: Name? = nil,
        templateVersion: Int? = nil,
        disks: [NewDisk] = []
    ) throws(Failure) -> VirtualMachine {
        try make(
            NewMachine(
                name: name,
                attributes: attributes,
                template: template,
                templateVersion: templateVersion,
                disks: disks
            )
        )
    }
}

extension Disk {
    /// Maps as the tree does, to content.
    func map(_ extent: Extent) throws(Failure) {
        guard let content = extent.content else { preconditionFailure("content only") }
        try map(extent.range, to: CloneSource(content), from: extent.sourceStart)
    }

    /// Resizes as the tree does: again with fills after `.missing`.
    func resizeWaiting(to size: Int) async throws(Failure) {
        if case .complete = try resize(to: size) { return }
        let fills = try await fills(forWriteAt: size, byteCount: 1)
        guard case .complete = try resize(to: size, fills: fills) else {
            throw Failure(.timedOut, "the cut found something missing again")
        }
    }

    /// Makes zeros as the tree does.
    func zeroWaiting(_ range: Range<Int>) async throws(Failure) {
        var fills: BlockFills?
        for _ in 0..<4 {
            if case .complete = try zero(range, fills: fills) { return }
            fills = try await self.fills(forWriteAt: range.lowerBound, byteCount: range.count)
        }
        throw Failure(.timedOut, "the hole found something missing again and again")
    }

    /// Writes as the tree does: again with fills after `.missing`.
    func writeWaiting(_ bytes: [UInt8], at offset: Int) async throws(Failure) {
        var fills: BlockFills?
        for _ in 0..<4 {
            if case .complete = try write(bytes.span, at: offset, fills: fills) { return }
            fills = try await self.fills(forWriteAt: offset, byteCount: bytes.count)
        }
        throw Failure(.timedOut, "the write found something missing again and again")
    }
}

/// Fast enough for millions of bytes without optimisation.
func same(_ left: [UInt8], _ right: some Collection<UInt8>) -> Bool {
    left.count == right.count && ObjectId(of: left) == ObjectId(of: Array(right))
}
