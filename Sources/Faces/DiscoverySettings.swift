package import Failures

/// How a node finds neighbours on its local links, and is found there.
package struct DiscoverySettings: Hashable, Sendable {
    package enum Devices: Hashable, Sendable {
        /// Those that have multicast; loopback has not.
        case all
        case named([String])
    }

    package var devices: Devices
    /// Of the group, over UDP. Nodes that use another one do not see each other.
    package var port: Int
    /// Between two announcements at most.
    package var intervalMilliseconds: Int

    /// The one after CCNx's own, where a node may listen for datagrams itself.
    package static let defaultPort = 9_696
    package static let defaultIntervalMilliseconds = 10_000
    package static let intervals = 1_000...300_000
    /// Of RFC 2365's IPv4 local scope, which no router should let out; 37.223 is 9695.
    static let group = "239.255.37.223"
    /// Link-local scope, not assigned by anybody (RFC 4291 section 2.7), with a group id that needs no assignment
    /// (RFC 3307 section 4.3); 25df is 9695.
    static let groupIPv6 = "ff12::8000:25df"
    /// Bytes of a device's name: the kernel keeps 16, one of which ends it.
    private static let deviceNameByteCount = 1...15

    package init(
        devices: Devices,
        port: Int = DiscoverySettings.defaultPort,
        intervalMilliseconds: Int = DiscoverySettings.defaultIntervalMilliseconds
    ) {
        self.devices = devices
        self.port = port
        self.intervalMilliseconds = intervalMilliseconds
    }

    /// Three announcements in a row may be lost.
    package var lifetimeMilliseconds: Int { intervalMilliseconds * 7 / 2 }

    /// A pause that keeps nodes that were started together from announcing themselves together.
    ///
    /// - Parameter share: from 0 to 1, drawn for each pause.
    package func pauseMilliseconds(_ share: Double) -> Int {
        Int(Double(intervalMilliseconds) * (0.8 + 0.2 * share))
    }
}

extension DiscoverySettings.Devices {
    /// Reads `all`, or the names of network devices.
    package init(_ names: [String]) throws(Failure) {
        guard names != ["all"] else {
            self = .all
            return
        }
        for name in names {
            let isSound =
                DiscoverySettings.deviceNameByteCount.contains(name.utf8.count)
                && !name.contains { $0.isWhitespace || "/:%".contains($0) }
            guard isSound, name != "all" else {
                throw Failure(
                    .invalid,
                    name == "all"
                        ? "all network devices and named ones too"
                        : "'\(name)' is no name of a network device",
                    hint: "write all, or names of ip link, such as eth0"
                )
            }
        }
        self = .named(names)
    }
}

extension DiscoverySettings.Devices: CustomStringConvertible {
    package var description: String {
        switch self {
        case .all: "all devices"
        case .named(let names): names.joined(separator: ", ")
        }
    }
}
