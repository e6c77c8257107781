internal import Failures
internal import Foundation
internal import NIOCore

/// Frames on the control socket to values and back.
struct ControlFrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = ControlFrame

    mutating func decode(
        context: ChannelHandlerContext,
        buffer: inout ByteBuffer
    ) throws -> DecodingState {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else {
            return .needMoreData
        }
        guard length >= 1, length <= ControlFrame.lengthLimit else {
            throw Failure(.invalid, "a control frame cannot have \(length) bytes")
        }
        guard buffer.readableBytes >= 4 + Int(length) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: 4)
        let kind: UInt8? = buffer.readInteger()
        let payload = buffer.readBytes(length: Int(length) - 1) ?? []
        switch kind {
        case ControlFrame.messageKind:
            let message = try JSONDecoder().decode(ControlMessage.self, from: Data(payload))
            context.fireChannelRead(wrapInboundOut(.message(message)))
        case ControlFrame.bytesKind:
            context.fireChannelRead(wrapInboundOut(.bytes(payload)))
        default:
            throw Failure(.invalid, "there is no control frame of kind \(kind ?? 0)")
        }
        return .continue
    }
}

struct ControlFrameEncoder: MessageToByteEncoder {
    typealias OutboundIn = ControlFrame

    func encode(data frame: ControlFrame, out: inout ByteBuffer) throws {
        switch frame {
        case .message(let message):
            let json = try JSONEncoder().encode(message)
            out.writeInteger(UInt32(json.count + 1))
            out.writeInteger(ControlFrame.messageKind)
            out.writeBytes(json)
        case .bytes(let bytes):
            out.writeInteger(UInt32(bytes.count + 1))
            out.writeInteger(ControlFrame.bytesKind)
            out.writeBytes(bytes)
        }
    }
}

extension Channel {
    /// Makes a fresh channel one of control frames.
    func wrapAsControl() -> EventLoopFuture<NIOAsyncChannel<ControlFrame, ControlFrame>> {
        eventLoop.makeCompletedFuture {
            try pipeline.syncOperations.addHandlers([
                ByteToMessageHandler(ControlFrameDecoder()),
                MessageToByteHandler(ControlFrameEncoder()),
            ])
            return try NIOAsyncChannel(wrappingChannelSynchronously: self)
        }
    }
}
