internal import Glibc

/// Places between two steps of a promise, where the kill tests end the process.
///
/// `CCNFS_CRASH_AT=snapshot.switched` makes a debug build send itself SIGKILL when it comes there,
/// `CCNFS_CRASH_AT=snapshot.switched:3` the third time. A release build has none of this.
package enum CrashPoint: String, CaseIterable, Sendable {
    case writeData = "write.data"
    case writeMap = "write.map"
    case flushSynchronized = "flush.synchronized"
    case flushCommitted = "flush.committed"
    case snapshotPrepared = "snapshot.prepared"
    case snapshotSwitched = "snapshot.switched"
    case snapshotSynchronized = "snapshot.synchronized"
    case snapshotCommitted = "snapshot.committed"
    case cloneFrozen = "clone.frozen"
    case cloneMapped = "clone.mapped"
    case discardMarked = "discard.marked"
    case discardCommitted = "discard.committed"
    case discardPunched = "discard.punched"
    case shrinkCommitted = "shrink.committed"
    case deleteCommitted = "delete.committed"
    case deleteRemoved = "delete.removed"
    case rollbackCommitted = "rollback.committed"
    case reclaimCommitted = "reclaim.committed"
    case reclaimPunched = "reclaim.punched"
    case mergeCopied = "merge.copied"
    case mergeCommitted = "merge.committed"
    case republishPublished = "republish.published"
    case republishRebased = "republish.rebased"
    case importWritten = "import.written"
    case importCommitted = "import.committed"
    case mirrorPulled = "mirror.pulled"
    case mirrorStored = "mirror.stored"
    case mirrorCommitted = "mirror.committed"

    #if DEBUG
    package func reached() {
        guard let armed = ArmedFault.crash, armed.name == rawValue, armed.isDue() else { return }
        kill(getpid(), SIGKILL)
        // The signal is on its way; nothing after this point may happen.
        while true { pause() }
    }
    #else
    @inlinable @inline(__always)
    package func reached() {}
    #endif
}
