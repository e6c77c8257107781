package import Failures
internal import Synchronization

/// Bounds how many requests wait for the network, for one file and in all.
///
/// The kernel hands out a bounded number of background requests to a mount. Were all of them waiting
/// for a repository that does not answer, no local disk would be served any more.
package final class ParkingLot: Sendable {
    /// Below the mount's `max_background` (see `FUSE/Session`).
    package static let limit = 3072
    package static let limitPerInode = 1024

    private struct State {
        var total = 0
        var byInode: [UInt64: Int] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var count: Int { state.withLock(\.total) }

    /// - Throws: `.noSource` when too many wait already.
    package func enter(_ inode: UInt64) throws(Failure) {
        try state.withLock { (state) throws(Failure) in
            let waiting = state.byInode[inode, default: 0]
            guard waiting < Self.limitPerInode, state.total < Self.limit else {
                throw Failure(
                    .noSource,
                    "\(waiting) requests on this file wait for content already"
                )
            }
            state.byInode[inode] = waiting + 1
            state.total += 1
        }
    }

    package func leave(_ inode: UInt64) {
        state.withLock { state in
            state.total -= 1
            let left = state.byInode[inode, default: 1] - 1
            state.byInode[inode] = left == 0 ? nil : left
        }
    }
}
