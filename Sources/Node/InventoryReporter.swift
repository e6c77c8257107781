internal import CCNx
internal import Control
internal import Disks
internal import Faces
internal import Failures
internal import Fetching
internal import Files
internal import Logging
internal import Management
internal import Signing
internal import Synchronization

/// Tells one repository which VMs this node has: at once when they change or the connection is a new one,
/// else at intervals.
struct InventoryReporter {
    let node: Name
    let key: PrivateKey
    let exchange: PacketExchange
    let source: FetchScheduler.SourceId
    private var serial: UInt64 = 0
    private var last: Report?

    /// What was told last.
    private struct Report {
        let machines: [Inventory.Machine]
        let face: FaceId
        let time: ContinuousClock.Instant
    }

    private static let patience: UInt64 = 5_000
    private static let claimed = Mutex<UInt64>(0)

    init(
        of node: Name,
        to repository: FetchScheduler.SourceId,
        key: PrivateKey,
        _ exchange: PacketExchange
    ) {
        self.node = node
        self.key = key
        self.exchange = exchange
        source = repository
    }

    /// Reports if there is a reason to.
    ///
    /// - Throws: why the repository does not take it.
    mutating func report(_ machines: [Inventory.Machine]) async throws(Failure) {
        guard let face = await exchange.face(of: source) else { return }
        if let last, last.face == face, Self.look(last.machines) == Self.look(machines),
            ContinuousClock.now - last.time < .seconds(Inventory.interval)
        {
            return
        }
        try await send(machines)
        last = Report(machines: machines, face: face, time: .now)
    }

    /// What is written all the time is no reason.
    private static func look(_ machines: [Inventory.Machine]) -> [Inventory.Machine] {
        machines.map { machine in
            var machine = machine
            for index in machine.disks.indices { machine.disks[index].writtenBytes = 0 }
            return machine
        }
    }

    private mutating func send(_ machines: [Inventory.Machine]) async throws(Failure) {
        let now = WallClock.nanoseconds
        // Higher than before, also if the clock was put back; and no other reporter's, whose name would be the same.
        let own = Self.claimed.withLock { last in
            last = max(last + 1, UInt64(now / 1_000_000))
            return last
        }
        serial = max(serial + 1, own)
        let parts = try Inventory.signedParts(
            of: machines,
            node: node,
            serial: serial,
            now: now / 1_000_000_000,
            with: key
        )
        for (number, part) in parts.enumerated() {
            let name = ManagementName.report(
                namespace: node.prefix(1),
                key: key.publicKey.keyId,
                serial: serial,
                part: UInt64(number)
            ).name
            let answer = try await exchange.fetch(
                name,
                lane: .reader,
                patience: Self.patience,
                of: source,
                payload: part
            ).get()
            switch try InventoryReply(json: answer.payload) {
            case .taken: break
            case .older(let newest):
                let highest = Inventory.highestSerial(now: now / 1_000_000_000)
                guard newest < highest else {
                    throw Failure(.invalid, "the repository tells of a report that cannot be")
                }
                serial = max(serial, newest)
                throw Failure(.busy, "the repository knows a later report of \(node)")
            case .refused(let failure): throw failure.failure
            }
        }
    }
}

extension NodeOperations {
    private static let look = Duration.seconds(1)
    private static let pauseAfterRefusal = Duration.seconds(5)

    /// Tells the repositories of this node's name which VMs it has, until it is cancelled. Those change with the
    /// routes.
    func reportInventory() async {
        guard let node = configuration.nodeName else { return }
        var reports: [FaceAddress: Task<Void, Never>] = [:]
        if exchange.repositories(of: node).isEmpty {
            logger.warning(
                "no route leads to a repository of this node's name",
                metadata: ["name": "\(node)"]
            )
        }
        while !Task.isCancelled {
            let repositories = Set(exchange.repositories(of: node))
            for (address, report) in reports where !repositories.contains(address) {
                report.cancel()
                reports[address] = nil
            }
            for address in repositories where reports[address] == nil {
                reports[address] = Task { await self.reportInventory(of: node, to: address) }
            }
            try? await Task.sleep(for: Self.look)
        }
        for report in reports.values { report.cancel() }
    }

    private func reportInventory(of node: Name, to repository: FaceAddress) async {
        // Fails only when the node ends.
        try? await exchange.withSource(at: repository, for: .inventory) {
            (source) throws(Failure) in
            var reporter = reporter(of: node, to: source)
            var problem: String?
            while !Task.isCancelled {
                let refused = await report(with: &reporter)
                if let refused, problem != "\(refused)" {
                    logger.warning(
                        "the repository does not take the inventory of this node",
                        metadata: ["face.address": "\(repository)", "cause": "\(refused)"]
                    )
                }
                problem = refused.map { "\($0)" }
                try? await Task.sleep(for: refused == nil ? Self.look : Self.pauseAfterRefusal)
            }
        }
    }

    /// - Returns: why it is not taken; nil if it is.
    private func report(with reporter: inout InventoryReporter) async -> Failure? {
        do throws(Failure) {
            try await reporter.report(inventory)
            return nil
        } catch {
            return error
        }
    }

    func reporter(of node: Name, to repository: FetchScheduler.SourceId) -> InventoryReporter {
        InventoryReporter(of: node, to: repository, key: homes.nodeKey, exchange)
    }

    /// The VMs of this node, as others may see them.
    var inventory: [Inventory.Machine] {
        homes.machines.all().map { MachineSummary($0).asReported }
    }

    /// Ends the routes to nodes that do not report any more, until it is cancelled.
    func expireNodes() async {
        while !Task.isCancelled {
            nodeBook.expire()
            try? await Task.sleep(for: Self.pauseAfterRefusal)
        }
    }
}
