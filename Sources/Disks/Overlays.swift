internal import CCNx
internal import Failures
internal import Files
internal import Profiles
internal import Store
internal import Synchronization

/// The overlays of a node by id: where their files are, and what a disk over them shows.
///
/// Concurrency: any thread; `open` is held for look-ups only. `arranging` is held by one who lays out what
/// a stack shows, and by one who changes how it is stored.
final class Overlays: Sendable {
    let database: StateDatabase
    /// Where overlays are whose VM names no place of its own.
    let directory: String
    let bootId: String
    let content: @Sendable (ContentDescriptor, Name) -> SegmentedContent
    let arranging = Mutex<Void>(())
    /// Held from looking whether a frozen overlay is settled to a commit of its map pages: a flush that
    /// took them before it was settled must not commit them after the reclaimer has changed them.
    let settling = Mutex<Void>(())
    private let settledObserver = Mutex<(@Sendable () -> Void)?>(nil)
    private let open = Mutex<[Int64: WeakOverlay]>([:])
    private let files = Mutex<[Int64: WeakFile]>([:])

    private struct WeakOverlay: Sendable { weak let overlay: Overlay? }
    private struct WeakFile: Sendable { weak let file: File? }

    init(
        database: StateDatabase,
        directory: String,
        bootId: String,
        content: @escaping @Sendable (ContentDescriptor, Name) -> SegmentedContent
    ) {
        self.database = database
        self.directory = directory
        self.bootId = bootId
        self.content = content
    }

    /// Calls `observer` after frozen overlays became durable.
    func onSettled(_ observer: @escaping @Sendable () -> Void) {
        settledObserver.withLock { $0 = observer }
    }

    func tellSettled() { settledObserver.withLock(\.self)?() }

    func folder(of overlay: OverlayRow) -> String {
        Overlay.folder(of: overlay.id, in: overlay.directory ?? directory)
    }

    /// Opens an overlay with its live map, made when absent.
    func openLive(_ row: OverlayRow, pages: [MapPageRow], diskSize: Int) throws(Failure) -> Overlay
    {
        if let place = row.directory, !FileTree.exists(place) {
            throw Failure(
                .unavailable,
                "\(place), where written blocks of the VM are kept, is not there",
                hint: "mount it, then restart the node"
            )
        }
        let overlay = try Overlay(
            id: row.id,
            folder: folder(of: row),
            durablePages: pages,
            bootId: bootId,
            diskSize: diskSize
        )
        open.withLock { open in
            open = open.filter { $0.value.overlay != nil }
            open[row.id] = WeakOverlay(overlay: overlay)
        }
        return overlay
    }

    /// The open overlay of this id, live or frozen lately.
    func openOverlay(_ id: Int64) -> Overlay? { open.withLock { $0[id]?.overlay } }

    /// The file of a frozen overlay; those who read the same share one.
    func frozenFile(_ row: OverlayRow) throws(Failure) -> File {
        if let overlay = openOverlay(row.id) { return overlay.source.data }
        if let file = files.withLock({ $0[row.id]?.file }) { return file }
        // Read-write: the reclaimer frees and moves blocks.
        let file = try File(Overlay.dataPath(folder(of: row)), .readWrite)
        files.withLock { files in
            files = files.filter { $0.value.file != nil }
            files[row.id] = WeakFile(file: file)
        }
        return file
    }

    func extents(_ rows: [ExtentRow]) -> [Extent] {
        rows.map { row in
            let source: ExtentSource =
                switch row.source {
                case .overlay(let id): .overlay(id)
                case .content(let of):
                    .content(
                        content(
                            ContentDescriptor(
                                root: of.root,
                                size: of.size,
                                segmentSize: of.segmentSize,
                                levels: of.levels
                            ),
                            of.prefix
                        )
                    )
                }
            return Extent(
                start: row.start,
                byteCount: row.byteCount,
                source: source,
                sourceStart: row.sourceStart
            )
        }
    }
}

/// Lays out flat what a stack of frozen overlays shows.
///
/// A value with the tables it read: for one disk, or for all at the start of a node.
struct OverlayLayout {
    private let overlays: Overlays
    private let rows: [Int64: OverlayRow]
    private let extents: [Int64: [ExtentRow]]
    /// How often an overlay is below another: what only one needs is given to it without a copy.
    private var uses: [Int64: Int] = [:]
    private var shown: [Int64: Shown] = [:]

    /// What an overlay with everything below it shows.
    struct Shown {
        var frozen = FrozenMap()
        var profile = Profile()
        /// Overlays among it whose pages may not be durable.
        var unsettled: [Overlay] = []

        var backing: Backing { Backing(frozen: frozen, profile: profile) }
    }

    init(_ overlays: Overlays) throws(Failure) {
        self.overlays = overlays
        rows = Dictionary(
            uniqueKeysWithValues: try overlays.database.overlays().map { ($0.id, $0) }
        )
        extents = try overlays.database.extents()
        for extent in extents.values.joined() {
            if case .overlay(let id) = extent.source { uses[id, default: 0] += 1 }
        }
    }

    func row(of overlay: Int64) throws(Failure) -> OverlayRow {
        guard let row = rows[overlay] else {
            throw Failure(.corrupt, "the state refers to overlay \(overlay), which is not in it")
        }
        return row
    }

    func extents(of overlay: Int64) -> [ExtentRow] { extents[overlay] ?? [] }

    /// What lies below an overlay.
    mutating func below(_ overlay: Int64) throws(Failure) -> Shown {
        for extent in extents(of: overlay) {
            if case .overlay(let id) = extent.source { try layOut(id) }
        }
        return try compose(extents(of: overlay))
    }

    /// What a frozen overlay shows with everything below it.
    mutating func view(of overlay: Int64) throws(Failure) -> Shown {
        uses[overlay, default: 0] += 1
        try layOut(overlay)
        return take(overlay)
    }

    /// Fills `shown` for an overlay and all below it, the lowest first.
    private mutating func layOut(_ overlay: Int64) throws(Failure) {
        var stack = [overlay]
        while let top = stack.last {
            if shown[top] != nil {
                stack.removeLast()
                continue
            }
            guard stack.count <= rows.count else {
                throw Failure(.corrupt, "overlay \(overlay) lies below itself")
            }
            let missing = extents(of: top).compactMap { extent -> Int64? in
                guard case .overlay(let id) = extent.source, shown[id] == nil else { return nil }
                return id
            }
            if !missing.isEmpty {
                stack.append(missing[0])
                continue
            }
            var own = try compose(extents(of: top))
            try lay(top, over: &own)
            shown[top] = own
            stack.removeLast()
        }
    }

    private mutating func lay(_ overlay: Int64, over below: inout Shown) throws(Failure) {
        let row = try row(of: overlay)
        let source: FrozenMap.Source
        let pages: [Int: [UInt8]]
        if let open = try unsettledOverlay(row) {
            below.unsettled.append(open)
            source = open.source
            pages = open.map.pages
        } else {
            source = FrozenMap.Source(
                overlay: overlay,
                data: try overlays.frozenFile(row),
                shift: 0
            )
            pages = BlockMap(pages: try overlays.database.mapPages(of: overlay)).pages
        }
        try below.frozen.lay(pages, of: source)
    }

    /// An overlay that is frozen in this run, or was when the process before died: what is in the
    /// database may not be all of it.
    private func unsettledOverlay(_ row: OverlayRow) throws(Failure) -> Overlay? {
        // Of a settled one the database has all, and what the reclaimer has done to it since.
        if let open = overlays.openOverlay(row.id) { return open.isSettled ? nil : open }
        let folder = overlays.folder(of: row)
        guard try Overlay.hasLiveMap(folder, bootId: overlays.bootId, id: row.id) else {
            return nil
        }
        return try overlays.openLive(
            row,
            pages: try overlays.database.mapPages(of: row.id),
            diskSize: row.size
        )
    }

    private mutating func compose(_ rows: [ExtentRow]) throws(Failure) -> Shown {
        // Nearly always: all of the disk to one thing below.
        if rows.count == 1, case .overlay(let id) = rows[0].source, rows[0].start == 0,
            rows[0].sourceStart == 0
        {
            var below = take(id)
            let end = rows[0].byteCount
            let blocks = (end + BlockMap.blockSize - 1) / BlockMap.blockSize
            below.frozen.remove(blocks..<Int.max)
            below.profile.clip(to: end)
            return below
        }
        var composed = Shown()
        var backing = Backing()
        for extent in overlays.extents(rows) {
            switch extent.source {
            case .content:
                var profile = backing.profile
                profile.map(extent)
                backing = Backing(frozen: backing.frozen, profile: profile)
            case .overlay(let id):
                let below = take(id)
                backing = try backing.mapping(
                    extent.range,
                    to: below.backing,
                    from: extent.sourceStart
                )
                composed.unsettled += below.unsettled
            }
        }
        composed.frozen = backing.frozen
        composed.profile = backing.profile
        return composed
    }

    /// What is laid out of an overlay; kept only as long as another needs it.
    private mutating func take(_ overlay: Int64) -> Shown {
        uses[overlay, default: 1] -= 1
        if uses[overlay] ?? 0 > 0 { return shown[overlay] ?? Shown() }
        return shown.removeValue(forKey: overlay) ?? Shown()
    }
}
