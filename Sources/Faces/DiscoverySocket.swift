import NIOCore
import NIOPosix

/// Sockets that hear the group of all nodes on one link, and speak to it there.
///
/// Each is bound to the group's own address: what is sent to this machine, from wherever, does not come to it, and it is
/// in the way of nobody. Several nodes of a machine have one each, and the kernel gives each of them what comes.
enum DiscoverySocket {
    /// IP_MULTICAST_ALL of Linux: by default a socket hears its group on devices that others have joined it on.
    private static let multicastAll = NIOBSDSocket.Option(rawValue: 49)
    /// No router passes it on.
    private static let hopCount = 1

    /// - Parameter received: called on the event loop.
    static func open(
        on link: LocalLink,
        port: Int,
        _ loop: any EventLoop,
        received: @escaping @Sendable (AddressedEnvelope<ByteBuffer>) -> Void
    ) -> EventLoopFuture<any Channel> {
        let group: SocketAddress
        do {
            group = try link.group(port: port)
        } catch { return loop.makeFailedFuture(error) }
        return DatagramBootstrap(group: loop)
            .channelOption(.socketOption(.so_reuseaddr), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DiscoveryHandler(received))
                }
            }
            .bind(to: group)
            .hop(to: loop)
            .flatMap { channel in
                join(channel, group, on: link)
                    .map { channel }
                    .flatMapErrorThrowing { error in
                        channel.close(promise: nil)
                        throw error
                    }
            }
    }

    private static func join(
        _ channel: any Channel,
        _ group: SocketAddress,
        on link: LocalLink
    ) -> EventLoopFuture<Void> {
        guard let multicast = channel as? any MulticastChannel,
            let options = channel as? any SocketOptionProvider
        else { return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported) }
        return sendHere(channel, options, link)
            .flatMap { multicast.joinGroup(group, device: link.device) }
    }

    private static func sendHere(
        _ channel: any Channel,
        _ options: any SocketOptionProvider,
        _ link: LocalLink
    ) -> EventLoopFuture<Void> {
        if let number = link.number {
            // An in_addr is the four bytes of an address; Swift sees no fields of NIO's.
            let address = number.bigEndian
            let ownOnly = ChannelOptions.Types.SocketOption(level: .ip, name: multicastAll)
            return channel.setOption(ownOnly, value: 0)
                .flatMap {
                    options.unsafeSetSocketOption(
                        level: .ip,
                        name: .ip_multicast_if,
                        value: address
                    )
                }
                .flatMap { options.setIPMulticastTTL(CUnsignedChar(hopCount)) }
        }
        // Bound to a group of link-local scope it hears that link only.
        return options.setIPv6MulticastIF(CUnsignedInt(link.device.interfaceIndex))
            .flatMap { options.setIPv6MulticastHops(CInt(hopCount)) }
    }
}

private final class DiscoveryHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let received: @Sendable (AddressedEnvelope<ByteBuffer>) -> Void

    init(_ received: @escaping @Sendable (AddressedEnvelope<ByteBuffer>) -> Void) {
        self.received = received
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received(unwrapInboundIn(data))
    }

    /// If it is the end of the socket, that is told by its closing.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
