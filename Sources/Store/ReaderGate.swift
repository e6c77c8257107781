internal import Glibc
internal import Synchronization

/// Lets one who frees wait until every reader that may still hold what is freed has left.
///
/// Readers never wait. There are two counters; `epoch` says which one arrivals use. Waiting flips the
/// epoch and waits for the old counter to drain, so a constant stream of readers cannot starve it.
package struct ReaderGate: ~Copyable, Sendable {
    private let epoch = Atomic<Int>(0)
    private let even = Atomic<Int>(0)
    private let odd = Atomic<Int>(0)
    private let flipping = Mutex<Void>(())

    package struct Ticket: Sendable { fileprivate let parity: Int }

    package init() {}

    package func enter() -> Ticket {
        while true {
            let parity = epoch.load(ordering: .sequentiallyConsistent) & 1
            add(1, to: parity)
            // A flip between the load and the add would let the waiter pass us by.
            if epoch.load(ordering: .sequentiallyConsistent) & 1 == parity {
                return Ticket(parity: parity)
            }
            add(-1, to: parity)
        }
    }

    package func leave(_ ticket: Ticket) { add(-1, to: ticket.parity) }

    /// Returns once all readers that entered before the call have left.
    package func waitForReaders() {
        flipping.withLock { _ in
            let old = epoch.add(1, ordering: .sequentiallyConsistent).oldValue & 1
            while count(of: old) != 0 { usleep(50) }
        }
    }

    private func add(_ delta: Int, to parity: Int) {
        if parity == 0 {
            even.add(delta, ordering: .sequentiallyConsistent)
        } else {
            odd.add(delta, ordering: .sequentiallyConsistent)
        }
    }

    private func count(of parity: Int) -> Int {
        parity == 0
            ? even.load(ordering: .sequentiallyConsistent)
            : odd.load(ordering: .sequentiallyConsistent)
    }
}
