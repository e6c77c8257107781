import CCNx
package import Failures
package import NIOCore

/// Cuts a stream into packets by their PacketLength. Keeps less than one packet, and gives up at the
/// first header that cannot be followed, because nothing after it can be found again. No I/O, no clock.
package struct PacketFramer: Sendable {
    private let maximumPacketLength: Int

    package init(maximumPacketLength: Int) { self.maximumPacketLength = maximumPacketLength }

    /// - Parameter buffer: what has come and was not taken yet; a whole packet is taken from it.
    /// - Returns: nil until more has come.
    package func nextPacket(from buffer: inout ByteBuffer) throws(Failure) -> [UInt8]? {
        guard let header = buffer.getInteger(at: buffer.readerIndex, as: UInt64.self) else {
            return nil
        }
        let packetLength = try PacketFraming.packetLength(
            header: header,
            maximum: maximumPacketLength
        )
        return buffer.readBytes(length: packetLength)
    }
}

/// Hands on the packets of a stream as they are complete.
struct PacketFrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = [UInt8]

    let framer: PacketFramer
    let progress: FrameProgress

    mutating func decode(
        context: ChannelHandlerContext,
        buffer: inout ByteBuffer
    ) throws -> DecodingState {
        guard let bytes = try framer.nextPacket(from: &buffer) else {
            progress.note(isInside: buffer.readableBytes > 0)
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
