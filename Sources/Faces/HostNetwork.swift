/// Whom the bounds for one address are for.
package enum HostNetwork {
    /// One machine has one IPv4 address, but as many of IPv6 as it likes in its network of 64 bits: those count as one.
    /// IPv4 addresses that an IPv6 socket shows (`::ffff:192.0.2.1`) are what they are.
    ///
    /// - Parameter host: as the system writes addresses, or a name, which stays as it is.
    package static func key(of host: String) -> String {
        if host.hasPrefix(mappedPrefix) { return String(host.dropFirst(mappedPrefix.count)) }
        guard host.contains(":") else { return host }
        // The zeros that `::` stands for are in the first half, in the second, or in both.
        let halves = host.split(separator: "::", maxSplits: 1, omittingEmptySubsequences: false)
            .map { $0.split(separator: ":") }
        let tail = halves.count > 1 ? halves[1] : []
        let zeros = max(groupCount - halves[0].count - tail.count, 0)
        let groups = halves[0] + Array(repeating: "0", count: zeros) + tail
        return groups.prefix(networkGroupCount).joined(separator: ":") + "::/64"
    }

    private static let mappedPrefix = "::ffff:"
    private static let groupCount = 8
    private static let networkGroupCount = 4
}
