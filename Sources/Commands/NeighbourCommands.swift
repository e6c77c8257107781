internal import ArgumentParser
internal import CCNx
internal import Control
internal import Faces
internal import Failures

struct FaceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "face",
        abstract: "See the connections of the running node, make and close some.",
        subcommands: [List.self, Add.self, Remove.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List faces: those that are up, and neighbours that are being connected to.",
            discussion: """
                FOR says why a face is there: somebody connected to a listener; a route, a peer, a
                publish or a mirror wants it; the inventory of this node's VMs goes there; a request
                of another command does; ccnfs face add did. IN and OUT count packets and their bytes
                since it came up; LINK says, where packets are compressed, how many bytes went over
                the connection.

                EXAMPLES
                  ccnfs face list
                  ccnfs face list --json
                """
        )

        @OptionGroup var global: GlobalOptions

        func run() async throws {
            guard case .faces(let faces) = try await global.performAtNode(.faces) else {
                throw GlobalOptions.otherAnswer
            }
            if global.json { return try Output.json(faces) }
            Output.table(
                ["ID", "", "ADDRESS", "SCOPE", "UP", "IN", "OUT", "LINK", "FOR"],
                faces.map(Self.row)
            )
        }

        private static func row(_ face: FaceSummary) -> [String] {
            let traffic = face.traffic
            return [
                face.id.map(String.init) ?? "-",
                face.direction == .outgoing ? "to" : "from",
                face.address,
                face.scope.rawValue,
                traffic.map { "\($0.upSeconds) s" } ?? "connecting",
                traffic.map { text($0.packetsReceived, $0.bytesReceived) } ?? "-",
                traffic.map { text($0.packetsSent, $0.bytesSent) } ?? "-",
                link(face),
                face.purposes.map(\.rawValue).joined(separator: ", "),
            ]
        }

        private static func text(_ packets: Int, _ bytes: Int) -> String {
            "\(packets) (\(ByteCount.text(bytes)))"
        }

        private static func link(_ face: FaceSummary) -> String {
            guard let traffic = face.traffic else { return "-" }
            guard face.isCompressed else { return "plain" }
            let received = ByteCount.text(traffic.linkBytesReceived)
            let sent = ByteCount.text(traffic.linkBytesSent)
            return "zstd: \(received) in, \(sent) out"
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Connect to a neighbour and stay connected until the node ends.",
            discussion: """
                Nothing is asked of it, but it can ask over this connection; for more: ccnfs route add,
                ccnfs peer add. What is there already stays as it is.

                EXAMPLE
                  ccnfs face add tcp:host2.mycorp.com:9695
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: AddressArgument.help) var address: String

        func run() async throws {
            let address = try FaceAddress(address).description
            try await global.add(
                .addFace(address: address),
                "face to \(address)",
                toKeep: "routes or peers, which connect"
            )
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Close a face.",
            discussion: """
                A neighbour that something else wants, such as a route, is connected to again at once,
                which the command says. One that connected here may come back too.

                EXAMPLES
                  ccnfs face remove 12
                  ccnfs face remove tcp:host2.mycorp.com:9695
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "An id or an address of ccnfs face list.") var face: String

        func run() async throws {
            let answer = try await global.performAtNode(.removeFace(face: face))
            guard case .facesRemoved(let removed) = answer else { throw GlobalOptions.otherAnswer }
            if global.json { return try Output.json(removed) }
            for id in removed.ids { Output.line("face \(id) is closed") }
            if removed.ids.isEmpty { Output.line("\(face) is connected to no more") }
            if removed.comesBack {
                Output.line("it comes back: something else wants it, see ccnfs face list")
            }
        }
    }
}

struct RouteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "route",
        abstract: "See and change whom the running node asks for which names.",
        subcommands: [List.self, Add.self, Remove.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List routes, and whether there is a face to each.",
            discussion: """
                EXAMPLE
                  ccnfs route list
                """
        )

        @OptionGroup var global: GlobalOptions

        func run() async throws {
            guard case .routes(let routes) = try await global.performAtNode(.routes) else {
                throw GlobalOptions.otherAnswer
            }
            if global.json { return try Output.json(routes) }
            Output.table(
                ["PREFIX", "ADDRESS", "COST", "FROM", "FACE"],
                routes.map { route in
                    [
                        route.prefix, route.address, "\(route.cost)",
                        Origin.text(route.isConfigured), route.isUp ? "up" : "down",
                    ]
                }
            )
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask a node for names under a prefix, until this node ends.",
            discussion: """
                It is connected to, and the catalog of the prefix's namespace is followed, at once. A
                route that is there already gets the cost, if one is named.

                EXAMPLES
                  ccnfs route add ccnx:/mycorp.com tcp:repo.mycorp.com:9695
                  ccnfs route add ccnx:/mycorp.com tcp:relay.mycorp.com:9695 --cost 20
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "Names that begin with this, such as ccnx:/mycorp.com.") var prefix: String
        @Argument(help: AddressArgument.help) var address: String
        @Option(help: "Of several routes of one prefix the lowest is asked first. (default: 10)")
        var cost: UInt32?

        func run() async throws {
            let prefix = try Name(uri: prefix).uri
            let address = try FaceAddress(address).description
            try await global.add(
                .addRoute(prefix: prefix, address: address, cost: cost),
                "route for \(prefix) to \(address)",
                toKeep: "routes"
            )
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask a node no more for names under a prefix.",
            discussion: """
                Reads that only that node could serve end with an error; what is here goes on. One of the
                settings file comes back at the next start, or when the file is read anew.

                EXAMPLE
                  ccnfs route remove ccnx:/mycorp.com tcp:repo.mycorp.com:9695
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "As ccnfs route list shows it.") var prefix: String
        @Argument(help: "As ccnfs route list shows it.") var address: String

        func run() async throws {
            let prefix = try Name(uri: prefix).uri
            let address = try FaceAddress(address).description
            try await global.remove(
                .removeRoute(prefix: prefix, address: address),
                "route for \(prefix) to \(address)"
            )
        }
    }
}

struct PeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peer",
        abstract: "See and change which nodes near by the running node asks first.",
        subcommands: [List.self, Add.self, Remove.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List peers, and whether there is a face to each.",
            discussion: """
                FROM says who named a peer: the settings, or a command at run time; or that it was
                found, since it announces itself on the local link.

                EXAMPLE
                  ccnfs peer list
                """
        )

        @OptionGroup var global: GlobalOptions

        func run() async throws {
            guard case .peers(let peers) = try await global.performAtNode(.peers) else {
                throw GlobalOptions.otherAnswer
            }
            if global.json { return try Output.json(peers) }
            Output.table(
                ["ADDRESS", "FROM", "FACE"],
                peers.map { peer in
                    [
                        peer.address,
                        peer.isFound ? "found" : Origin.text(peer.isConfigured),
                        peer.isUp ? "up" : "down",
                    ]
                }
            )
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask a node near by before repositories, until this node ends.",
            discussion: """
                EXAMPLE
                  ccnfs peer add tcp:host2.mycorp.com:9695
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: AddressArgument.help) var address: String

        func run() async throws {
            let address = try FaceAddress(address).description
            try await global.add(
                .addPeer(address: address),
                "peer \(address)",
                toKeep: "peers"
            )
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask a node near by no more.",
            discussion: """
                EXAMPLE
                  ccnfs peer remove tcp:host2.mycorp.com:9695
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "As ccnfs peer list shows it.") var address: String

        func run() async throws {
            let address = try FaceAddress(address).description
            try await global.remove(.removePeer(address: address), "peer \(address)")
        }
    }
}

private enum Origin {
    static func text(_ isConfigured: Bool) -> String { isConfigured ? "settings" : "run time" }
}

extension GlobalOptions {
    /// - Parameters:
    ///   - what: names what is added.
    ///   - toKeep: the keys of the settings file under which it outlives the node.
    fileprivate func add(
        _ request: NeighbourRequest,
        _ what: String,
        toKeep keys: String
    ) async throws(Failure) {
        struct Added: Encodable { let added: Bool }
        guard case .added(let isNew) = try await performAtNode(request) else {
            throw Self.otherAnswer
        }
        if json { return try Output.json(Added(added: isNew)) }
        guard isNew else { return Output.line("\(what): there already, nothing is changed") }
        Output.line("\(what): added until the node ends")
        Output.line("to keep it: \(keys), in the settings file")
    }

    fileprivate func remove(_ request: NeighbourRequest, _ what: String) async throws(Failure) {
        struct Removed: Encodable { let wasConfigured: Bool }
        guard case .removed(let wasConfigured) = try await performAtNode(request) else {
            throw Self.otherAnswer
        }
        if json { return try Output.json(Removed(wasConfigured: wasConfigured)) }
        Output.line("\(what): removed")
        if wasConfigured {
            Output.line("it comes back at the next start: the settings name it")
        }
    }
}
