import Logging
import NIOCore
import NIOPosix

/// Keeps one outgoing face up: connects, and connects again after a pause that doubles with each
/// failure and is a little different for every node. Lives on the table's event loop.
final class FaceConnector: @unchecked Sendable {
    private let address: FaceAddress
    private let table: FaceTable
    private var failureCount = 0
    private var attemptCount = 0
    /// The last face went down without a word from the other end.
    private var wasSilent = false
    private var pause: Scheduled<Void>?
    private var channel: (any Channel)?
    private var isStopped = false

    init(address: FaceAddress, table: FaceTable) {
        self.address = address
        self.table = table
    }

    func start() {
        table.eventLoop.preconditionInEventLoop()
        guard !isStopped else { return }
        let address = address
        let table = table
        attemptCount += 1
        wasSilent = false
        let bootstrap = ClientBootstrap(group: table.eventLoop)
            .connectTimeout(.milliseconds(table.settings.connectTimeoutMilliseconds))
            .channelInitializer { channel in
                table.addHandlers(to: channel, address: address, direction: .outgoing)
            }
        let connecting =
            switch address {
            case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
            case .udp(let host, let port):
                table.connectForDatagrams(host: host, port: port, attempt: attemptCount - 1)
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            }
        connecting.hop(to: table.eventLoop).whenComplete { result in
            switch result {
            case .success(let channel): self.connected(channel)
            case .failure(let error): self.failed(error)
            }
        }
    }

    func stop() {
        table.eventLoop.preconditionInEventLoop()
        isStopped = true
        pause?.cancel()
        channel?.close(promise: nil)
    }

    /// Over UDP a face is up whether or not somebody is there: this one was not of use.
    func noteSilence() {
        table.eventLoop.preconditionInEventLoop()
        wasSilent = true
    }

    private func connected(_ channel: any Channel) {
        guard !isStopped else {
            channel.close(promise: nil)
            return
        }
        self.channel = channel
        let start = NIODeadline.now()
        let stable = TimeAmount.milliseconds(table.settings.stableMilliseconds)
        channel.closeFuture.whenComplete { _ in
            self.channel = nil
            if self.wasSilent {
                self.failureCount += 1
            } else {
                // Somebody is there: not so long a pause that whoever waits gives up.
                self.failureCount = start + stable < .now() ? 0 : min(self.failureCount + 1, 4)
            }
            self.startAfterPause()
        }
    }

    private func failed(_ error: any Error) {
        failureCount += 1
        table.logger.debug(
            "peer cannot be reached",
            metadata: ["face.address": "\(address)", "reason": "\(error)"]
        )
        startAfterPause()
    }

    private func startAfterPause() {
        guard !isStopped else { return }
        let settings = table.settings
        let doublings = min(max(failureCount - 1, 0), 20)
        let full = min(
            settings.reconnectMilliseconds << doublings,
            settings.maximumReconnectMilliseconds
        )
        // Between half and all of it.
        let milliseconds = Int64(Double(full) * (0.5 + 0.5 * table.jitter()))
        pause = table.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { self.start() }
    }
}
