/// Lets so many through at once, and after that one in each interval (the generic cell rate algorithm). No clock: times
/// are milliseconds of one that does not go back.
struct Pace: Sendable {
    private let interval: UInt64
    private let slack: UInt64
    /// When all that was let through would have come, one in each interval.
    private var due: UInt64 = 0

    init(atOnce count: UInt64, thenEachMilliseconds interval: UInt64) {
        self.interval = interval
        slack = interval * (count - 1)
    }

    /// - Returns: false, with nothing noted, for one too many.
    mutating func admits(now: UInt64) -> Bool {
        let start = max(due, now)
        guard start - now <= slack else { return false }
        due = start + interval
        return true
    }
}
