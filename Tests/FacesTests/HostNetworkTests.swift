import Faces
import NIOCore
import Testing

struct HostNetworkTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("host", "host"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::6", "2001:db8:1:2::/64"),
        ("2001:db8::6", "2001:db8:0:0::/64"), ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("2001:db8::2:3:4:5:6", "2001:db8:0:2::/64"), ("::1", "0:0:0:0::/64"),
        ("::2:3:4:5:6:7", "0:0:2:3::/64"), ("fe80::1", "fe80:0:0:0::/64"),
        ("::", "0:0:0:0::/64"), ("unknown", "unknown"), ("", ""), (":", "0:0:0:0::/64"),
    ])
    func anIPv6NetworkCountsAsOneHost(_ host: String, _ key: String) {
        #expect(HostNetwork.key(of: host) == key)
    }

    @Test func readsWhatTheSystemWrites() throws {
        for (text, key) in [
            ("2001:0db8:0:0:0:0:0:9", "2001:db8:0:0::/64"),
            ("2001:db8:0:7:0:0:0:9", "2001:db8:0:7::/64"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
        ] {
            let written = try SocketAddress(ipAddress: text, port: 1).ipAddress
            #expect(HostNetwork.key(of: try #require(written)) == key)
        }
    }

    @Test func oneMachineWithManyAddressesKeepsNobodyOut() {
        var settings = FaceSettings()
        settings.faceCount = 8
        settings.faceCountPerAddress = 3
        var admission = FaceAdmission(settings)
        let addresses = (1...10).map { FaceAddress.tcp(host: "2001:db8::\($0)", port: $0) }
        #expect(addresses.map { admission.admit($0) } == (1...10).map { $0 <= 6 })
        #expect(admission.addressCount == 6)
        // Another network; and IPv4 neighbours of an IPv6 socket.
        let others = ["2001:db8:0:1::1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"]
        #expect(others.map { admission.admit(.tcp(host: $0, port: 1)) } == [true, true, false])
        for address in addresses.prefix(6) { admission.forget(address) }
        for host in others.prefix(2) { admission.forget(.tcp(host: host, port: 1)) }
        #expect(admission.count == 0 && admission.addressCount == 0)
        #expect(addresses.map { admission.admit($0) } == (1...10).map { $0 <= 6 })
    }

    @Test func aFleetInOneNetworkIsNotOneMachine() {
        var admission = FaceAdmission(FaceSettings())
        let nodes = (1...500).map {
            FaceAddress.tcp(host: "2001:db8::\(String($0, radix: 16))", port: 9_695)
        }
        #expect(nodes.map { admission.admit($0) }.allSatisfy { $0 })
    }
}
