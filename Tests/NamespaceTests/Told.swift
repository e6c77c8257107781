import Synchronization
import TestSupport

/// What a tree said has changed.
final class Told: Sendable {
    private let calls = Mutex<[(parent: UInt64, name: String)]>([])

    func note(_ parent: UInt64, _ name: String) {
        calls.withLock { $0.append((parent: parent, name: name)) }
    }

    var names: Set<String> { calls.withLock { Set($0.map(\.name)) } }
    var parents: Set<UInt64> { calls.withLock { Set($0.map(\.parent)) } }
}
