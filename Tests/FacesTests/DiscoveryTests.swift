import CCNx
import Failures
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Faces

/// Over the group on loopback, where each test has a port of its own.
@Suite(.timeLimit(.minutes(1))) struct DiscoveryTests {
    /// Who is there, as one node sees it.
    private final class Seen: Sendable {
        private let current = Mutex<Set<FaceAddress>>([])
        var addresses: Set<FaceAddress> { current.withLock(\.self) }
        func take(_ addresses: Set<FaceAddress>) { current.withLock { $0 = addresses } }
    }

    private struct Finder {
        let node = TestNode()
        let seen = Seen()
        let discovery: Discovery

        init(port: Int, intervalMilliseconds: Int = 1_000) {
            discovery = Discovery(
                DiscoverySettings(
                    devices: .named(["lo"]),
                    port: port,
                    intervalMilliseconds: intervalMilliseconds
                ),
                table: node.table,
                changed: { [seen] in seen.take($0) }
            )
        }

        /// - Returns: where it listens.
        func start(
            on listening: FaceAddress = .tcp(host: "127.0.0.1", port: 0)
        ) async throws -> FaceAddress {
            let address = try await node.table.listen(on: listening)
            discovery.start(listening: [address])
            return address
        }

        var report: Discovery.Report {
            get async throws {
                let discovery = discovery
                return try await node.table.eventLoop.submit { discovery.report }.get()
            }
        }

        func stop() async {
            await discovery.stop()
            await node.table.shutDown()
        }
    }

    /// A UDP port that nobody has.
    private static func freePort() async throws -> Int {
        let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(channel.localAddress?.port)
        try await channel.close()
        return port
    }

    private func until(_ isMet: () async throws -> Bool) async throws {
        while try await !isMet() { try await Task.sleep(for: .milliseconds(10)) }
    }

    @Test func nodesFindEachOtherAndSayGoodbye() async throws {
        let port = try await Self.freePort()
        let (left, right) = (Finder(port: port), Finder(port: port))
        let leftAddress = try await left.start()
        let rightAddress = try await right.start(on: .udp(host: "127.0.0.1", port: 0))
        try await until { left.seen.addresses == [rightAddress] }
        try await until { right.seen.addresses == [leftAddress] }
        let report = try await left.report
        #expect(report.links == ["127.0.0.1%lo": true])
        #expect(report.neighbours == 1)
        #expect(report.refusedDatagrams == 0)
        let started = ContinuousClock.now
        await right.discovery.stop()
        try await until { left.seen.addresses.isEmpty }
        // Not by its silence.
        #expect(ContinuousClock.now - started < .milliseconds(2_000))
        await right.stop()
        await left.stop()
    }

    @Test func whoIsSilentIsGone() async throws {
        let port = try await Self.freePort()
        let finder = Finder(port: port)
        _ = try await finder.start()
        let speaker = try await Speaker(port: port)
        let announcement = NeighbourAnnouncement(
            node: NeighbourAnnouncement.randomNode(),
            lifetimeMilliseconds: 1_000,
            isDatagram: false,
            port: 9
        )
        while finder.seen.addresses.isEmpty {
            try await speaker.send(try announcement.encoded())
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(finder.seen.addresses == [.tcp(host: "127.0.0.1", port: 9)])
        try await until { finder.seen.addresses.isEmpty }
        try await speaker.channel.close()
        await finder.stop()
    }

    @Test func whoListensElsewhereOnlyHears() async throws {
        let port = try await Self.freePort()
        let (hidden, other) = (Finder(port: port), Finder(port: port))
        hidden.discovery.start(listening: [
            .unix(path: "/nowhere"), .tcp(host: "10.1.2.3", port: 1),
        ])
        let address = try await other.start()
        try await until { hidden.seen.addresses == [address] }
        let report = try await hidden.report
        #expect(report.links == ["127.0.0.1%lo": false])
        #expect(report.announcementsSent == 0)
        #expect(other.seen.addresses.isEmpty)
        await hidden.stop()
        await other.stop()
    }

    @Test func garbageIsCountedAndNoMore() async throws {
        let port = try await Self.freePort()
        let finder = Finder(port: port)
        _ = try await finder.start()
        let speaker = try await Speaker(port: port)
        try await until {
            try await speaker.send([1, 2, 3])
            return try await finder.report.refusedDatagrams > 0
        }
        try await speaker.send([])
        try await speaker.send([UInt8](repeating: 1, count: 60_000))
        try await until {
            for _ in 0..<500 { try await speaker.send(try interestWire("ccnx:/a")) }
            return try await finder.report.droppedDatagrams > 0
        }
        #expect(finder.seen.addresses.isEmpty)
        // It goes on hearing.
        let other = Finder(port: port)
        let address = try await other.start()
        try await until { finder.seen.addresses == [address] }
        try await speaker.channel.close()
        await other.stop()
        await finder.stop()
    }

    @Test func aDeviceThatIsNotThereIsNoReasonToFail() async throws {
        let node = TestNode()
        let discovery = Discovery(
            DiscoverySettings(devices: .named(["none0"])),
            table: node.table,
            changed: { _ in }
        )
        discovery.start(listening: [try await node.table.listen(on: .tcp(host: "::1", port: 0))])
        let report = try await node.table.eventLoop.submit { discovery.report }.get()
        #expect(report.links.isEmpty)
        await discovery.stop()
        await node.table.shutDown()
    }
}

/// Sends anything to the group on loopback.
private struct Speaker {
    let channel: any Channel
    private let group: SocketAddress

    init(port: Int) async throws {
        channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        group = try SocketAddress(ipAddress: DiscoverySettings.group, port: port)
    }

    func send(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(
            AddressedEnvelope(
                remoteAddress: group,
                data: channel.allocator.buffer(bytes: bytes)
            )
        )
    }
}
