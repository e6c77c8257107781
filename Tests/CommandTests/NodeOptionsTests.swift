import ArgumentParser
import CCNx
import Faces
import Failures
import Files
import Logging
import Settings
import Store
import TestSupport
import Testing

@testable import Commands
@testable import Node

struct NodeOptionsTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// What `ccnfs node WORDS` would do.
    private func configuration(_ words: [String]) throws -> NodeConfiguration {
        let command = try #require(try CCNFS.parseAsRoot(["node"] + words) as? NodeCommand)
        return try command.configuration(try command.node.settings())
    }

    private func file(_ yaml: String) throws -> String {
        let path = "\(folder.path)/ccnfs.yaml"
        try FileTree.replace(path, with: Array(yaml.utf8), permissions: 0o600)
        return path
    }

    private static let everything = """
        state: /file/state
        cache: {directory: /file/cache, limit: 1G}
        transit-cache: 1M
        vm-store: /file/vms
        listen: [tcp:file:1, tcp:file:2]
        routes: [{prefix: ccnx:/file, to: tcp:file, cost: 3}]
        peers: [tcp:file]
        trust: [{prefix: ccnx:/file, key: /file/a.pub, rights: [operate, manage]}]
        discover: {devices: [file0], port: 9700}
        mirrors: [{namespace: ccnx:/file, from: tcp:file}]
        catalogs: {interval: 5s}
        node-name: ccnx:/file/host
        faces: {limit: 16}
        compress: [tcp:file]
        accept-compression: true
        log-level: error
        """

    @Test func theFileIsTaken() throws {
        let configuration = try configuration(["--config", try file(Self.everything)])
        #expect(configuration.stateDirectory == "/file/state")
        #expect(configuration.cacheDirectory == "/file/cache")
        #expect(configuration.cacheLimit == 1 << 30)
        #expect(configuration.transitLimit == 1 << 20)
        #expect(configuration.overlayPlace == "/file/vms")
        #expect(configuration.listenAddresses.map(\.description) == ["tcp:file:1", "tcp:file:2"])
        #expect(configuration.routes.map(\.cost) == [3])
        #expect(configuration.peers.map(\.description) == ["tcp:file:9695"])
        #expect(configuration.trust.map(\.keyPath) == ["/file/a.pub"])
        #expect(configuration.trust.map(\.rights.names) == [["manage", "operate"]])
        let discovery = DiscoverySettings(devices: .named(["file0"]), port: 9_700)
        #expect(configuration.discovery == discovery)
        #expect(configuration.mirrors.map(\.source.description) == ["tcp:file:9695"])
        #expect(configuration.mirrors.map(\.intervalMilliseconds) == [60_000])
        #expect(configuration.catalogInterval == 5)
        #expect(configuration.nodeName?.uri == "ccnx:/file/host")
        #expect(!configuration.acceptsManagement)
        #expect(configuration.faces.faceCount == 16)
        #expect(configuration.faces.compressedAddresses.map(\.description) == ["tcp:file:9695"])
        #expect(configuration.faces.acceptsCompression)
    }

    @Test func optionsGoBeforeTheFile() throws {
        let configuration = try configuration([
            "--config", try file(Self.everything), "--state", "/option/state", "--cache",
            "/option/cache", "--cache-limit", "2G", "--transit-cache", "2M",
            "--vm-store", "/option/vms", "--listen", "tcp:option:1", "--route",
            "ccnx:/option=tcp:option", "--peer", "tcp:option",
            "--catalog-interval", "0.5", "--node-name", "ccnx:/option/host",
            "--accept-management", "--discover", "option0", "--discover", "option1",
        ])
        #expect(configuration.stateDirectory == "/option/state")
        #expect(configuration.cacheDirectory == "/option/cache")
        #expect(configuration.cacheLimit == 2 << 30)
        #expect(configuration.transitLimit == 2 << 20)
        #expect(configuration.overlayPlace == "/option/vms")
        #expect(configuration.listenAddresses.map(\.description) == ["tcp:option:1"])
        #expect(configuration.routes.map(\.address.description) == ["tcp:option:9695"])
        #expect(configuration.routes.map(\.cost) == [NodeConfiguration.Route.defaultCost])
        #expect(configuration.peers.map(\.description) == ["tcp:option:9695"])
        // What no option says stays the file's.
        let discovery = DiscoverySettings(devices: .named(["option0", "option1"]), port: 9_700)
        #expect(configuration.discovery == discovery)
        #expect(configuration.catalogInterval == 0.5)
        #expect(configuration.nodeName?.uri == "ccnx:/option/host")
        #expect(configuration.acceptsManagement)
        #expect(configuration.faces.faceCount == 16)
    }

    @Test func nothingIsAnAnswerAboutTheTransitCacheAlone() async throws {
        #expect(try configuration(["--transit-cache", "0"]).transitLimit == 0)
        for words in [
            ["--transit-cache", "-1"], ["--transit-cache", "much"], ["--cache-limit", "0"],
        ] {
            let refused = await failure { try configuration([words[0] + "=" + words[1]]) }
            #expect(refused?.kind == .usage)
        }
    }

    @Test func theLogLevelIsTheOptionsThenTheFiles() throws {
        let settings = try NodeSettings(path: try file(Self.everything))
        let plain = try #require(try CCNFS.parseAsRoot(["node"]) as? NodeCommand)
        #expect(try plain.global.level() == .notice)
        #expect(try plain.global.level(settings) == .error)
        let told = try CCNFS.parseAsRoot(["node", "--log-level", "debug"]) as? NodeCommand
        #expect(try told?.global.level(settings) == .debug)
    }

    @Test func aFileAfterAHyphenNeedNotBeThere() async throws {
        let path = "\(folder.path)/none.yaml"
        let configuration = try configuration(["--config=-\(path)"])
        #expect(configuration.listenAddresses.isEmpty)
        let refused = await failure { try self.configuration(["--config", path]) }
        #expect(refused?.kind == .notFound)
        let written = try file(Self.everything)
        let there = try self.configuration(["--config=-\(written)"])
        #expect(there.stateDirectory == "/file/state")
    }

    @Test func theSameOptionsAreHandedOn() throws {
        let words = [
            "--config=-\(folder.path)/none.yaml", "--listen", "tcp:a:1", "--listen", "tcp:b:1",
            "--route", "ccnx:/a=tcp:a", "--peer", "tcp:a", "--discover", "eth0",
            "--catalog-interval", "0.5",
            "--cache-limit", "2G", "--transit-cache", "0", "--vm-store", "/vms", "--accept-publish",
            "--accept-management", "--node-name", "ccnx:/a/host",
        ]
        let command = try #require(try CCNFS.parseAsRoot(["node"] + words) as? NodeCommand)
        #expect(command.node.words == words)
    }

    @Test func neighboursAreFoundWhereAnOptionSaysSo() async throws {
        #expect(try configuration([]).discovery == nil)
        let all = DiscoverySettings(devices: .all)
        #expect(try configuration(["--discover", "all"]).discovery == all)
        for wrong in [["a/b"], ["all", "eth0"]] {
            let words = wrong.flatMap { ["--discover", $0] }
            #expect(await failure { try configuration(words) }?.kind == .invalid)
        }
    }

    @Test(arguments: ["0", "-1", "nan", "inf", "86401"])
    func refusesAnIntervalThatIsNone(_ seconds: String) async {
        let refused = await failure { try configuration(["--catalog-interval=\(seconds)"]) }
        #expect(refused?.kind == .usage)
    }

    @Test func aMountTakesItsPlaceFromTheFileAndItsFlagsFromBoth() throws {
        let words = ["mount", "--no-read-only", "--config", "x"]
        let command = try #require(try CCNFS.parseAsRoot(words) as? MountCommand)
        #expect(command.mountPoint == nil)
        #expect(command.readOnly == false)
        #expect(command.allowOther == nil)
    }

    @Test func aRunningNodeReadsTheFileAnewAsItDidAtItsStart() throws {
        let path = try file(Self.everything)
        let words = ["node", "--config", path, "--peer", "tcp:option"]
        let command = try #require(try CCNFS.parseAsRoot(words) as? NodeCommand)
        let reload = try #require(command.reload)
        #expect(try reload() == command.configuration(try command.node.settings()))
        _ = try file("routes: [{prefix: ccnx:/other, to: tcp:other}]\npeers: [tcp:file]\n")
        let next = try reload()
        #expect(next.routes.map(\.prefix.uri) == ["ccnx:/other"])
        // The option still goes before the file.
        #expect(next.peers.map(\.description) == ["tcp:option:9695"])
        _ = try file("log-level: info\nrotues: []\n")
        do {
            _ = try reload()
            Issue.record("a faulty file was taken")
        } catch {
            #expect(error.kind == .configuration)
            #expect(error.message.contains("ccnfs.yaml:2:1"))
        }
    }

    @Test func withoutAFileThereIsNothingToReadAnew() throws {
        let command = try #require(try CCNFS.parseAsRoot(["node"]) as? NodeCommand)
        #expect(command.reload == nil)
    }

    @Test func theReportSaysWhatTheNodeWouldDo() throws {
        let settings = try NodeSettings(
            path: try file(Self.everything + "\nmount: {point: /ccn, allow-other: true}\n")
        )
        let command = try #require(try CCNFS.parseAsRoot(["node"]) as? NodeCommand)
        let report = ConfigurationReport(
            command.global.nodeConfiguration(settings),
            logLevel: try command.global.level(settings)
        )
        #expect(
            report.lines == [
                "state      /file/state",
                "cache      /file/cache, at most 1.0 GiB",
                "transit    at most 1.0 MiB",
                "vm-store   /file/vms",
                "mount      /ccn, other users may use it",
                "listen     tcp:file:1",
                "listen     tcp:file:2",
                "route      ccnx:/file to tcp:file:9695, cost 3",
                "peer       tcp:file:9695",
                "discover   on the links of file0, port 9700, every 10s",
                "publish    on this node only",
                "manage     on this node only",
                "node       ccnx:/file/host",
                "trust      ccnx:/file: key /file/a.pub, manage, operate",
                "mirror     ccnx:/file from tcp:file:9695, every 1m",
                "catalogs   every 5s",
                "faces      at most 16",
                "queue      8.0 MiB a face",
                "stall      30s",
                "connect    5s",
                "compress   to tcp:file:9695, if it agrees",
                "compress   with neighbours that connect and ask for it",
                "log-level  error",
            ]
        )
    }
}
