import CCNx
import Failures
import Logging
import NIOCore
import NIOPosix

/// Announces this node on its local links, and keeps up who else is there.
///
/// Devices are looked at before each announcement, so that one which appears, or whose address changes, is announced on
/// within an interval. A node that hears a new one announces itself soon, so that whoever comes knows all within a second.
///
/// Concurrency: on the table's event loop, except where it says otherwise; each access checks that.
package final class Discovery: @unchecked Sendable {
    package struct Report: Hashable, Sendable {
        /// Addresses of this machine with their devices, and whether this node is announced there.
        package var links: [String: Bool] = [:]
        package var neighbours = 0
        package var announcementsSent = 0
        package var announcementsHeard = 0
        /// What was no announcement, or came from elsewhere than the link.
        package var refusedDatagrams = 0
        /// Neighbours that were too many.
        package var refusedNeighbours = 0
        /// More than are looked at.
        package var droppedDatagrams = 0
    }

    private enum Socket {
        case opening
        case open(any Channel)
    }

    private let table: FaceTable
    private let settings: DiscoverySettings
    private let node: [UInt8]
    private let changed: @Sendable (Set<FaceAddress>) -> Void
    private var listeners: [LocalLink.Listener] = []
    private var sockets: [LocalLink: Socket] = [:]
    /// What the log has of each link that is there.
    private var told: [LocalLink: String] = [:]
    private var found: FoundNeighbours
    private var pace = Pace(atOnce: heardAtOnce, thenEachMilliseconds: heardPauseMilliseconds)
    private var counts = Report()
    private var announcing: (task: Scheduled<Void>, time: NIODeadline)?
    private var lastAnnounced: NIODeadline?
    private var expiry: Scheduled<Void>?
    private var isHidden = false
    private var isStopped = false

    /// Datagrams that are looked at; 64 neighbours send some 7 in a second.
    private static let heardAtOnce: UInt64 = 400
    private static let heardPauseMilliseconds: UInt64 = 5
    /// A new neighbour is answered within this time, so that not all do it at once.
    private static let answerMilliseconds = 500.0
    /// Between two announcements: that of the shortest interval, so that answers do not come faster either.
    private static let shortestPause = TimeAmount.milliseconds(800)

    /// - Parameters:
    ///   - table: whose event loop, log and jitter are used; it is not changed.
    ///   - node: the id of this node, another one at each start.
    ///   - changed: called on the event loop with all neighbours whenever these are others, and from time to time.
    package init(
        _ settings: DiscoverySettings,
        table: FaceTable,
        node: [UInt8] = NeighbourAnnouncement.randomNode(),
        changed: @escaping @Sendable (Set<FaceAddress>) -> Void
    ) {
        self.settings = settings
        self.table = table
        self.node = node
        self.changed = changed
        found = FoundNeighbours(node: node)
    }

    /// From anywhere. Begins to announce this node, and to hear others.
    ///
    /// - Parameter addresses: where it listens, with the ports that were bound.
    package func start(listening addresses: [FaceAddress]) {
        let resolving = addresses.compactMap { address -> EventLoopFuture<LocalLink.Listener?>? in
            switch address {
            case .tcp(let host, let port), .udp(let host, let port):
                listener(host, port, isDatagram: address.isDatagram)
            case .unix: nil
            }
        }
        EventLoopFuture.whenAllSucceed(resolving, on: table.eventLoop).whenSuccess { listeners in
            self.listeners = listeners.compactMap(\.self)
            self.announce()
        }
    }

    /// A name has an address here: it was listened on.
    private func listener(
        _ host: String,
        _ port: Int,
        isDatagram: Bool
    ) -> EventLoopFuture<LocalLink.Listener?> {
        table.resolve(host, port: port)
            .map { LocalLink.Listener(address: $0[0], isDatagram: isDatagram) }
            .flatMapErrorThrowing { _ in nil }
    }

    /// From anywhere. Says goodbye, and closes the sockets.
    package func stop() async {
        let closing = table.eventLoop.flatSubmit {
            self.isStopped = true
            self.announcing?.task.cancel()
            self.expiry?.cancel()
            self.send(lifetimeMilliseconds: 0)
            let channels = self.openSockets.map(\.channel)
            for channel in channels { channel.close(promise: nil) }
            return EventLoopFuture.andAllComplete(
                channels.map(\.closeFuture),
                on: self.table.eventLoop
            )
        }
        // Fails only if the loop ends, and they with it.
        try? await closing.get()
    }

    /// On the event loop.
    package var report: Report {
        table.eventLoop.preconditionInEventLoop()
        var report = counts
        report.neighbours = found.addresses.count
        for (link, _) in openSockets {
            report.links["\(link)"] = link.listener(of: listeners) != nil
        }
        return report
    }

    private var openSockets: [(link: LocalLink, channel: any Channel)] {
        sockets.compactMap { link, socket in
            if case .open(let channel) = socket { (link: link, channel: channel) } else { nil }
        }
    }

    // MARK: Announcing

    private func announce() {
        table.eventLoop.preconditionInEventLoop()
        guard !isStopped else { return }
        lookAtDevices()
        send(lifetimeMilliseconds: settings.lifetimeMilliseconds)
        lastAnnounced = .now()
        announcing = nil
        announce(in: .milliseconds(Int64(settings.pauseMilliseconds(table.jitter()))))
        // What else is connected to may have changed.
        changed(found.addresses)
    }

    /// At the latest, but for the shortest pause.
    private func announce(in pause: TimeAmount) {
        let time = max(.now() + pause, (lastAnnounced ?? .distantPast) + Self.shortestPause)
        if let announcing {
            guard time < announcing.time else { return }
            announcing.task.cancel()
        }
        let task = table.eventLoop.scheduleTask(deadline: time) { self.announce() }
        announcing = (task: task, time: time)
    }

    private func send(lifetimeMilliseconds: Int) {
        for (link, channel) in openSockets {
            send(on: link, channel, lifetimeMilliseconds: lifetimeMilliseconds)
        }
    }

    private func send(on link: LocalLink, _ channel: any Channel, lifetimeMilliseconds: Int) {
        guard let announcement = announcement(on: link, lifetimeMilliseconds: lifetimeMilliseconds),
            let group = try? link.group(port: settings.port),
            let packet = try? announcement.encoded()
        else { return }
        counts.announcementsSent += 1
        let buffer = channel.allocator.buffer(bytes: packet)
        channel.writeAndFlush(
            AddressedEnvelope(remoteAddress: group, data: buffer),
            promise: nil
        )
    }

    /// Nil if this node listens nowhere that it is reached at over the link.
    private func announcement(
        on link: LocalLink,
        lifetimeMilliseconds: Int
    ) -> NeighbourAnnouncement? {
        guard let listener = link.listener(of: listeners), let port = listener.address.port else {
            return nil
        }
        return NeighbourAnnouncement(
            node: node,
            lifetimeMilliseconds: lifetimeMilliseconds,
            isDatagram: listener.isDatagram,
            port: port
        )
    }

    // MARK: Links

    private func lookAtDevices() {
        let links: Set<LocalLink>
        do {
            links = Set(try LocalLink.all(of: settings.devices))
        } catch {
            table.logger.info("network devices not listed", metadata: ["reason": "\(error)"])
            return
        }
        for (link, channel) in openSockets where !links.contains(link) {
            channel.close(promise: nil)
        }
        told = told.filter { links.contains($0.key) }
        warnIfHidden(links)
        for link in links where sockets[link] == nil { open(link) }
    }

    /// Who wants to be found should know that he is not.
    private func warnIfHidden(_ links: Set<LocalLink>) {
        let wasHidden = isHidden
        isHidden = links.allSatisfy { $0.listener(of: listeners) == nil }
        guard isHidden, !wasHidden else { return }
        table.logger.warning(
            "announced to no neighbours: this node listens at no address of the devices",
            metadata: ["devices": "\(settings.devices)", "links": "\(links.count)"]
        )
    }

    private func open(_ link: LocalLink) {
        sockets[link] = .opening
        DiscoverySocket.open(on: link, port: settings.port, table.eventLoop) {
            self.received($0, on: link)
        }
        .whenComplete { result in
            switch result {
            case .success(let channel): self.opened(link, channel)
            case .failure(let error):
                self.sockets[link] = nil
                let reason = Failure(transport: error, "neighbours cannot be looked for")
                self.tell(link, .warning, "no neighbours are looked for", "\(reason)")
            }
        }
    }

    private func opened(_ link: LocalLink, _ channel: any Channel) {
        guard !isStopped else {
            channel.close(promise: nil)
            return
        }
        sockets[link] = .open(channel)
        // NIO closes a socket on which sending failed; the next announcement opens another.
        channel.closeFuture.whenComplete { _ in self.sockets[link] = nil }
        let lifetime = settings.lifetimeMilliseconds
        if let announcement = announcement(on: link, lifetimeMilliseconds: lifetime) {
            tell(link, .info, "announced to neighbours", "\(announcement.address(at: link.host))")
        } else {
            tell(
                link,
                .info,
                "not announced to neighbours",
                "no listener of it is reached there"
            )
        }
        send(on: link, channel, lifetimeMilliseconds: lifetime)
    }

    /// Once, as long as it is the same.
    private func tell(
        _ link: LocalLink,
        _ level: Logger.Level,
        _ what: Logger.Message,
        _ why: String
    ) {
        guard told.updateValue(why, forKey: link) != why else { return }
        table.logger.log(level: level, what, metadata: ["link": "\(link)", "reason": "\(why)"])
    }

    // MARK: Hearing

    private static var now: UInt64 { NIODeadline.now().uptimeNanoseconds / 1_000_000 }

    private func received(_ datagram: AddressedEnvelope<ByteBuffer>, on link: LocalLink) {
        table.eventLoop.preconditionInEventLoop()
        guard !isStopped else { return }
        let now = Self.now
        guard pace.admits(now: now) else {
            counts.droppedDatagrams += 1
            return
        }
        guard let host = link.host(of: datagram.remoteAddress),
            let announcement = NeighbourAnnouncement(Array(datagram.data.readableBytesView))
        else {
            counts.refusedDatagrams += 1
            return
        }
        let address = announcement.address(at: host)
        switch found.hear(announcement, from: host, now: now) {
        case .own: return
        case .known: counts.announcementsHeard += 1
        case .refused: counts.refusedNeighbours += 1
        case .new:
            counts.announcementsHeard += 1
            log("neighbour found", address)
            changed(found.addresses)
            announce(in: .milliseconds(Int64(Self.answerMilliseconds * table.jitter())))
        case .left:
            counts.announcementsHeard += 1
            log("neighbour left", address)
            changed(found.addresses)
        }
        scheduleExpiry()
    }

    private func scheduleExpiry() {
        expiry?.cancel()
        guard let end = found.nextEnd else { return }
        let now = Self.now
        let pause = Int64(end > now ? end - now : 0)
        expiry = table.eventLoop.scheduleTask(in: .milliseconds(pause)) { self.expire() }
    }

    private func expire() {
        guard !isStopped else { return }
        let before = found.addresses
        found.expire(now: Self.now)
        for address in before.subtracting(found.addresses) { log("neighbour is silent", address) }
        if found.addresses != before { changed(found.addresses) }
        scheduleExpiry()
    }

    private func log(_ what: Logger.Message, _ address: FaceAddress) {
        table.logger.info(what, metadata: ["face.address": "\(address)"])
    }
}
