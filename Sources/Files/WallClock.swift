internal import Glibc

/// The time of day, for what is shown to people and kept with files; never for deadlines.
package enum WallClock {
    /// Nanoseconds since 1970.
    package static var nanoseconds: Int {
        var now = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * 1_000_000_000 + now.tv_nsec
    }

    /// Seconds since 1970.
    package static var seconds: Int { nanoseconds / 1_000_000_000 }
}

extension Duration {
    package var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
