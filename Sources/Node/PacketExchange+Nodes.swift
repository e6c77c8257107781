internal import CCNx
internal import Faces
internal import Failures
internal import Fetching
internal import Forwarding
internal import Logging
internal import Management
internal import NIOCore

/// Routes to nodes that reported, and who is asked about names.
extension PacketExchange {
    func carryOut(_ changes: [InventoryBook.RouteChange]) {
        if changes.isEmpty { return }
        gate.execute {
            for change in changes {
                switch change {
                case .add(let node, let face): self.addRoute(node, face)
                case .remove(let node, let face): self.removeRoute(node, face)
                }
            }
        }
    }

    private func addRoute(_ node: Name, _ face: FaceId) {
        // It may be down by now: its node reports again.
        guard address(of: face) != nil else { return }
        do throws(Failure) {
            try forwarder.addRoute(node, to: face, cost: NodeConfiguration.Route.defaultCost)
        } catch {
            logger.warning("route not taken", metadata: ["prefix": "\(node)", "cause": "\(error)"])
        }
    }

    private func removeRoute(_ node: Name, _ face: FaceId) {
        // One that this node was told of as well stays.
        let told = address(of: face).map { routes.table.routes(to: $0) } ?? []
        guard !told.contains(where: { $0.prefix == node }) else { return }
        forwarder.removeRoute(node, to: face)
    }

    /// The face that leads to a neighbour now; nil while it is down.
    func face(of source: FetchScheduler.SourceId) async -> FaceId? {
        await gate.submit { self.own.scheduler.sources[source]?.face } ?? nil
    }

    /// Where routes for the name lead, those for the longest prefix and of the lowest cost first.
    func repositories(of name: Name) -> [FaceAddress] {
        let found = routes.table.allRoutes.map(\.route).filter { name.hasPrefix($0.prefix) }.sorted
        {
            ($1.prefix.segments.count, $0.cost) < ($0.prefix.segments.count, $1.cost)
        }
        return Self.unique(found.map(\.address))
    }

    /// Where any route leads.
    var repositories: [FaceAddress] { Self.unique(routes.table.allRoutes.map(\.route.address)) }

    private static func unique(_ addresses: [FaceAddress]) -> [FaceAddress] {
        var seen: Set<FaceAddress> = []
        return addresses.filter { seen.insert($0).inserted }
    }
}
