#if DEBUG
internal import Glibc
internal import Synchronization

/// A fault that the environment of a debug build asks for: `NAME:COUNT`, due the COUNTth time.
final class ArmedFault: Sendable {
    let name: String
    private let count: Int
    private let passed = Atomic<Int>(0)

    static let crash = ArmedFault(variable: "CCNFS_CRASH_AT")
    /// `CCNFS_FAIL_FDATASYNC=3`: the third fdatasync of a file of written blocks fails.
    static let failedSync = ArmedFault(variable: "CCNFS_FAIL_FDATASYNC")

    private init?(variable: String) {
        guard let text = unsafe getenv(variable).map({ unsafe String(cString: $0) }) else {
            return nil
        }
        let parts = text.split(separator: ":").map(String.init)
        name = parts.first ?? ""
        count = parts.last.flatMap { Int($0) } ?? 1
    }

    func isDue() -> Bool { passed.add(1, ordering: .relaxed).newValue == count }
}
#endif
