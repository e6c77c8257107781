package import CCNx
package import Failures

/// What a ``FaceTable`` tells its owner, always on the table's event loop.
package protocol FaceEvents: AnyObject, Sendable {
    func faceUp(_ face: Face)
    func received(_ packet: DecodedPacket, on face: FaceId)
    /// Once for each ``faceUp(_:)``. No `failure` if the neighbour or we closed it in order.
    func faceDown(_ face: FaceId, because failure: Failure?)
}
