internal import Disks
internal import Failures
internal import Synchronization

/// What copies under way clone from, by the two handles of the copy.
///
/// A copy comes in pieces, each behind the one before: they share one view. A piece from before the end
/// of the last one is another copy, and so is one after the source was changed through the very handle:
/// who writes and copies sees what he wrote.
///
/// Concurrency: any thread; one lock, held for a look. The requests of one copy come one after the other.
/// `count` spares writers the lock while nothing is copied.
final class ClonePins: Sendable {
    private struct Pair: Hashable {
        let source: UInt64
        let target: UInt64
    }

    private struct Pin {
        let view: PinnedView
        /// Where the last piece ended in the source. Bytes.
        var end = 0
    }

    private let pins = Mutex<[Pair: Pin]>([:])
    private let count = Atomic<Int>(0)

    func view(
        _ source: UInt64,
        _ target: UInt64,
        at offset: Int,
        _ byteCount: Int,
        _ pin: () throws(Failure) -> PinnedView
    ) throws(Failure) -> PinnedView {
        let pair = Pair(source: source, target: target)
        // Not under the lock: what is pinned is made durable first, and writers look in here.
        let known = pins.withLock { $0[pair] }
        var current: Pin
        if let known, offset >= known.end {
            current = known
        } else {
            current = Pin(view: try pin())
        }
        // What is not cloned of a piece comes again.
        let cloned = min(byteCount, max(0, current.view.size - offset))
        current.end = offset + cloned / Self.blockSize * Self.blockSize
        pins.withLock { [current] pins in
            pins[pair] = current
            count.store(pins.count, ordering: .relaxed)
        }
        return current.view
    }

    private static let blockSize = 4096

    /// The source is changed through this handle.
    func noteChange(through handle: UInt64) {
        _ = remove { $0.source == handle }
    }

    /// A handle is closed.
    ///
    /// - Returns: whether something was pinned for it.
    func drop(_ handle: UInt64) -> Bool {
        remove { $0.source == handle || $0.target == handle }
    }

    private func remove(_ isGone: (Pair) -> Bool) -> Bool {
        guard count.load(ordering: .relaxed) > 0 else { return false }
        return pins.withLock { pins in
            let before = pins.count
            pins = pins.filter { !isGone($0.key) }
            count.store(pins.count, ordering: .relaxed)
            return pins.count < before
        }
    }
}
