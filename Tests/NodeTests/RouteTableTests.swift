import CCNx
import Faces
import Failures
import Fetching
import TestSupport
import Testing

@testable import Node

struct RouteTableTests {
    private static let prefix = TestNode.namespace
    private static let longer = prefix.appending([.name("app1")])
    private static let other = Name(segments: [.name("other.org")])
    private static let here = FaceAddress.tcp(host: "here", port: 1)
    private static let there = FaceAddress.tcp(host: "there", port: 1)

    @Test func knowsWhatEachNeighbourIsFor() throws {
        var table = RouteTable(
            routes: [.init(prefix: Self.prefix, address: Self.here, cost: 3)],
            peers: [Self.here, Self.there]
        )
        // Both: like a repository.
        #expect(table.kind(of: Self.here) == .repository([.init(prefix: Self.prefix, cost: 3)]))
        #expect(table.kind(of: Self.there) == .peer)
        #expect(table.addresses == [Self.here, Self.there])
        _ = try table.removeRoute(Self.prefix, Self.here)
        #expect(table.kind(of: Self.here) == .peer)
        _ = try table.removePeer(Self.here)
        #expect(table.kind(of: Self.here) == nil)
        #expect(table.addresses == [Self.there])
    }

    @Test func hasASourceForWhatARouteLeadsToAndWithAPeerForAll() throws {
        var table = RouteTable()
        #expect(!table.hasSource(for: Self.longer))
        #expect(try table.addRoute(Self.prefix, Self.here, cost: nil))
        #expect(table.hasSource(for: Self.longer))
        #expect(!table.hasSource(for: Self.other))
        #expect(try table.addPeer(Self.there))
        #expect(table.hasSource(for: Self.other))
    }

    @Test func takesWhatIsThereAlreadyForDone() throws {
        var table = RouteTable(routes: [.init(prefix: Self.prefix, address: Self.here)])
        let before = table
        #expect(try !table.addRoute(Self.prefix, Self.here, cost: nil))
        #expect(try !table.addRoute(Self.prefix, Self.here, cost: 10))
        #expect(table == before)
        // It stays when the route goes.
        #expect(try table.addFace(Self.here))
        #expect(try !table.addFace(Self.here))
        #expect(try table.addRoute(Self.prefix, Self.here, cost: 4))
        #expect(table.routes(to: Self.here).map(\.cost) == [4])
        // The cost that it has stays.
        #expect(try !table.addRoute(Self.prefix, Self.here, cost: nil))
    }

    @Test func refusesWhatIsNotThereAndWhatIsTooMuch() throws {
        var table = RouteTable()
        #expect(kind { _ = try table.removeRoute(Self.prefix, Self.here) } == .notFound)
        #expect(kind { _ = try table.removePeer(Self.here) } == .notFound)
        let long = Name(segments: (0..<33).map { .name("\($0)") })
        #expect(kind { _ = try table.addRoute(long, Self.here, cost: nil) } == .tooLarge)
        for port in 0..<RouteTable.limit { _ = try table.addPeer(.tcp(host: "host", port: port)) }
        #expect(kind { _ = try table.addPeer(Self.here) } == .tooLarge)
        #expect(kind { _ = try table.addFace(Self.here) } == .tooLarge)
        #expect(kind { _ = try table.addRoute(Self.prefix, Self.here, cost: 1) } == .tooLarge)
    }

    @Test func settingsReadAnewLeaveAloneWhatCommandsAdded() throws {
        var table = RouteTable(
            routes: [.init(prefix: Self.prefix, address: Self.here)],
            peers: [Self.here]
        )
        _ = try table.addRoute(Self.other, Self.there, cost: 7)
        _ = try table.addPeer(Self.there)
        table.configure(routes: [.init(prefix: Self.longer, address: Self.here)], peers: [])
        #expect(table.allRoutes.map(\.route.prefix) == [Self.longer, Self.other])
        #expect(table.allRoutes.map(\.origin) == [.configured, .runTime])
        #expect(table.peers.map(\.address) == [Self.there])
        // The settings name it by now: it is theirs, and goes with them.
        table.configure(routes: [.init(prefix: Self.other, address: Self.there)], peers: [])
        #expect(table.allRoutes.map(\.route.cost) == [NodeConfiguration.Route.defaultCost])
        table.configure(routes: [], peers: [])
        #expect(table.allRoutes.isEmpty)
    }

    @Test func whoIsFoundIsAPeerBesideThoseThatAreNamed() throws {
        var table = RouteTable(peers: [Self.here])
        let isNew = [Self.here, Self.there].map { table.setFound([Self.here, $0]) }
        #expect(isNew == [true, true])
        let isNewAgain = table.setFound([Self.there, Self.here])
        #expect(!isNewAgain)
        #expect(table.peers.map(\.origin) == [.configured, .found])
        #expect(table.kind(of: Self.there) == .peer)
        #expect(table.addresses == [Self.here, Self.there])
        #expect(table.hasSource(for: Self.prefix))
        #expect(kind { _ = try table.removePeer(Self.there) } == .notPermitted)
        // A command names it, and does not any more.
        #expect(try table.addPeer(Self.there))
        #expect(table.peers.map(\.origin) == [.configured, .runTime])
        #expect(try table.removePeer(Self.there) == .runTime)
        #expect(table.peers.map(\.origin) == [.configured, .found])
        // The settings do not name the other any more.
        table.configure(routes: [], peers: [])
        #expect(table.peers.map(\.origin) == [.found, .found])
        _ = table.setFound([])
        #expect(table.peers.isEmpty)
        #expect(table.addresses.isEmpty)
        #expect(!table.hasSource(for: Self.prefix))
    }

    @Test func whoIsFoundIsAskedLikeARepositoryWhereARouteOrAPublishWantsThat() throws {
        var table = RouteTable()
        _ = table.setFound([Self.here])
        table.hold(Self.here, for: .publish)
        #expect(table.kind(of: Self.here) == .repository([]))
        table.release(Self.here, for: .publish)
        #expect(table.kind(of: Self.here) == .peer)
        _ = try table.addRoute(Self.prefix, Self.here, cost: 3)
        #expect(table.kind(of: Self.here) == .repository([.init(prefix: Self.prefix, cost: 3)]))
        _ = table.setFound([])
        #expect(table.addresses == [Self.here])
    }

    @Test func followsTheNamespacesOfItsPrefixes() throws {
        var table = RouteTable()
        _ = try table.addRoute(Self.longer, Self.here, cost: nil)
        _ = try table.addRoute(Self.prefix, Self.there, cost: nil)
        // Everything has no catalog.
        _ = try table.addRoute(Name(segments: []), Self.there, cost: nil)
        #expect(table.namespaces == [Self.prefix])
        _ = try table.removeRoute(Self.prefix, Self.there)
        #expect(table.namespaces == [Self.prefix])
        _ = try table.removeRoute(Self.longer, Self.here)
        #expect(table.namespaces.isEmpty)
    }

    @Test func keepsAnAddressForAsLongAsSomebodyHoldsIt() {
        var table = RouteTable()
        table.hold(Self.here, for: .request)
        table.hold(Self.here, for: .request)
        #expect(table.kind(of: Self.here) == .repository([]))
        // Nothing else is asked for there.
        #expect(!table.hasSource(for: Self.prefix))
        table.release(Self.here, for: .request)
        #expect(table.addresses == [Self.here])
        table.release(Self.here, for: .request)
        #expect(table.addresses.isEmpty)
        #expect(table.kind(of: Self.here) == nil)
        table.release(Self.here, for: .request)
        #expect(table == RouteTable())
    }
    @Test func tellsWhatAnAddressIsHeldFor() {
        var table = RouteTable()
        for purpose in RouteTable.Purpose.allCases.reversed() {
            table.hold(Self.here, for: purpose)
            table.hold(Self.here, for: purpose)
        }
        #expect(table.purposes(of: Self.here) == RouteTable.Purpose.allCases)
        #expect(table.purposes(of: Self.there).isEmpty)
        table.release(Self.here, for: .inventory)
        #expect(table.purposes(of: Self.here).contains(.inventory))
        table.release(Self.here, for: .inventory)
        #expect(table.purposes(of: Self.here) == [.publish, .mirror, .request])
        // What nobody holds it for cannot be released.
        table.release(Self.here, for: .inventory)
        for purpose in RouteTable.Purpose.allCases {
            for _ in 0..<2 { table.release(Self.here, for: purpose) }
        }
        #expect(table == RouteTable())
    }
}
