internal import Glibc
internal import Synchronization

/// Who has a disk open.
///
/// The kernel tells of a close twice: FLUSH at once, for each descriptor that is closed, and RELEASE
/// some time after the last one. A FLUSH may be that of a copy (a child that ends), so a handle that
/// was flushed is *idle*, not closed, until it is used again or released; one who needs the disk for
/// himself waits for the release a little, which comes at once after a real close.
///
/// Concurrency: any thread. `idleCount` spares those who read and write the lock while nobody is idle.
package final class OpenHandles: Sendable {
    package typealias Token = Int

    private struct State {
        var handles: [Token: Handle] = [:]
        var last = 0
    }

    private struct Handle {
        let isWriter: Bool
        var isInUse = true
    }

    private let state = Mutex(State())
    private let idleCount = Atomic<Int>(0)

    package func open(forWriting isWriter: Bool) -> Token {
        state.withLock { state in
            state.last += 1
            state.handles[state.last] = Handle(isWriter: isWriter)
            return state.last
        }
    }

    /// - Returns: true if it was the last handle.
    package func close(_ token: Token) -> Bool {
        state.withLock { state in
            if state.handles.removeValue(forKey: token)?.isInUse == false {
                idleCount.subtract(1, ordering: .relaxed)
            }
            return state.handles.isEmpty
        }
    }

    /// One of the handle's descriptors was closed.
    package func noteFlush(_ token: Token) { set(token, inUse: false) }

    /// Something is done through the handle.
    package func noteUse(_ token: Token) {
        if idleCount.load(ordering: .relaxed) > 0 { set(token, inUse: true) }
    }

    private func set(_ token: Token, inUse: Bool) {
        state.withLock { state in
            guard let handle = state.handles[token], handle.isInUse != inUse else { return }
            state.handles[token]?.isInUse = inUse
            idleCount.add(inUse ? -1 : 1, ordering: .relaxed)
        }
    }

    package var isOpen: Bool { state.withLock { !$0.handles.isEmpty } }

    /// Whether nobody but `own` has the disk open, or has closed it within a second. May block its
    /// thread for as long.
    package func areClosed(besides own: Token? = nil) -> Bool {
        let deadline = ContinuousClock.now + Self.releaseDelay
        while true {
            let others = state.withLock { state in
                state.handles.filter { $0.key != own }.map(\.value.isInUse)
            }
            if others.isEmpty { return true }
            if others.contains(true) || ContinuousClock.now > deadline { return false }
            usleep(Self.pauseMicroseconds)
        }
    }

    /// From the last close to the RELEASE, at most, on a busy machine.
    private static let releaseDelay = Duration.seconds(1)
    private static let pauseMicroseconds: UInt32 = 1000

    package var isInUseForWriting: Bool {
        state.withLock { state in
            state.handles.values.contains { $0.isWriter && $0.isInUse }
        }
    }
}
