internal import Failures
internal import Files
internal import Logging
internal import Publishing
internal import Store

// A full disk.
extension NodeOperations {
    /// Runs `body`; where it meets a full disk, again with ever more of what can be fetched again given up, as
    /// long as that is on the same disk.
    func makingRoom<Value: Sendable>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let store = homes.store
        let reserve = homes.reserve
        var byteCount = LayeredStore.evictionByteCount
        while true {
            do throws(Failure) {
                return try await body()
            } catch  where error.kind == .noSpace {
                let wanted = byteCount
                guard sharesItsDisk,
                    try await Threads.run({ () throws(Failure) in
                        try reserve.lend { () throws(Failure) in
                            try store.giveUp(byteCount: wanted)
                        }
                    }) > 0
                else { throw error }
                // A publish keeps it from being freed now; that is no reason not to try again.
                _ = try? await reclaimer.freeUnrecorded()
                logger.info("cache given up for published content")
                byteCount = min(byteCount * 2, .max / 4)
            }
        }
    }

    /// What is cached takes room from what is published.
    private var sharesItsDisk: Bool {
        let state = try? FileTree.status(of: homes.stateDirectory)
        let cache = try? FileTree.status(of: homes.cacheDirectory)
        return state?.device != nil && state?.device == cache?.device
    }

    /// What a publish stored before the disk was full is of no use to others, who need the room.
    func freeWhatFilledTheDisk() async {
        do throws(Failure) {
            let freed = try await reclaim()
            logger.info("freed after a full disk", metadata: ["bytes": "\(freed.freedBytes)"])
        } catch {
            logger.warning("nothing freed after a full disk", metadata: ["cause": "\(error)"])
        }
    }
}
