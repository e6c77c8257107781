import CCNx
import Faces
import Failures
import Files
import Logging
import Settings
import Store
import TestSupport
import Testing

struct NodeSettingsTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func settings(_ yaml: String) throws -> NodeSettings {
        let path = "\(folder.path)/node.yaml"
        try FileTree.replace(path, with: Array(yaml.utf8), permissions: 0o600)
        return try NodeSettings(path: path)
    }

    @Test func readsEverythingThatAFileMaySay() throws {
        let settings = try settings(
            """
            # A node of a LAN
            state: /var/lib/ccnfs
            cache: {directory: /var/cache/ccnfs, limit: 50G}
            transit-cache: 2G
            vm-store: /srv/vms
            mount: {point: /ccn, read-only: true, allow-other: yes}
            listen: [tcp:127.0.0.1:9695, udp:127.0.0.1, unix:/run/ccnfs/face.sock]
            routes:
              - {prefix: ccnx:/mycorp.com, to: tcp:repo.mycorp.com:9695, cost: 7}
              - prefix: ccnx:/other.com
                to: tcp:[::1]
            peers:
              - tcp:host2:9695
            discover: {devices: [eth0, br0], port: 9700, interval: 5s}
            accept-publish: true
            accept-management: true
            node-name: ccnx:/mycorp.com/nodes/host1
            trust:
              - {prefix: ccnx:/mycorp.com, key: /etc/ccnfs/publisher.pub}
              - {prefix: ccnx:/mycorp.com, key: admin.pub, rights: [manage, operate]}
            mirrors:
              - {namespace: ccnx:/mycorp.com, from: tcp:repo.mycorp.com}
              - {namespace: ccnx:/other.com, from: tcp:repo.other.com, interval: 5m}
            catalogs: {interval: 2500ms}
            faces: {limit: 16, queue: 1M, stall: 1m, connect-timeout: 7s}
            compress: [tcp:host2, unix:/s]
            accept-compression: true
            log-level: info
            """
        )
        #expect(settings.stateDirectory == "/var/lib/ccnfs")
        #expect(settings.cacheDirectory == "/var/cache/ccnfs")
        #expect(settings.cacheLimit == 50 << 30)
        #expect(settings.transitLimit == 2 << 30)
        #expect(settings.overlayPlace == "/srv/vms")
        #expect(settings.mountPoint == "/ccn")
        #expect(settings.isReadOnly == true)
        #expect(settings.allowsOthers == true)
        #expect(
            settings.listenAddresses?.map(\.description)
                == ["tcp:127.0.0.1:9695", "udp:127.0.0.1:9695", "unix:/run/ccnfs/face.sock"]
        )
        let routes = [
            NodeSettings.Route(
                prefix: try Name(uri: "ccnx:/mycorp.com"),
                address: .tcp(host: "repo.mycorp.com", port: 9_695),
                cost: 7
            ),
            NodeSettings.Route(
                prefix: try Name(uri: "ccnx:/other.com"),
                address: .tcp(host: "::1", port: 9_695)
            ),
        ]
        #expect(settings.routes == routes)
        #expect(settings.peers?.map(\.description) == ["tcp:host2:9695"])
        let discovery = DiscoverySettings(
            devices: .named(["eth0", "br0"]),
            port: 9_700,
            intervalMilliseconds: 5_000
        )
        #expect(settings.discovery == discovery)
        #expect(settings.acceptsPublishing == true)
        #expect(settings.acceptsManagement == true)
        #expect(settings.nodeName?.uri == "ccnx:/mycorp.com/nodes/host1")
        let trust = [
            NodeSettings.Trust(
                prefix: try Name(uri: "ccnx:/mycorp.com"),
                keyPath: "/etc/ccnfs/publisher.pub",
                rights: .publish
            ),
            NodeSettings.Trust(
                prefix: try Name(uri: "ccnx:/mycorp.com"),
                keyPath: "\(folder.path)/admin.pub",
                rights: [.manage, .operate]
            ),
        ]
        #expect(settings.trust == trust)
        let mirrors = [
            NodeSettings.Mirror(
                namespace: try Name(uri: "ccnx:/mycorp.com"),
                source: .tcp(host: "repo.mycorp.com", port: 9_695)
            ),
            NodeSettings.Mirror(
                namespace: try Name(uri: "ccnx:/other.com"),
                source: .tcp(host: "repo.other.com", port: 9_695),
                intervalMilliseconds: 300_000
            ),
        ]
        #expect(settings.mirrors == mirrors)
        #expect(settings.catalogIntervalMilliseconds == 2_500)
        #expect(settings.faces.faceCount == 16)
        #expect(settings.faces.queuedByteCount == 1 << 20)
        #expect(settings.faces.stallMilliseconds == 60_000)
        #expect(settings.faces.connectTimeoutMilliseconds == 7_000)
        #expect(settings.compressedAddresses?.map(\.description) == ["tcp:host2:9695", "unix:/s"])
        #expect(settings.acceptsCompression == true)
        #expect(settings.logLevel == .info)
    }

    @Test func takesNothingForAnAnswerAboutTheTransitCache() throws {
        #expect(try settings("transit-cache: 0\n").transitLimit == 0)
        #expect(throws: Failure.self) { try settings("transit-cache: -1\n") }
        #expect(throws: Failure.self) { try settings("cache: {limit: 0}\n") }
    }

    @Test(arguments: ["", "# nothing\n", "---\n", "{}\n", "state:\nlisten: ~\nmount:\nfaces: {}\n"])
    func saysNothingWhereTheFileSaysNothing(_ yaml: String) throws {
        let settings = try settings(yaml)
        #expect(settings.stateDirectory == nil)
        #expect(settings.cacheLimit == nil)
        #expect(settings.mountPoint == nil)
        #expect(settings.listenAddresses == nil)
        #expect(settings.acceptsManagement == nil)
        #expect(settings.nodeName == nil)
        #expect(settings.compressedAddresses == nil)
        #expect(settings.acceptsCompression == nil)
        #expect(settings.routes == nil)
        #expect(settings.trust == nil)
        #expect(settings.faces == FaceSettings())
        #expect(settings.logLevel == nil)
    }

    @Test func anEmptyListIsSomethingThatIsSaid() throws {
        let settings = try settings("listen: []\nroutes: []\npeers: []\n")
        #expect(settings.listenAddresses == [])
        #expect(settings.routes == [])
        #expect(settings.peers == [])
    }

    @Test func neighboursAreFoundOnDevicesThatAreNamedOnly() throws {
        #expect(try settings("state: /a\n").discovery == nil)
        #expect(try settings("discover: []\n").discovery == nil)
        #expect(try settings("discover: {devices: [], port: 1}\n").discovery == nil)
        #expect(try settings("discover: all\n").discovery == DiscoverySettings(devices: .all))
        let one = DiscoverySettings(devices: .named(["eth0"]))
        #expect(try settings("discover: eth0\n").discovery == one)
        #expect(try settings("discover: [eth0]\n").discovery == one)
        #expect(try settings("discover: {devices: eth0}\n").discovery == one)
    }

    @Test func pathsAreBesideTheFile() throws {
        let settings = try settings(
            """
            state: state
            cache: {directory: ../cache}
            vm-store: /srv/vms
            mount: {point: ccn}
            """
        )
        #expect(settings.stateDirectory == "\(folder.path)/state")
        #expect(settings.cacheDirectory == "\(folder.path)/../cache")
        #expect(settings.overlayPlace == "/srv/vms")
        #expect(settings.mountPoint == "\(folder.path)/ccn")
    }

    @Test(
        arguments: [
            // Keys
            ("listn: [tcp:a]\n", "1:1: there is no key listn"),
            ("mount: {point: /ccn, readOnly: true}\n", "1:22: there is no key mount.readOnly"),
            (
                "routes:\n  - {prefix: ccnx:/a, to: tcp:h, cots: 1}\n",
                "2:34: there is no key routes.cots"
            ),
            ("? [a]\n: b\n", "1:3: a key must be text"),
            (
                "state: /a\ncache: {limit: 1G}\nstate: /b\n",
                "1:1: the key state stands more than once"
            ),
            ("mirrors:\n  - from: tcp:h\n", "2:5: mirrors.namespace is missing"),
            ("mirrors:\n  - namespace: ccnx:/a\n", "2:5: mirrors.from is missing"),
            (
                "mirrors:\n  - {namespace: ccnx:/a/b, from: tcp:h}\n",
                "2:17: mirrors.namespace: ccnx:/a/b is no namespace"
            ),
            (
                "mirrors:\n  - {namespace: ccnx:/localhost, from: tcp:h}\n",
                "2:17: mirrors.namespace: ccnx:/localhost is no namespace"
            ),
            (
                "mirrors:\n  - {namespace: ccnx:/a, from: tcp:h, interval: 1ms}\n",
                "2:49: mirrors.interval must be from 1s to 24h"
            ),
            (
                "mirrors:\n  - {namespace: ccnx:/a, from: tcp:h}\n"
                    + "  - {namespace: ccnx:/a, from: tcp:i}\n",
                "3:5: ccnx:/a is mirrored twice"
            ),
            ("routes:\n  - to: tcp:h\n", "2:5: routes.prefix is missing"),
            ("trust:\n  - key: a.pub\n", "2:5: trust.prefix is missing"),
            ("trust:\n  - prefix: ccnx:/a\n", "2:5: trust.key is missing"),
            (
                "trust:\n  - {prefix: 'ccnx:/', key: a.pub}\n",
                "2:5: a key cannot be trusted for every name there is"
            ),
            (
                "trust:\n  - {prefix: ccnx:/a, key: a.pub, rights: [read]}\n",
                "2:44: trust.rights: there is no right read; these are: publish, manage, operate, node"
            ),
            (
                "trust:\n  - {prefix: ccnx:/a, key: a.pub, rights: []}\n",
                "2:43: trust.rights must have one right at least"
            ),
            (
                "trust:\n  - {prefix: ccnx:/a, key: a.pub, right: manage}\n",
                "2:35: there is no key trust.right"
            ),
            ("routes:\n  - prefix: ccnx:/a\n", "2:5: routes.to is missing"),
            ("discover: {port: 9696}\n", "1:11: discover.devices is missing"),
            ("discover: {device: eth0}\n", "1:12: there is no key discover.device"),
            // Kinds
            ("state: [a]\n", "1:8: state must be text, and is a list"),
            ("cache: /c\n", "1:8: cache must be a mapping of keys to values, and is text"),
            ("listen: tcp:h\n", "1:9: listen must be a list, and is text"),
            (
                "routes: {prefix: ccnx:/a, to: tcp:h}\n",
                "1:9: routes must be a list, and is a mapping"
            ),
            ("peers: [tcp:a, ~]\n", "1:16: peers must be text, and is empty"),
            (
                "mount: {read-only: maybe}\n",
                "1:20: mount.read-only must be true or false, and is text"
            ),
            (
                "mount: {allow-other: 'true'}\n",
                "1:22: mount.allow-other must be true or false, and is text"
            ),
            ("- a\n- b\n", "1:1: the file must be a mapping of keys to values, and is a list"),
            ("just text\n", "1:1: the file must be a mapping of keys to values, and is text"),
            // Values
            ("state: ''\n", "1:8: state must be a path"),
            (
                "listen: [tcp:127.0.0.1:9695, tcp:host:99999]\n",
                "1:30: listen: face address 'tcp:host:99999' has a port that is not a number up to 65535"
            ),
            (
                "peers:\n  - tcp:[::1]:9695\n  - 'tcp:'\n",
                "3:5: peers: face address 'tcp:' has no host"
            ),
            (
                "routes:\n  - prefix: mycorp.com\n    to: tcp:h\n",
                "2:13: routes.prefix: name 'mycorp.com' does not begin with ccnx:/"
            ),
            (
                "routes:\n  - prefix: ccnx:/a\n    to: tcp:h\n    cost: -1\n",
                "4:11: routes.cost must be a number from 0 to 4294967295"
            ),
            ("discover: a/b\n", "1:11: discover: 'a/b' is no name of a network device"),
            ("discover: [eth0, all]\n", "1:11: discover: all network devices and named ones too"),
            (
                "discover:\n  devices: [eth0]\n  port: 0\n",
                "3:9: discover.port must be a number from 1 to 65535"
            ),
            (
                "discover: {devices: all, interval: 10ms}\n",
                "1:36: discover.interval must be from 1s to 5m"
            ),
            ("cache: {limit: 50Q}\n", "1:16: cache.limit: \"50Q\" is no size"),
            ("cache: {limit: 0}\n", "1:16: cache.limit: \"0\" is no size"),
            (
                "compress: [tcp:a, udp:b]\n",
                "1:19: compress: packets over UDP are not compressed"
            ),
            (
                "accept-compression: zstd\n",
                "1:21: accept-compression must be true or false, and is text"
            ),
            ("faces: {limit: many}\n", "1:16: faces.limit must be a number from 1 to 65536"),
            ("faces: {limit: 0}\n", "1:16: faces.limit must be a number from 1 to 65536"),
            ("faces: {queue: 1K}\n", "1:16: faces.queue must be from 64K to 64M"),
            ("faces: {stall: 30}\n", "1:16: faces.stall: \"30\" is no time"),
            (
                "faces: {connect-timeout: 2h}\n",
                "1:26: faces.connect-timeout must be from 1ms to 1h"
            ),
            (
                "catalogs: {interval: 1ms}\n",
                "1:22: catalogs.interval must be from 100ms to 24h"
            ),
            (
                "node-name: ccnx:/mycorp.com\n",
                "1:12: node-name: ccnx:/mycorp.com cannot name a node: it has fewer than 2 segments"
            ),
            ("log-level: loud\n", "1:12: log-level: there is no log level loud"),
            // The first in the file
            ("state: [a]\nlistn: []\n", "1:8: state must be text, and is a list"),
            ("listn: []\nstate: [a]\n", "1:1: there is no key listn"),
        ] as [(String, String)]
    )
    func saysWhatIsWrongAndWhere(yaml: String, message: String) async {
        let refused = await failure { try settings(yaml) }
        #expect(refused?.kind == .configuration)
        #expect(refused?.message == "\(folder.path)/node.yaml:\(message)")
        #expect(refused?.cause == nil)
    }

    /// What libyaml says; the words are its own.
    @Test(
        arguments: [
            ("listen: [tcp:a\n", "2:1: "), ("state: /a\n\tcache: {}\n", "2:1: "),
            ("listen: [tcp:[::1]:9695]\n", "1:13: "), ("state: /a\n---\nstate: /b\n", "2:1: "),
            ("state: \"\u{1}\"\n", "1:9: "), ("a: *b\n", "1:4: "),
        ])
    func saysWhereTheFileIsNoYAML(yaml: String, place: String) async {
        let refused = await failure { try settings(yaml) }
        #expect(refused?.kind == .configuration)
        #expect(refused?.message.hasPrefix("\(folder.path)/node.yaml:\(place)") == true)
        #expect(refused?.message.contains("\n") == false)
    }

    @Test(
        arguments: [
            ("listn: []", "did you mean listen? "), ("Listen: []", "did you mean listen? "),
            ("route: []", "did you mean routes? "), ("vmstore: /a", "did you mean vm-store? "),
            ("log_level: info", "did you mean log-level? "),
            ("log: info", "did you mean log-level? "),
            ("frobnicate: 1", ""),
        ])
    func aNearMissIsGuessed(yaml: String, guess: String) async {
        let refused = await failure { try settings(yaml) }
        let keys =
            "state, cache, transit-cache, vm-store, mount, listen, routes, peers, discover, mirrors, catalogs, faces, "
            + "compress, accept-compression, accept-publish, accept-management, node-name, trust, log-level"
        #expect(refused?.hint == "\(guess)the keys are \(keys)")
    }

    @Test func aFileThatIsNotThereIsNotFound() async {
        let refused = await failure { try NodeSettings(path: "\(folder.path)/none.yaml") }
        #expect(refused?.kind == .notFound)
    }

    /// Each line that is commented out in the sample is one that may be taken in.
    @Test func theSampleIsReadAsItStandsAndWithItsExamples() throws {
        let sample = "\(Self.repository)/Mounts/ccnfs.yaml"
        let plain = try NodeSettings(path: sample)
        #expect(plain.stateDirectory == nil)
        #expect(plain.listenAddresses == nil)
        #expect(plain.faces == FaceSettings())

        let text = String(decoding: try FileTree.bytes(of: sample), as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let examples = lines.map { $0.hasPrefix("#") && !$0.hasPrefix("# ") ? $0.dropFirst() : $0 }
        let full = try settings(examples.joined(separator: "\n"))
        #expect(full.stateDirectory == "/var/lib/ccnfs")
        #expect(full.cacheLimit != nil)
        #expect(full.overlayPlace != nil)
        #expect(full.mountPoint == "/ccn")
        #expect(full.listenAddresses?.isEmpty == false)
        #expect(full.routes?.isEmpty == false)
        #expect(full.peers?.isEmpty == false)
        #expect(full.acceptsPublishing == false)
        #expect(full.acceptsManagement == false)
        #expect(full.nodeName != nil)
        #expect(full.trust?.isEmpty == false)
        #expect(full.mirrors?.isEmpty == false)
        #expect(full.catalogIntervalMilliseconds == 2_000)
        #expect(full.faces == FaceSettings(), "the sample shows the defaults")
        #expect(full.compressedAddresses?.isEmpty == false)
        #expect(full.acceptsCompression == false)
        #expect(full.logLevel == .notice)
    }

    private static let repository = #filePath.split(separator: "/").dropLast(3)
        .reduce("") { "\($0)/\($1)" }
}
