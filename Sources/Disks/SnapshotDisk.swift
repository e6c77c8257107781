package import Failures
internal import Profiles
package import Store
internal import Synchronization

/// A disk as a snapshot has it: never changes.
///
/// What it shows is laid out when it is opened first, and forgotten with the last close: hundreds of
/// snapshots cost no memory.
///
/// Concurrency: any thread; `state` is held while what it shows is laid out, by those who open it.
package final class SnapshotDisk: ViewedDisk {
    package let row: SnapshotDiskRow
    private let overlays: Overlays
    private let state = Mutex(State())

    private struct State {
        var source: CloneSource?
        var openHandles = 0
    }

    init(_ row: SnapshotDiskRow, _ overlays: Overlays) {
        self.row = row
        self.overlays = overlays
    }

    package var size: Int { row.size }

    /// - Throws: when its overlays cannot be read; it is not open then.
    package func open() throws(Failure) {
        try state.withLock { (state) throws(Failure) in
            if state.source == nil { state.source = try layOut() }
            state.openHandles += 1
        }
    }

    package func close() {
        state.withLock { state in
            state.openHandles -= 1
            if state.openHandles == 0 { state.source = nil }
        }
    }

    var isOpen: Bool { state.withLock { $0.openHandles > 0 } }

    /// What a clone takes from. The disk need not be open.
    package func cloneSource() throws(Failure) -> CloneSource {
        if let source = state.withLock(\.source) { return source }
        return try layOut()
    }

    /// Bytes in blocks that were written between the snapshot before and this one and are kept for it.
    package func writtenByteCount() throws(Failure) -> Int {
        let pages = try overlays.database.mapPages(of: row.overlay)
        return pages.reduce(0) { $0 + BlockMap.dataBlocks(in: $1.states) } * BlockMap.blockSize
    }

    private func layOut() throws(Failure) -> CloneSource {
        let shown = try overlays.arranging.withLock { (_) throws(Failure) in
            var layout = try OverlayLayout(overlays)
            return try layout.view(of: row.overlay)
        }
        return CloneSource(
            source: .overlay(row.overlay),
            backing: shown.backing,
            unsettled: shown.unsettled,
            size: row.size
        )
    }

    package func withView<Value>(
        _ body: (DiskView) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let source = try cloneSource()
        return try body(DiskView(size: row.size, overlay: nil, backing: source.backing))
    }
}

/// A snapshot of a VM. A value; the truth is in ``VirtualMachines``.
package struct Snapshot: Sendable {
    package let id: Int64
    package let name: String
    /// Seconds since 1970.
    package let created: Int
    package var disks: [String: SnapshotDisk] = [:]
    /// False while its blocks are being made durable: not shown yet.
    var isComplete: Bool
}
