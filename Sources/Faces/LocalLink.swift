import NIOCore

/// One address of this machine on one network device, and with it the neighbours that are reached without a router.
struct LocalLink: Sendable {
    let device: NIONetworkDevice
    let address: SocketAddress
    /// As text, with the device where an address means nothing without it: `10.0.0.5`, `fe80::1%eth0`.
    let host: String

    /// A node that has more addresses announces itself at these only.
    static let limit = 32
    /// As the kernel forms them (RFC 4291 section 2.5.6).
    static let linkLocalPrefix = "fe80:"

    /// - Returns: those that there are now, in the order of the system.
    static func all(of devices: DiscoverySettings.Devices) throws -> [LocalLink] {
        let found = try System.enumerateDevices().compactMap { device in
            var device = device
            if case .named(let names) = devices {
                guard names.contains(device.name) else { return nil as LocalLink? }
                // Loopback only does not say that it can. If another cannot, joining says so.
                device.multicastSupported = true
            }
            return device.multicastSupported ? LocalLink(device) : nil
        }
        return Array(found.prefix(limit))
    }

    /// Nil for an address that is not one of IPv4, nor link-local of IPv6.
    init?(_ device: NIONetworkDevice) {
        guard let address = device.address, let text = address.ipAddress else { return nil }
        switch address {
        case .v4: host = text
        case .v6 where text.hasPrefix(Self.linkLocalPrefix): host = "\(text)%\(device.name)"
        default: return nil
        }
        self.device = device
        self.address = address
    }

    /// The group of all nodes, on this link.
    func group(port: Int) throws -> SocketAddress {
        switch address {
        case .v6:
            try SocketAddress(
                ipAddress: "\(DiscoverySettings.groupIPv6)%\(device.name)",
                port: port
            )
        default: try SocketAddress(ipAddress: DiscoverySettings.group, port: port)
        }
    }

    /// How a neighbour is reached that something came from.
    ///
    /// - Returns: nil if it is not on this link.
    func host(of source: SocketAddress) -> String? {
        guard let text = source.ipAddress else { return nil }
        switch (source, address) {
        case (.v4, .v4):
            guard let own = number, let other = source.number, let mask = device.netmask?.number
            else { return nil }
            return (own ^ other) & mask == 0 ? text : nil
        case (.v6, .v6):
            return text.hasPrefix(Self.linkLocalPrefix) ? "\(text)%\(device.name)" : nil
        default: return nil
        }
    }

    /// Of an IPv4 address.
    var number: UInt32? { address.number }

    /// A socket that neighbours may come to.
    struct Listener: Hashable, Sendable {
        let address: SocketAddress
        let isDatagram: Bool

        /// On Linux `::` takes what comes over IPv4, too.
        fileprivate func isReached(at link: LocalLink) -> Bool {
            guard let host = address.ipAddress, address.port ?? 0 > 0 else { return false }
            return switch (address, link.address) {
            case (.v4, .v4): host == "0.0.0.0" || host == link.host
            case (.v6, .v6): host == "::" || "\(host)%\(link.device.name)" == link.host
            case (.v6, .v4): host == "::"
            default: false
            }
        }
    }

    /// The one that neighbours on this link are told of; over TCP if there is one.
    func listener(of all: [Listener]) -> Listener? {
        let reached = all.filter { $0.isReached(at: self) }
        return reached.first { !$0.isDatagram } ?? reached.first
    }
}

extension LocalLink: Hashable {
    static func == (left: LocalLink, right: LocalLink) -> Bool {
        left.device.interfaceIndex == right.device.interfaceIndex && left.host == right.host
            && left.device.netmask == right.device.netmask
    }

    func hash(into hasher: inout Hasher) { hasher.combine(host) }
}

extension LocalLink: CustomStringConvertible {
    var description: String { host.contains("%") ? host : "\(host)%\(device.name)" }
}

extension SocketAddress {
    /// Of IPv4; the first byte of the address is the highest.
    fileprivate var number: UInt32? {
        guard case .v4 = self, let bytes = ipAddress?.split(separator: "."), bytes.count == 4 else {
            return nil
        }
        return bytes.reduce(0) { number, byte in
            guard let number, let byte = UInt8(byte) else { return nil }
            return number << 8 | UInt32(byte)
        }
    }
}
