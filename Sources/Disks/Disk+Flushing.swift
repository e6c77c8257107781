internal import Failures
internal import Files
internal import Profiles
internal import Store

extension Disk {
    /// What a flush has to commit: taken before the data was synchronized.
    struct Flush {
        let row: DiskRow?
        let live: Overlay
        let pages: [MapPageRow]
        /// Blocks of the live overlay whose space goes once the pages are durable.
        let freed: [Range<Int>]
        /// Frozen overlays that were not durable, with all their pages that may not be.
        let frozen: [Frozen]

        struct Frozen {
            let overlay: Overlay
            let pages: [MapPageRow]
            let freed: [Range<Int>]
        }

        /// The pages by overlay, without those of overlays that another flush has committed since.
        var mapPages: [(overlay: Int64, pages: [MapPageRow])] {
            let unsettled = frozen.filter { !$0.overlay.isCommitted }
            return
                ([(overlay: live.id, pages: pages)]
                + unsettled.map { (overlay: $0.overlay.id, pages: $0.pages) })
                .filter { !$0.pages.isEmpty }
        }
    }

    /// Makes all answered writes durable in the overlays' files.
    ///
    /// - Returns: what must be committed before the flush may be answered.
    func synchronizeData() throws(Failure) -> Flush {
        try checkIsWell(view)
        let taken = takeForFlush()
        let freed = taken.overlay.takeFreed()
        let pages = taken.overlay.map.takeDirtyPages()
        var frozen: [Flush.Frozen] = []
        do throws(Failure) {
            for overlay in taken.unsettled {
                let freed = overlay.takeFreed()
                frozen.append(
                    Flush.Frozen(overlay: overlay, pages: overlay.map.dirtyPages(), freed: freed)
                )
                try overlay.synchronizeData()
            }
            try taken.overlay.synchronizeData()
            CrashPoint.flushSynchronized.reached()
            return Flush(
                row: taken.row,
                live: taken.overlay,
                pages: pages,
                freed: freed,
                frozen: frozen
            )
        } catch {
            taken.overlay.map.restoreDirty(pages)
            taken.overlay.restoreFreed(freed)
            for frozen in frozen { frozen.overlay.restoreFreed(frozen.freed) }
            if taken.row != nil { restoreRowAhead() }
            takeOutOfService(because: error)
            throw error
        }
    }

    /// The commit of what ``synchronizeData()`` gave failed.
    func flushFailed(_ flush: Flush) {
        flush.live.map.restoreDirty(flush.pages)
        flush.live.restoreFreed(flush.freed)
        for frozen in flush.frozen { frozen.overlay.restoreFreed(frozen.freed) }
        if flush.row != nil { restoreRowAhead() }
    }

    /// It is committed: space of blocks that are not referred to goes, frozen overlays are settled.
    ///
    /// - Throws: what keeps space from being freed; the flush itself has succeeded.
    func flushSucceeded(_ flush: Flush) throws(Failure) {
        let freed = [(flush.live, flush.freed)] + flush.frozen.map { ($0.overlay, $0.freed) }
        for (overlay, blocks) in freed where !blocks.isEmpty {
            CrashPoint.discardCommitted.reached()
            try overlay.punch(blocks)
            CrashPoint.discardPunched.reached()
        }
        // Last: from here on the reclaimer may move other blocks into them.
        noteSettled(flush.frozen.map(\.overlay))
        for frozen in flush.frozen { try frozen.overlay.noteSettled() }
    }
}
