import CCNx
import Failures
import Logging
import NIOCore

/// The end of a face's pipeline: takes packets out of their envelopes where there are any, decodes them and reports
/// them to the table.
///
/// A malformed packet ends the face, because whoever sends one will send more; a packet of a type that
/// is not spoken here is dropped.
final class FaceHandler: ChannelInboundHandler {
    typealias InboundIn = [UInt8]

    private let table: FaceTable
    private let address: FaceAddress
    private let direction: Face.Direction
    private let progress: FrameProgress
    private let compression: FaceCompression?
    private var face: FaceId?
    private var failure: Failure?

    init(
        table: FaceTable,
        address: FaceAddress,
        direction: Face.Direction,
        progress: FrameProgress,
        compression: FaceCompression?
    ) {
        self.table = table
        self.address = address
        self.direction = direction
        self.progress = progress
        self.compression = compression
    }

    func channelActive(context: ChannelHandlerContext) {
        face = table.add(
            .stream(context.channel, progress),
            compression: compression,
            address: address,
            direction: direction
        )
        if face == nil { context.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let face, failure == nil else { return }
        do throws(Failure) {
            try received(unwrapInboundIn(data), on: face)
        } catch  where error.kind == .unsupported {
            table.logger.debug(
                "peer sent a packet of another type",
                metadata: ["face.id": "\(face)"]
            )
        } catch {
            end(context, because: error)
        }
    }

    private func received(_ wire: [UInt8], on face: FaceId) throws(Failure) {
        let packet = try PacketDecoder.decode(try compression?.incoming(wire) ?? wire)
        table.noteReceived(packet, linkByteCount: wire.count, on: face)
        switch try compression?.received(packet.packet) ?? .other {
        case .other: table.handOn(packet, from: face)
        case .taken: break
        case .answer(let answer): if table.send(answer, on: face) { compression?.noteAnswered() }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(context, because: Failure(transport: error, "face to \(address) failed"))
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let face { table.remove(face, because: failure) }
        face = nil
        context.fireChannelInactive()
    }

    private func end(_ context: ChannelHandlerContext, because reason: Failure) {
        guard failure == nil else { return }
        failure = reason
        if let face {
            table.logger.info(
                "face closed after an error",
                metadata: [
                    "face.id": "\(face)", "face.address": "\(address)", "reason": "\(reason)",
                ]
            )
        }
        context.close(promise: nil)
    }
}
