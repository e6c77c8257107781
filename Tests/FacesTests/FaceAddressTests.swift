import CCNx
import Faces
import Failures
import Testing

@Suite struct FaceAddressTests {
    @Test(arguments: [
        ("tcp:127.0.0.1:9695", FaceAddress.tcp(host: "127.0.0.1", port: 9695)),
        ("tcp:repo.mycorp.com", .tcp(host: "repo.mycorp.com", port: 9695)),
        ("tcp:[::1]:9000", .tcp(host: "::1", port: 9000)),
        ("tcp:[fe80::1%eth0]", .tcp(host: "fe80::1%eth0", port: 9695)),
        ("tcp:localhost:0", .tcp(host: "localhost", port: 0)),
        ("udp:127.0.0.1:9000", .udp(host: "127.0.0.1", port: 9000)),
        ("udp:repo.mycorp.com", .udp(host: "repo.mycorp.com", port: 9695)),
        ("udp:[::1]", .udp(host: "::1", port: 9695)),
        ("unix:/run/x.sock", .unix(path: "/run/x.sock")),
    ])
    func areRead(_ text: String, _ address: FaceAddress) throws {
        #expect(try FaceAddress(text) == address)
        #expect(try FaceAddress(address.description) == address)
    }

    @Test(arguments: [
        "", "tcp", "tcp:", "tcp::9695", "quic:host:1", "udp:", "udp::1", "udp:host:0x1",
        "udp:::1", "tcp:::1", "tcp:::1:9695", "tcp:[::1",
        "tcp:[]:1", "tcp:host:",
        "tcp:host:x", "tcp:host:65536", "tcp:host:-1", "tcp:host:+1", "tcp:[::1]9695", "tcp:a b",
        "tcp:a/b",
        "unix:", "unix:relative", "unix:/" + String(repeating: "x", count: 107),
    ])
    func areRefused(_ text: String) {
        #expect { try FaceAddress(text) } throws: { ($0 as? Failure)?.kind == .invalid }
    }

    @Test func areOfThisMachineOnlyIfTheyAreUnixSockets() {
        #expect(FaceAddress.unix(path: "/x").scope == .local)
        #expect(FaceAddress.tcp(host: "127.0.0.1", port: 1).scope == .remote)
        #expect(FaceAddress.udp(host: "127.0.0.1", port: 1).scope == .remote)
    }
}
