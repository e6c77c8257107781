import CCNx
import NIOCore

/// Cuts a stream into packets by their PacketLength. Keeps less than one packet, and gives up at the
/// first header that cannot be followed, because nothing after it can be found again.
struct PacketFrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = [UInt8]

    let maximumPacketLength: Int
    let progress: FrameProgress

    mutating func decode(
        context: ChannelHandlerContext,
        buffer: inout ByteBuffer
    ) throws -> DecodingState {
        guard let header = buffer.getInteger(at: buffer.readerIndex, as: UInt64.self) else {
            progress.note(isInside: buffer.readableBytes > 0)
            return .needMoreData
        }
        let packetLength = try PacketFraming.packetLength(
            header: header,
            maximum: maximumPacketLength
        )
        guard let bytes = buffer.readBytes(length: packetLength) else {
            progress.note(isInside: true)
            return .needMoreData
        }
        progress.note(isInside: false)
        context.fireChannelRead(wrapInboundOut(bytes))
        return .continue
    }

    /// The neighbour ends the stream. Half a packet at its end is lost with it.
    mutating func decodeLast(
        context: ChannelHandlerContext,
        buffer: inout ByteBuffer,
        seenEOF: Bool
    ) throws -> DecodingState {
        let state = try decode(context: context, buffer: &buffer)
        if case .needMoreData = state { buffer.clear() }
        return state
    }
}

/// Since when a face is in the midst of a packet. Lives on its event loop.
final class FrameProgress {
    private(set) var insideSince: NIODeadline?

    func note(isInside: Bool) {
        guard isInside else { return insideSince = nil }
        if insideSince == nil { insideSince = .now() }
    }
}
