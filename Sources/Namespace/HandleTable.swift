internal import CCNx
internal import Disks
internal import Files
internal import Profiles

/// An open file or directory.
enum Handle: Sendable {
    /// A version's disk or carried file: pinned for as long as it is open.
    case content(SegmentedContent, template: Name, version: Int, inode: UInt64)
    /// Small text that was fixed at open.
    case bytes([UInt8])
    case disk(Disk, token: OpenHandles.Token, isWriter: Bool)
    case snapshotDisk(SnapshotDisk)
    case directory([DirectoryEntry])
}

/// Open handles by number. Concurrency: any thread; one lock, held for a table access.
final class HandleTable: Sendable {
    private struct State {
        var handles: [UInt64: Handle] = [:]
        var last: UInt64 = 0
    }

    private let state = Guarded(State())

    func insert(_ handle: Handle) -> UInt64 {
        state.withLock { state in
            state.last += 1
            state.handles[state.last] = handle
            return state.last
        }
    }

    subscript(number: UInt64) -> Handle? { state.withLock { $0.handles[number] } }

    func remove(_ number: UInt64) -> Handle? {
        state.withLock { $0.handles.removeValue(forKey: number) }
    }

    var count: Int { state.withLock(\.handles.count) }
}
