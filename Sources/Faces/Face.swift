package import CCNx

/// A connection to a neighbour that is up.
package struct Face: Hashable, Sendable {
    package enum Direction: Hashable, Sendable {
        /// The neighbour connected to us.
        case incoming
        /// We connected to it, and will again when it is lost.
        case outgoing
    }

    package let id: FaceId
    /// Where we connected to or, if incoming, where the neighbour comes from; of a Unix socket that is
    /// the path we listen on.
    package let address: FaceAddress
    package let direction: Direction
    /// Bytes of the largest packet that the neighbour is sent.
    package let packetLimit: Int

    package var scope: FaceScope { address.scope }
}
