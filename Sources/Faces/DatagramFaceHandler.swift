import CCNx
import Failures
import NIOCore

/// The pipeline of a UDP socket that is connected to a neighbour: decodes packets and reports them to the
/// table.
///
/// What is malformed is dropped, since whoever forges the neighbour's address could send it. A refusal,
/// which the neighbour's machine sends when nobody listens there, ends the face.
final class DatagramFaceHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let table: FaceTable
    private let address: FaceAddress
    private var face: FaceId?
    private var failure: Failure?

    init(table: FaceTable, address: FaceAddress) {
        self.table = table
        self.address = address
    }

    func channelActive(context: ChannelHandlerContext) {
        face = table.add(.datagrams(context.channel), address: address, direction: .outgoing)
        if face == nil { context.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let face, failure == nil else { return }
        let datagram = unwrapInboundIn(data)
        let content = Datagram(Array(datagram.data.readableBytesView))
        table.count(content, from: datagram.remoteAddress)
        if case .packet(let packet) = content { table.received(packet, on: face) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard failure == nil else { return }
        failure = Failure(transport: error, "face to \(address) failed")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let face { table.remove(face, because: failure) }
        face = nil
        context.fireChannelInactive()
    }
}
