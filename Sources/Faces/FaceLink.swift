import Failures
import NIOCore

/// What carries the packets of one face. Used on the table's event loop.
enum FaceLink {
    /// A stream, of which packets are cut.
    case stream(any Channel, FrameProgress)
    /// A UDP socket of its own, connected to the neighbour.
    case datagrams(any Channel)
    /// A UDP socket that it shares with all neighbours who came there.
    case shared(DatagramListener, SocketAddress)

    /// Queues a packet until ``flush()``; over a shared socket it is sent as soon as there is room.
    func write(_ wire: [UInt8]) -> EventLoopFuture<Void> {
        switch self {
        case .stream(let channel, _):
            // A buffer takes a power of two: in two pieces, a segment with its head takes little more than it has.
            let head = wire.count - wire.count.largestPowerOfTwo
            if head > 0 {
                channel.write(channel.allocator.buffer(bytes: wire[..<head]), promise: nil)
            }
            return channel.write(channel.allocator.buffer(bytes: wire[head...]))
        case .datagrams(let channel):
            return channel.write(channel.allocator.buffer(bytes: wire))
        case .shared(let listener, let address):
            return listener.write(wire, to: address)
        }
    }

    func flush() {
        switch self {
        case .stream(let channel, _), .datagrams(let channel): channel.flush()
        case .shared: break
        }
    }

    /// Of a socket that others share it cannot be stopped for one.
    func setReading(_ isReading: Bool) {
        switch self {
        case .stream(let channel, _), .datagrams(let channel):
            channel.setOption(.autoRead, value: isReading).whenFailure { _ in }
        case .shared: break
        }
    }

    /// Ends the face in order.
    func close() {
        switch self {
        case .stream(let channel, _), .datagrams(let channel): channel.close(promise: nil)
        case .shared(let listener, let address): listener.end(address, because: nil)
        }
    }

    /// Ends the face, because of something that went wrong.
    func fail(_ failure: Failure) {
        switch self {
        case .stream(let channel, _), .datagrams(let channel):
            channel.pipeline.fireErrorCaught(failure)
        case .shared(let listener, let address): listener.end(address, because: failure)
        }
    }

    /// Nil if it is not of this face alone.
    var ownChannel: (any Channel)? {
        switch self {
        case .stream(let channel, _), .datagrams(let channel): channel
        case .shared: nil
        }
    }

    /// Since when the neighbour is in the midst of a packet.
    var insideSince: NIODeadline? {
        if case .stream(_, let progress) = self { progress.insideSince } else { nil }
    }

    var isDatagram: Bool {
        if case .stream = self { false } else { true }
    }
}

extension Int {
    /// Of a number above 0: the largest power of two that is not above it.
    fileprivate var largestPowerOfTwo: Int { 1 << (Int.bitWidth - 1 - leadingZeroBitCount) }
}
