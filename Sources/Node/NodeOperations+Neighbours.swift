internal import CCNx
internal import Control
internal import Faces
internal import Failures

/// `ccnfs face`, `route` and `peer`: what a running node is told of its neighbours.
extension NodeOperations {
    func perform(_ request: NeighbourRequest) async throws(Failure) -> NeighbourResponse {
        guard !isStandalone else {
            throw Failure(.unavailable, "there is no running node whose neighbours these would be")
        }
        switch request {
        case .faces: return .faces(try await faceSummaries())
        case .addFace(let address):
            let address = try FaceAddress(address)
            return .added(
                try await exchange.changeRoutes { (table) throws(Failure) in
                    try table.addFace(address)
                }
            )
        case .removeFace(let face): return .facesRemoved(try await removeFaces(face))
        case .routes: return .routes(try await routeSummaries())
        case .addRoute(let prefix, let address, let cost):
            let (prefix, address) = (try Name(uri: prefix), try FaceAddress(address))
            return .added(
                try await exchange.changeRoutes { (table) throws(Failure) in
                    try table.addRoute(prefix, address, cost: cost)
                }
            )
        case .removeRoute(let prefix, let address):
            let (prefix, address) = (try Name(uri: prefix), try FaceAddress(address))
            let origin = try await exchange.changeRoutes { (table) throws(Failure) in
                try table.removeRoute(prefix, address)
            }
            return .removed(wasConfigured: origin == .configured)
        case .peers: return .peers(try await peerSummaries())
        case .addPeer(let address):
            let address = try FaceAddress(address)
            return .added(
                try await exchange.changeRoutes { (table) throws(Failure) in
                    try table.addPeer(address)
                }
            )
        case .removePeer(let address):
            let address = try FaceAddress(address)
            let origin = try await exchange.changeRoutes { (table) throws(Failure) in
                try table.removePeer(address)
            }
            return .removed(wasConfigured: origin == .configured)
        }
    }

    // MARK: Faces

    private func faceSummaries() async throws(Failure) -> [FaceSummary] {
        let table = exchange.routes.table
        return try await exchange.faceReports().map { report in
            let isIncoming = report.face?.direction == .incoming
            return FaceSummary(
                id: report.face?.id.number,
                direction: isIncoming ? .incoming : .outgoing,
                address: report.address.description,
                scope: report.address.scope == .local ? .local : .remote,
                purposes: isIncoming ? [.listener] : Self.purposes(of: report.address, table),
                traffic: report.traffic.map(FaceSummary.Traffic.init),
                isCompressed: report.isCompressed
            )
        }
    }

    private static func purposes(
        of address: FaceAddress,
        _ table: RouteTable
    ) -> [FaceSummary.Purpose] {
        var purposes: [FaceSummary.Purpose] = []
        if !table.routes(to: address).isEmpty { purposes.append(.route) }
        if table.isPeer(address) { purposes.append(.peer) }
        purposes += table.purposes(of: address).map(FaceSummary.Purpose.init)
        if table.isAdded(address) { purposes.append(.added) }
        return purposes
    }

    private func removeFaces(_ text: String) async throws(Failure) -> FacesRemoved {
        let choice: PacketExchange.FaceChoice =
            if let number = UInt64(text) {
                .id(FaceId(number))
            } else {
                .address(try FaceAddress(text))
            }
        let removed = try await exchange.removeFaces(choice)
        return FacesRemoved(ids: removed.faces.map(\.id.number), comesBack: removed.comeBack)
    }

    // MARK: Routes and peers

    private func routeSummaries() async throws(Failure) -> [RouteSummary] {
        let connected = try await connectedAddresses()
        return exchange.routes.table.allRoutes.map { route, origin in
            RouteSummary(
                prefix: route.prefix.uri,
                address: route.address.description,
                cost: route.cost,
                isConfigured: origin == .configured,
                isUp: connected.contains(route.address)
            )
        }
    }

    private func peerSummaries() async throws(Failure) -> [PeerSummary] {
        let connected = try await connectedAddresses()
        return exchange.routes.table.peers.map { address, origin in
            PeerSummary(
                address: address.description,
                isConfigured: origin == .configured,
                isFound: origin == .found,
                isUp: connected.contains(address)
            )
        }
    }

    private func connectedAddresses() async throws(Failure) -> Set<FaceAddress> {
        let reports = try await exchange.faceReports()
        return Set(reports.filter { $0.face?.direction == .outgoing }.map(\.address))
    }
}

extension FaceSummary.Traffic {
    fileprivate init(_ traffic: FaceTraffic) {
        self.init(
            upSeconds: traffic.upSeconds,
            packetsReceived: traffic.packetsReceived,
            bytesReceived: traffic.bytesReceived,
            packetsSent: traffic.packetsSent,
            bytesSent: traffic.bytesSent,
            linkBytesReceived: traffic.linkBytesReceived,
            linkBytesSent: traffic.linkBytesSent,
            packetsDropped: traffic.packetsDropped
        )
    }
}

extension FaceSummary.Purpose {
    fileprivate init(_ purpose: RouteTable.Purpose) {
        self =
            switch purpose {
            case .publish: .publish
            case .mirror: .mirror
            case .inventory: .inventory
            case .request: .request
            }
    }
}
