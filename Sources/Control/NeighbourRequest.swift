/// What a command asks about the neighbours of a running node, or wants changed. Addresses are those of faces, such as
/// `tcp:host:9695`, prefixes URIs. What is added lasts until the node ends.
package enum NeighbourRequest: Sendable, Codable {
    case faces
    case addFace(address: String)
    /// `face`: an id or an address.
    case removeFace(face: String)
    case routes
    /// `cost`: nil for the default, or for the cost that the route has.
    case addRoute(prefix: String, address: String, cost: UInt32?)
    case removeRoute(prefix: String, address: String)
    case peers
    case addPeer(address: String)
    case removePeer(address: String)
}

package enum NeighbourResponse: Sendable, Codable {
    case faces([FaceSummary])
    case routes([RouteSummary])
    case peers([PeerSummary])
    /// False if it was there already.
    case added(Bool)
    /// `wasConfigured`: by an option or the settings file, so that the next start brings it back.
    case removed(wasConfigured: Bool)
    case facesRemoved(FacesRemoved)
}

package struct FaceSummary: Sendable, Codable {
    package enum Direction: String, Sendable, Codable { case incoming, outgoing }
    /// `local`: an application of the same machine.
    package enum Scope: String, Sendable, Codable { case local, remote }
    /// Why there is one: somebody connected to a listener; a route, a peer, a publish or a mirror wants it; the
    /// inventory of this node's VMs goes there; a command asks there; `ccnfs face add`.
    package enum Purpose: String, Sendable, Codable {
        case listener, route, peer, publish, mirror, inventory, request, added
    }

    /// Nil while it is being connected to.
    package var id: UInt64?
    package var direction: Direction
    package var address: String
    package var scope: Scope
    package var purposes: [Purpose]
    /// Nil while it is being connected to.
    package var traffic: Traffic?
    /// Whether both ends agreed to compress packets.
    package var isCompressed: Bool

    /// Since the face came up.
    package struct Traffic: Sendable, Codable {
        package var upSeconds: Int
        package var packetsReceived: Int
        package var bytesReceived: Int
        package var packetsSent: Int
        package var bytesSent: Int
        /// Bytes that went over the connection for those packets: fewer where they were compressed.
        package var linkBytesReceived: Int
        package var linkBytesSent: Int
        package var packetsDropped: Int

        package init(
            upSeconds: Int,
            packetsReceived: Int,
            bytesReceived: Int,
            packetsSent: Int,
            bytesSent: Int,
            linkBytesReceived: Int,
            linkBytesSent: Int,
            packetsDropped: Int
        ) {
            self.upSeconds = upSeconds
            self.packetsReceived = packetsReceived
            self.bytesReceived = bytesReceived
            self.packetsSent = packetsSent
            self.bytesSent = bytesSent
            self.linkBytesReceived = linkBytesReceived
            self.linkBytesSent = linkBytesSent
            self.packetsDropped = packetsDropped
        }
    }

    package init(
        id: UInt64?,
        direction: Direction,
        address: String,
        scope: Scope,
        purposes: [Purpose],
        traffic: Traffic?,
        isCompressed: Bool
    ) {
        self.id = id
        self.direction = direction
        self.address = address
        self.scope = scope
        self.purposes = purposes
        self.traffic = traffic
        self.isCompressed = isCompressed
    }
}

package struct RouteSummary: Sendable, Codable {
    package var prefix: String
    package var address: String
    package var cost: UInt32
    /// By an option or the settings file; false for what a command added.
    package var isConfigured: Bool
    /// Whether there is a face to it.
    package var isUp: Bool

    package init(prefix: String, address: String, cost: UInt32, isConfigured: Bool, isUp: Bool) {
        self.prefix = prefix
        self.address = address
        self.cost = cost
        self.isConfigured = isConfigured
        self.isUp = isUp
    }
}

package struct PeerSummary: Sendable, Codable {
    package var address: String
    /// By an option or the settings file; false for what a command added, and for what was found.
    package var isConfigured: Bool
    /// It announces itself on the local link, and nobody named it here.
    package var isFound: Bool
    /// Whether there is a face to it.
    package var isUp: Bool

    package init(address: String, isConfigured: Bool, isFound: Bool, isUp: Bool) {
        self.address = address
        self.isConfigured = isConfigured
        self.isFound = isFound
        self.isUp = isUp
    }
}

package struct FacesRemoved: Sendable, Codable {
    /// Those that were up and are closed.
    package var ids: [UInt64]
    /// A route, a peer or a publish wants the neighbour: it is connected to again.
    package var comesBack: Bool

    package init(ids: [UInt64], comesBack: Bool) {
        self.ids = ids
        self.comesBack = comesBack
    }
}
