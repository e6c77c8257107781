internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Foundation
internal import Logging
internal import Management
internal import Signing
internal import Store
internal import Synchronization
internal import Templates

/// Carries out what is asked from elsewhere by keys that have the right, and takes the reports of nodes.
///
/// A request is carried out once: its id is noted on disk before, for longer than a copy of it would be
/// accepted. What came of it is kept in memory for those who ask again.
///
/// Concurrency: any thread; `answer` may block on the disk.
final class ManagementReceiver: InterestAnswerer {
    typealias Perform =
        @Sendable (ControlRequest, any ControlSession) async throws(Failure) -> ControlResponse

    let templates: Templates
    let book: NodeBook
    let perform: Perform
    let exchange: PacketExchange
    private let database: StateDatabase
    let nodeKey: PrivateKey
    let nodeName: Name?
    private let isAccepting: Bool
    private let work: WorkForOthers
    private let logger: Logger
    private let sessions = Mutex<[ObjectId: Entry]>([:])

    private struct Entry {
        let session: ManagementSession
        /// When it was asked for last.
        var asked: ContinuousClock.Instant
    }

    /// Requests that are carried out at once.
    private static let runningLimit = 8
    /// Those, and outcomes that are kept.
    private static let sessionLimit = 64
    /// Bytes of all outcomes that are kept.
    private static let keptByteLimit = 32 << 20
    /// How long an outcome is kept for a sender that asks again, while there is room.
    private static let memory = Duration.seconds(60)
    /// An answer is for one question.
    private static let replyLifetimeMilliseconds: UInt64 = 1_000

    init(
        homes: Homes,
        exchange: PacketExchange,
        book: NodeBook,
        configuration: NodeConfiguration,
        work: WorkForOthers,
        logger: Logger,
        perform: @escaping Perform
    ) {
        templates = homes.templates
        database = homes.database
        nodeKey = homes.nodeKey
        self.exchange = exchange
        self.book = book
        nodeName = configuration.nodeName
        isAccepting = configuration.acceptsManagement
        self.work = work
        self.logger = logger
        self.perform = perform
    }

    func answer(_ interest: Interest, from face: FaceId) -> DecodedPacket? {
        switch ManagementName(interest.name) {
        case .request(let target, let id, _, let chunk):
            if isOfOthers(target) { return nil }
            let reply = reply(to: id, target, interest.payload)
            guard let payload = ReplyChunks.chunk(chunk, of: reply) else { return nil }
            return packet(interest.name, payload, endChunk: ReplyChunks.count(of: reply) - 1)
        case .report(let namespace, let key, let serial, let part):
            let reply = replyToReport(namespace, key, serial, part, interest.payload, face)
            return packet(interest.name, reply, endChunk: nil)
        case nil: return nil
        }
    }

    private func packet(_ name: Name, _ payload: [UInt8], endChunk: UInt64?) -> DecodedPacket? {
        let now = UInt64(WallClock.nanoseconds / 1_000_000)
        do throws(Failure) {
            return try SignedContentObject.packet(
                ContentObject(
                    name: name,
                    payload: payload,
                    expiryTimeMilliseconds: now + Self.replyLifetimeMilliseconds,
                    endChunkNumber: endChunk
                ),
                with: nodeKey,
                signatureTimeMilliseconds: now
            )
        } catch {
            logger.error("request not answered", metadata: ["cause": "\(error)"])
            return nil
        }
    }

    // MARK: Requests

    /// The Interest goes on, along a route, to who may carry it out.
    private func isOfOthers(_ target: Name) -> Bool {
        if target.isEmpty || target == nodeName { return false }
        // A template's is answered here, whatever name a node reports under.
        if templates.template(named: target) == nil, book.face(of: target) != nil { return true }
        return !isPublishedHere(target.prefix(1)) && !exchange.repositories(of: target).isEmpty
    }

    /// This node is the repository of the namespace.
    func isPublishedHere(_ namespace: Name) -> Bool {
        let catalogs = try? database.catalogs()
        return catalogs?.contains { $0.namespace == namespace && $0.publishedHere } ?? false
    }

    private func reply(to id: ObjectId, _ target: Name, _ payload: [UInt8]?) -> [UInt8] {
        do throws(Failure) {
            return try outcome(of: id, target, payload)
        } catch {
            return (try? ManagementReply.refused(WireFailure(error)).json()) ?? []
        }
    }

    private func outcome(
        of id: ObjectId,
        _ target: Name,
        _ payload: [UInt8]?
    ) throws(Failure) -> [UInt8] {
        guard isAccepting else {
            throw Failure(
                .notPermitted,
                "this node is not managed from elsewhere",
                hint: "start it with --accept-management, or do it where it runs"
            )
        }
        let content = try payload.map { (json) throws(Failure) in try ManagementPayload(json: json)
        }
        if let session = session(id) {
            if let signature = content?.signature { session.take(signature) }
            return try session.reply()
        }
        guard let content else {
            throw Failure(.unavailable, "what came of the request is not known any more")
        }
        let received = try ReceivedRequest(signed: Array(content.request), target: target)
        guard received.id == id else {
            throw Failure(.invalid, "the request has another id than its name")
        }
        if received.request.operation.isOfNode, target != nodeName {
            return try ManagementReply.unknownTarget.json()
        }
        return try begin(
            try CheckedRequest(received, trust: templates.trust, now: WallClock.seconds)
        )
    }

    private func session(_ id: ObjectId) -> ManagementSession? {
        sessions.withLock { sessions in
            sessions[id]?.asked = .now
            return sessions[id]?.session
        }
    }

    private func begin(_ checked: CheckedRequest) throws(Failure) -> [UInt8] {
        if work.isCancelled { throw Self.ending }
        let session = ManagementSession()
        // Asked twice before the first was answered: one of them carries it out.
        if let known = try admit(session, checked.id) { return try known.reply() }
        do throws(Failure) {
            let isNew = try database.noteManagementRequest(
                checked.id,
                now: WallClock.seconds,
                memory: ManagementRequest.memory,
                limit: ManagementRequest.memoryLimit
            )
            guard isNew else {
                throw Failure(
                    .unavailable,
                    "the request was received before, and what came of it is not known any more",
                    hint: "look whether it is done: ccnfs list, ccnfs vms --all"
                )
            }
        } catch {
            sessions.withLock { $0[checked.id] = nil }
            throw error
        }
        let hasBegun = work.begin { await self.run(checked, session) }
        // It was noted, so nobody will carry it out.
        if !hasBegun { session.finish(.failure(Self.ending)) }
        return try session.reply()
    }

    private static var ending: Failure {
        Failure(
            .unavailable,
            "the node ends, and does nothing more for others",
            hint: "ask again when it runs"
        )
    }

    /// - Returns: the session that is there already.
    private func admit(
        _ session: ManagementSession,
        _ id: ObjectId
    ) throws(Failure) -> ManagementSession? {
        let now = ContinuousClock.now
        return try sessions.withLock { (sessions) throws(Failure) -> ManagementSession? in
            if let known = sessions[id] { return known.session }
            sessions = sessions.filter {
                $0.value.session.isRunning || now - $0.value.asked < Self.memory
            }
            var finished = sessions.filter { !$0.value.session.isRunning }
                .sorted { $0.value.asked < $1.value.asked }[...]
            guard sessions.count - finished.count < Self.runningLimit else {
                throw Failure(
                    .busy,
                    "this node carries out \(Self.runningLimit) requests at the moment",
                    hint: "try again later"
                )
            }
            var kept = finished.reduce(0) { $0 + $1.value.session.keptByteCount }
            while sessions.count >= Self.sessionLimit || kept > Self.keptByteLimit,
                let oldest = finished.popFirst()
            {
                kept -= oldest.value.session.keptByteCount
                sessions[oldest.key] = nil
            }
            sessions[id] = Entry(session: session, asked: now)
            return nil
        }
    }

    private func run(_ checked: CheckedRequest, _ session: ManagementSession) async {
        let metadata: Logger.Metadata = [
            "key": "\(checked.key)", "name": "\(checked.target)",
            "operation": "\(checked.request.operation.title)",
        ]
        do throws(Failure) {
            let response = try await carryOut(checked, session)
            session.finish(.success(try JSONPayload.encoded(response)))
            logger.notice("request from elsewhere carried out", metadata: metadata)
        } catch {
            session.finish(.failure(error))
            logger.notice(
                "request from elsewhere failed",
                metadata: metadata.merging(["cause": "\(error)"]) { $1 }
            )
        }
    }

    // MARK: Reports of nodes

    private func replyToReport(
        _ namespace: Name,
        _ key: KeyId,
        _ serial: UInt64,
        _ number: UInt64,
        _ payload: [UInt8]?,
        _ face: FaceId
    ) -> [UInt8] {
        var reply: InventoryReply
        do throws(Failure) {
            guard isAccepting else {
                throw Failure(
                    .notPermitted,
                    "this node takes no reports of other nodes",
                    hint: "start it with --accept-management"
                )
            }
            guard let payload else { throw Failure(.invalid, "the report has no payload") }
            let (node, part) = try Inventory.checked(
                payload,
                key: key,
                trust: templates.trust,
                now: WallClock.seconds
            )
            guard node.hasPrefix(namespace), part.serial == serial, UInt64(part.part) == number,
                node != nodeName
            else { throw Failure(.invalid, "the report is another than its name says") }
            reply = try book.take(part, of: node, key: key, byteCount: payload.count, from: face)
        } catch {
            reply = .refused(WireFailure(error))
        }
        return (try? reply.json()) ?? []
    }
}
