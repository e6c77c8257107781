package import Failures
internal import Files
package import Profiles
package import Store
internal import Synchronization

/// A VM's disk: a live overlay of written blocks over what its profile maps to.
///
/// ```
///   read at an offset -> block state in the live overlay's map
///        data   -> the overlay's file
///        zero   -> zeros
///        absent -> the backing: a frozen overlay's file, an extent's content, or zeros
/// ```
/// Two forms of what lies below the live overlay: `profile` as the state database has it, whose extents
/// are contents and frozen overlays, and `backing`, in which those overlays are laid out flat.
///
/// Invariants: the size in the state database is never less than what an answered write needs; profile
/// and backing end at the size; blocks behind the size are absent, and bytes behind it in its last
/// block are zeros.
///
/// Concurrency: any thread. `state` is copied out under its lock, which is held for a few lines;
/// reading and writing go on outside of it. Whatever changes bytes, size, profile or the whole row does
/// so inside of `gate`, so that one who closes it sees one moment; `shape` serialises changes of size
/// and profile. Reads happen inside of `readers`: what a view refers to is not freed under them.
/// Lock order: gate, shape, stripes of the overlay, state.
package final class Disk: ViewedDisk {
    package let id: Int64
    let database: StateDatabase
    private let state: Guarded<State>
    private let shape = Mutex<Void>(())
    let gate = WriteGate()
    let readers = ReaderGate()
    package let handles = OpenHandles()

    private struct State {
        var row: DiskRow
        var profile: Profile
        var overlay: Overlay
        var backing: Backing
        /// Frozen overlays below whose pages may not be durable yet.
        var unsettled: [Overlay]
        /// Counts changes of the backing: what was read from below before one is not used after it.
        var generation = 0
        /// Something in `row` is newer than the database: only the time of change can be.
        var isRowAhead = false
        /// The time of change that was last given to the database.
        var committedTime = 0
        /// The VM was moved to another node.
        var isReadOnly: Bool
        /// The disk was deleted, and its overlay with it: the files go with the last close.
        var isOverlayDeleted = false
    }

    init(
        row: DiskRow,
        profile: Profile,
        overlay: Overlay,
        backing: Backing,
        unsettled: [Overlay] = [],
        isReadOnly: Bool = false,
        database: StateDatabase
    ) {
        id = row.id
        self.database = database
        state = Guarded(
            State(
                row: row,
                profile: profile,
                overlay: overlay,
                backing: backing,
                unsettled: unsettled,
                isReadOnly: isReadOnly
            )
        )
    }

    /// What a caller needs at one moment.
    struct View {
        let size: Int
        let overlay: Overlay
        let backing: Backing
        let generation: Int
        let failure: String?
    }

    var view: View {
        state.withLock { state in
            View(
                size: state.row.size,
                overlay: state.overlay,
                backing: state.backing,
                generation: state.generation,
                failure: state.row.failure
            )
        }
    }

    package var row: DiskRow { state.withLock(\.row) }
    package var size: Int { state.withLock(\.row.size) }
    package var overlayId: Int64 { state.withLock(\.overlay.id) }
    var overlay: Overlay { state.withLock(\.overlay) }
    var backing: Backing { state.withLock(\.backing) }
    var profile: Profile { state.withLock(\.profile) }
    var unsettled: [Overlay] { state.withLock(\.unsettled) }

    /// The contents that its blocks may come from.
    package var contents: [SegmentedContent] {
        view.backing.profile.extents.compactMap(\.content)
    }

    /// Bytes in blocks that were written here, before or after a snapshot: all that is not content.
    package var writtenByteCount: Int {
        let view = view
        guard !view.backing.isContentOnly else {
            return view.overlay.map.dataBlockCount * BlockMap.blockSize
        }
        return DiskView(size: view.size, overlay: view.overlay, backing: view.backing)
            .writtenByteCount
    }

    package func withView<Value>(
        _ body: (DiskView) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let ticket = readers.enter()
        defer { readers.leave(ticket) }
        let view = view
        try checkIsWell(view)
        return try body(
            DiskView(size: view.size, overlay: view.overlay, backing: view.backing)
        )
    }

    func checkIsWell(_ view: View) throws(Failure) {
        guard let failure = view.failure else { return }
        throw Failure(
            .io,
            "disk \(row.name) is out of service: \(failure)",
            hint: "check it: ccnfs verify --disk FILE"
        )
    }

    // MARK: Moved away

    package var isReadOnly: Bool { state.withLock(\.isReadOnly) }

    /// - Throws: `.readOnly` for a disk of a VM that was moved.
    package func checkMayChange() throws(Failure) {
        guard isReadOnly else { return }
        throw Failure(
            .readOnly,
            "the VM of disk \(row.name) was exported and moved; here it is read-only",
            hint:
                "ccnfs import-vm FILE --name brings it back under another name; rm -r removes this one"
        )
    }

    var isOverlayDeleted: Bool {
        get { state.withLock(\.isOverlayDeleted) }
        set { state.withLock { $0.isOverlayDeleted = newValue } }
    }

    func setReadOnly(_ isReadOnly: Bool) { state.withLock { $0.isReadOnly = isReadOnly } }

    // MARK: Attributes

    /// Changes owner, mode or time; durable with the next flush.
    package func setAttributes(_ change: (inout OwnedAttributes) -> Void) throws(Failure) {
        gate.enter()
        defer { gate.leave() }
        try changeRow { (row) throws(Failure) in change(&row.attributes) }
    }

    func rename(to name: String, vm: Int64) throws(Failure) {
        gate.enter()
        defer { gate.leave() }
        try changeRow { (row) throws(Failure) in
            row.name = name
            row.vm = vm
        }
    }

    /// Notes the time of a change that begins now.
    ///
    /// - Returns: what a write needs; nil if the disk is out of service.
    @discardableResult
    func noteWriting() -> (size: Int, overlay: Overlay)? {
        let now = WallClock.nanoseconds
        return state.withLock { state in
            state.row.attributes.modified = now
            state.isRowAhead = true
            return state.row.failure == nil ? (state.row.size, state.overlay) : nil
        }
    }

    // MARK: The row

    /// Changes the row: in the database, then in memory. Inside of the gate.
    func changeRow(_ change: (inout DiskRow) throws(Failure) -> Void) throws(Failure) {
        try shape.withLock { (_) throws(Failure) in
            let before = self.row
            var row = before
            try change(&row)
            try database.update(row)
            adopt(row, nil, since: before.attributes.modified)
        }
    }

    /// - Parameter before: the time of change that `row` began from; a write may have set a later one.
    private func adopt(_ row: DiskRow, _ below: Below?, since before: Int) {
        state.withLock { state in
            let modified = state.row.attributes.modified
            let failure = state.row.failure
            state.row = row
            // Set and cleared on its own: a disk may fail while its row is changed.
            state.row.failure = failure
            if row.attributes.modified == before { state.row.attributes.modified = modified }
            if let below {
                state.profile = below.profile
                state.backing = below.backing
                state.generation += 1
                let new = below.unsettled.filter { new in
                    !new.isCommitted && !state.unsettled.contains { $0 === new }
                }
                state.unsettled += new
            }
        }
    }

    /// What lies below the live overlay, in both forms.
    struct Below {
        var profile: Profile
        var backing: Backing
        /// Frozen overlays among it whose pages may not be durable.
        var unsettled: [Overlay] = []
    }

    /// Changes size and what lies below under the lock that serialises such changes.
    ///
    /// - Parameter body: gets row and below as they are; a later call sees what it committed.
    func withShape<Value>(
        _ body: (DiskRow, Below) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        var value: Value?
        try shape.withLock { (_) throws(Failure) in
            let (row, below) = state.withLock {
                ($0.row, Below(profile: $0.profile, backing: $0.backing))
            }
            value = try body(row, below)
        }
        guard let value else { preconditionFailure("the body ran") }
        return value
    }

    /// Takes over a row and what lies below, which the database has. Under `withShape`.
    func adopt(_ row: DiskRow, _ below: Below) {
        adopt(row, below, since: row.attributes.modified)
    }

    // MARK: Freezing

    /// The frozen overlay has been committed as such: writes go into `fresh` from now on. The gate is
    /// closed.
    func adoptFreeze(_ freeze: StateDatabase.Freeze, fresh: Overlay, below: Below) {
        state.withLock { state in
            let frozen = state.overlay
            // The map of the overlay before it was laid out when that was frozen, or just now.
            state.backing = Backing(
                recent: frozen,
                frozen: below.backing.frozen,
                profile: below.backing.profile
            )
            state.profile = below.profile
            state.overlay = fresh
            state.row.overlay = fresh.id
            state.generation += 1
            state.unsettled.append(frozen)
        }
    }

    /// Lays the map of the overlay that was frozen last over those before it; readers do not wait.
    func mergeRecent() throws(Failure) {
        try withShape { (row, below) throws(Failure) in
            guard below.backing.recent != nil else { return }
            let merged = try below.backing.merged()
            state.withLock { state in
                // Nothing a fill was read from has changed, so the generation stays.
                if state.backing === below.backing { state.backing = merged }
            }
        }
    }

    /// Reads blocks of one overlay from another that has the same bytes now.
    func replaceOverlay(_ overlay: Int64, with id: Int64, _ data: File) throws(Failure) {
        try withShape { (_, below) throws(Failure) in
            let replaced = try below.backing.replacing(overlay, with: id, data)
            state.withLock { $0.backing = replaced }
        }
    }

    // MARK: Service

    /// After a failed fdatasync the kernel may have dropped the only copy of answered writes.
    func takeOutOfService(because failure: Failure) {
        state.withLock { $0.row.failure = "\(failure)" }
        // In memory it is out of service in any case; the database may be on the same broken disk.
        try? database.setFailure("\(failure)", ofDisk: id)
    }

    /// Reads all written blocks from the disk below and puts the disk into service again.
    package func check() throws(Failure) {
        for overlay in [overlay] + unsettled { try overlay.checkReadable() }
        try database.setFailure(nil, ofDisk: id)
        state.withLock { $0.row.failure = nil }
    }

    // MARK: Flushing

    /// How far, in nanoseconds, the durable time of change may be behind after a flush.
    private static let timeInterval = 1_000_000_000

    /// What a flush has to commit: taken before the data is synchronized.
    func takeForFlush() -> (row: DiskRow?, overlay: Overlay, unsettled: [Overlay]) {
        state.withLock { state in
            // A time alone is no reason for a transaction with each flush.
            let modified = state.row.attributes.modified
            let isDue =
                state.isRowAhead
                && (modified < state.committedTime
                    || modified - state.committedTime >= Self.timeInterval)
            if isDue {
                state.isRowAhead = false
                state.committedTime = modified
            }
            return (
                isDue ? state.row : nil, state.overlay,
                state.unsettled.filter { !$0.isSettled }
            )
        }
    }

    /// The next flush commits the time of change in any case.
    func makeTimeDue() { state.withLock { $0.committedTime = 0 } }

    func restoreRowAhead() {
        state.withLock { state in
            state.isRowAhead = true
            state.committedTime = 0
        }
    }

    func noteSettled(_ overlays: [Overlay]) {
        state.withLock { state in
            state.unsettled.removeAll { overlay in overlays.contains { $0 === overlay } }
        }
    }
}
