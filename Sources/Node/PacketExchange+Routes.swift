internal import CCNx
internal import Faces
internal import Failures
internal import Fetching
internal import Forwarding
internal import Logging
internal import NIOCore

/// Whom this node asks changes while it runs.
extension PacketExchange {
    /// Changes the table, and with it, before anything else happens on the loop, sources, FIB and faces.
    func changeRoutes<Outcome: Sendable>(
        _ edit: @escaping @Sendable (inout RouteTable) throws(Failure) -> Outcome
    ) async throws(Failure) -> Outcome {
        try await onLoop { () throws(Failure) in
            var table = self.routes.table
            let outcome = try edit(&table)
            self.apply(table)
            return outcome
        }
    }

    /// - Throws: what `work` does, or that the node ends.
    func onLoop<Outcome: Sendable>(
        _ work: @escaping @Sendable () throws(Failure) -> Outcome
    ) async throws(Failure) -> Outcome {
        let result = await gate.submit { Result { () throws(Failure) in try work() } }
        guard let result else { throw Self.ended }
        return try result.get()
    }

    // MARK: On the event loop

    func apply(_ new: RouteTable) {
        loop.preconditionInEventLoop()
        let old = routes.replace(with: new)
        let (before, after) = (old.addresses, new.addresses)
        // What some may not be asked for any more goes to those that come, so these come first.
        for address in after where sourceIds[address] == nil {
            if let kind = new.kind(of: address) { addSource(at: address, kind) }
        }
        for address in before.union(after) {
            changeFIB(address, from: old.routes(to: address), to: new.routes(to: address))
        }
        carryOut(own.scheduler.setKinds(changeSources(new), now: now))
        for address in after.subtracting(before) { table?.connect(to: address) }
        for address in before.subtracting(after) { table?.disconnect(from: address) }
    }

    /// - Returns: the sources that are there for something else now; nil for nothing any more.
    private func changeSources(
        _ new: RouteTable
    ) -> [(id: FetchScheduler.SourceId, kind: FetchSource.Kind?)] {
        let known = own.scheduler.sources
        var changed: [(id: FetchScheduler.SourceId, kind: FetchSource.Kind?)] = []
        for (address, id) in sourceIds {
            let kind = new.kind(of: address)
            guard known[id]?.kind != kind else { continue }
            changed.append((id: id, kind: kind))
            if kind == nil { sourceIds[address] = nil }
        }
        return changed.sorted { $0.id < $1.id }
    }

    private func addSource(at address: FaceAddress, _ kind: FetchSource.Kind) {
        let id = addSource(address, kind)
        sourceIds[address] = id
        guard let face = outgoingFace(to: address) else { return }
        carryOut(own.scheduler.faceUp(face.id, of: id, now: now))
    }

    private func changeFIB(
        _ address: FaceAddress,
        from old: [RouteTable.Route],
        to new: [RouteTable.Route]
    ) {
        guard old != new, let face = outgoingFace(to: address) else { return }
        let prefixes = Set(new.map(\.prefix))
        for route in old where !prefixes.contains(route.prefix) {
            forwarder.removeRoute(route.prefix, to: face.id)
        }
        addToFIB(new, face.id)
    }

    func addToFIB(_ routes: [RouteTable.Route], _ face: FaceId) {
        for route in routes {
            do throws(Failure) {
                try forwarder.addRoute(route.prefix, to: face, cost: route.cost)
            } catch {
                logger.warning(
                    "route not taken",
                    metadata: ["prefix": "\(route.prefix)", "cause": "\(error)"]
                )
            }
        }
    }

    /// Nil if it is down.
    private func outgoingFace(to address: FaceAddress) -> Face? {
        table?.faces.last { $0.direction == .outgoing && $0.address == address }
    }

    // MARK: Faces by command

    /// What is known of one neighbour.
    struct FaceReport: Sendable {
        let address: FaceAddress
        /// Nil while it is being connected to.
        let face: Face?
        let traffic: FaceTraffic?
        let isCompressed: Bool
    }

    /// Those that are up, by id, then those that are being connected to.
    func faceReports() async throws(Failure) -> [FaceReport] {
        try await onLoop { () throws(Failure) in
            let faces = self.table?.faces ?? []
            let connected = Set(faces.filter { $0.direction == .outgoing }.map(\.address))
            let waiting = self.routes.table.addresses.subtracting(connected)
            return faces.map { face in
                FaceReport(
                    address: face.address,
                    face: face,
                    traffic: self.table?.traffic(of: face.id),
                    isCompressed: self.table?.isCompressed(face.id) ?? false
                )
            }
                + waiting.sorted { $0.description < $1.description }
                .map { FaceReport(address: $0, face: nil, traffic: nil, isCompressed: false) }
        }
    }

    /// Which faces a command means.
    enum FaceChoice: Sendable {
        case id(FaceId)
        case address(FaceAddress)
    }

    /// Closes faces, and keeps up no more what was added by command.
    ///
    /// - Returns: those that were up, and whether something else wants the neighbour, so that it is connected to again.
    func removeFaces(_ choice: FaceChoice) async throws(Failure) -> (faces: [Face], comeBack: Bool)
    {
        try await onLoop { () throws(Failure) in
            let up = self.table?.faces ?? []
            let faces = up.filter { face in
                switch choice {
                case .id(let id): face.id == id
                case .address(let address): face.address == address
                }
            }
            var table = self.routes.table
            var addresses = Set(faces.filter { $0.direction == .outgoing }.map(\.address))
            // It may be added and not up yet.
            if case .address(let address) = choice, table.isAdded(address) {
                addresses.insert(address)
            }
            guard !faces.isEmpty || !addresses.isEmpty else { throw Self.noFace(choice) }
            for address in addresses { table.removeFace(address) }
            self.apply(table)
            for face in faces { self.table?.close(face.id) }
            return (faces: faces, comeBack: !addresses.isDisjoint(with: table.addresses))
        }
    }

    private static func noFace(_ choice: FaceChoice) -> Failure {
        let hint = "see: ccnfs face list"
        return switch choice {
        case .id(let id): Failure(.notFound, "there is no face \(id)", hint: hint)
        case .address(let address):
            Failure(.notFound, "there is no face to or from \(address)", hint: hint)
        }
    }
}
