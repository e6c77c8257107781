internal import Control
internal import Faces
internal import NIOCore

/// Neighbours that are found on the local link.
extension PacketExchange {
    /// On the event loop.
    ///
    /// - Parameter addresses: where this node listens.
    func discover(
        _ settings: DiscoverySettings,
        _ table: FaceTable,
        _ addresses: [FaceAddress]
    ) -> Discovery {
        let discovery = Discovery(settings, table: table) { [weak self] in self?.take(found: $0) }
        discovery.start(listening: addresses)
        return discovery
    }

    /// They are asked as peers, but for those that this node is connected to under another spelling of their
    /// addresses, such as a host's name.
    private func take(found neighbours: Set<FaceAddress>) {
        loop.preconditionInEventLoop()
        let named = table?.addressesOfNamedNeighbours ?? []
        var table = routes.table
        guard table.setFound(neighbours.subtracting(named)) else { return }
        apply(table)
    }
}

extension NodeStatus.DiscoveryReport {
    init(_ report: Discovery.Report) {
        self.init(
            links: report.links.sorted { $0.key < $1.key }
                .map { Link(address: $0.key, isAnnounced: $0.value) },
            neighbours: report.neighbours,
            announcementsSent: report.announcementsSent,
            announcementsHeard: report.announcementsHeard,
            refusedDatagrams: report.refusedDatagrams,
            refusedNeighbours: report.refusedNeighbours,
            droppedDatagrams: report.droppedDatagrams
        )
    }
}
