import Failures
import NIOCore
import TestSupport
import Testing

@testable import Faces

struct LocalLinkTests {
    private static func link(
        _ address: String,
        mask: String? = nil,
        device: String = "eth0"
    ) throws -> LocalLink {
        try #require(LocalLink(try Self.device(address, mask: mask, name: device)))
    }

    private static func device(
        _ address: String,
        mask: String? = nil,
        name: String = "eth0"
    ) throws -> NIONetworkDevice {
        let own = try SocketAddress(ipAddress: address, port: 0)
        return NIONetworkDevice(
            name: name,
            address: own,
            netmask: try mask.map { try SocketAddress(ipAddress: $0, port: 0) },
            broadcastAddress: nil,
            pointToPointDestinationAddress: own,
            multicastSupported: true,
            interfaceIndex: 2
        )
    }

    private static func address(_ host: String, port: Int = 9_695) throws -> SocketAddress {
        try SocketAddress(ipAddress: host, port: port)
    }

    private static func listener(
        _ host: String,
        _ port: Int = 9_695,
        isDatagram: Bool = false
    ) throws -> LocalLink.Listener {
        LocalLink.Listener(address: try address(host, port: port), isDatagram: isDatagram)
    }

    // MARK: Who is on it

    @Test(
        arguments: [
            ("10.0.0.5", true), ("10.0.0.1", true), ("10.0.3.255", true), ("10.0.4.1", false),
            ("9.255.255.255", false), ("192.168.0.1", false), ("8.8.8.8", false),
            ("fe80::1", false), ("::ffff:10.0.0.5", false),
        ]
    )
    func onlyTheSubnetIsOnIt(_ source: String, _ isOnIt: Bool) throws {
        let link = try Self.link("10.0.0.1", mask: "255.255.252.0")
        #expect(link.host(of: try Self.address(source)) == (isOnIt ? source : nil))
    }

    @Test func anAddressWithoutAMaskHasNoNeighbours() throws {
        let link = try Self.link("10.0.0.1")
        #expect(link.host(of: try Self.address("10.0.0.2")) == nil)
    }

    @Test func overIPv6OnlyLinkLocalAddressesAreOnIt() throws {
        let link = try Self.link("fe80::1")
        #expect(link.host == "fe80::1%eth0")
        #expect(link.host(of: try Self.address("fe80::2")) == "fe80::2%eth0")
        #expect(link.host(of: try Self.address("2001:db8::2")) == nil)
        #expect(link.host(of: try Self.address("::1")) == nil)
        #expect(link.host(of: try Self.address("10.0.0.2")) == nil)
    }

    @Test func globalIPv6AddressesAreNoLink() throws {
        #expect(LocalLink(try Self.device("2001:db8::1")) == nil)
        #expect(LocalLink(try Self.device("::1")) == nil)
    }

    // MARK: What is announced there

    @Test(
        arguments: [
            ("0.0.0.0", true), ("10.0.0.1", true), ("::", true), ("10.0.0.2", false),
            ("127.0.0.1", false), ("::1", false), ("fe80::1", false),
        ]
    )
    func aListenerOfItsAddressIsReached(_ host: String, _ isReached: Bool) throws {
        let link = try Self.link("10.0.0.1", mask: "255.255.255.0")
        let listener = try Self.listener(host)
        #expect(link.listener(of: [listener]) == (isReached ? listener : nil))
    }

    @Test func overIPv6AListenerOfAllOrOfItsAddressIsReached() throws {
        let link = try Self.link("fe80::1")
        for (host, isReached) in [("::", true), ("fe80::1", true), ("fe80::2", false)] {
            #expect((link.listener(of: [try Self.listener(host)]) != nil) == isReached)
        }
        #expect(link.listener(of: [try Self.listener("0.0.0.0")]) == nil)
    }

    @Test func tcpGoesBeforeUDP() throws {
        let link = try Self.link("10.0.0.1", mask: "255.255.255.0")
        let udp = try Self.listener("0.0.0.0", isDatagram: true)
        let tcp = try Self.listener("10.0.0.1", 9_700)
        #expect(link.listener(of: [udp, tcp]) == tcp)
        #expect(link.listener(of: [udp]) == udp)
        #expect(link.listener(of: []) == nil)
        #expect(link.listener(of: [try Self.listener("0.0.0.0", 0)]) == nil)
    }

    // MARK: Settings

    @Test func devicesAreAllOrNamed() throws {
        #expect(try DiscoverySettings.Devices(["all"]) == .all)
        #expect(
            try DiscoverySettings.Devices(["eth0", "br-lan.2"]) == .named(["eth0", "br-lan.2"])
        )
        for names in [["eth0", "all"], [""], ["eth 0"], ["a/b"], ["eth0:1"], ["0123456789abcdef"]] {
            #expect(kind { _ = try DiscoverySettings.Devices(names) } == .invalid, "\(names)")
        }
    }

    @Test func threeAnnouncementsMayBeLost() {
        let settings = DiscoverySettings(devices: .all)
        #expect(settings.pauseMilliseconds(0) == 8_000)
        #expect(settings.pauseMilliseconds(1) == 10_000)
        #expect(settings.lifetimeMilliseconds > 3 * settings.pauseMilliseconds(1))
        for interval in [
            DiscoverySettings.intervals.lowerBound, DiscoverySettings.intervals.upperBound,
        ] {
            let settings = DiscoverySettings(devices: .all, intervalMilliseconds: interval)
            #expect(NeighbourAnnouncement.lifetimes.contains(settings.lifetimeMilliseconds))
        }
    }
}
