internal import Glibc
internal import Synchronization

/// Lets one who freezes a disk stop its writers for a moment.
///
/// Writers that are inside are waited for; those that come while it is closed wait. Meant for
/// milliseconds. Those inside must not enter again.
struct WriteGate: ~Copyable, Sendable {
    private let inside = Atomic<Int>(0)
    private let isClosed = Atomic<Bool>(false)

    private static let pauseMicroseconds: UInt32 = 20

    func enter() {
        while true {
            inside.add(1, ordering: .sequentiallyConsistent)
            if !isClosed.load(ordering: .sequentiallyConsistent) { return }
            leave()
            while isClosed.load(ordering: .acquiring) { usleep(Self.pauseMicroseconds) }
        }
    }

    func leave() { inside.subtract(1, ordering: .sequentiallyConsistent) }

    /// Returns once no writer is inside. One closes at a time; the callers see to that.
    func close() {
        isClosed.store(true, ordering: .sequentiallyConsistent)
        while inside.load(ordering: .sequentiallyConsistent) != 0 {
            usleep(Self.pauseMicroseconds)
        }
    }

    func open() { isClosed.store(false, ordering: .sequentiallyConsistent) }
}
