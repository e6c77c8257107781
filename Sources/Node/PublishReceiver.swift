internal import CCNx
internal import Failures
internal import Fetching
internal import Files
internal import Foundation
internal import Logging
internal import Publishing
internal import Repositories
internal import Signing
internal import Store
internal import Synchronization
internal import Templates

/// The repository's side of publishing from elsewhere: one session for each signed record, which fetches
/// what is missing and says how far it is. Nothing of it is kept: a publisher that asks again after a
/// restart begins a session that finds what the one before has stored.
///
/// Concurrency: any thread; `answer` may block on the disk.
final class PublishReceiver: InterestAnswerer {
    private let publisher: Publisher
    private let exchange: PacketExchange
    private let nodeKey: PrivateKey
    private let isAccepting: Bool
    private let work: WorkForOthers
    private let logger: Logger
    /// What a full disk calls for, once a session has ended with it.
    private let freeSpace: @Sendable () async -> Void
    private let sessions = Mutex<[ObjectId: Session]>([:])

    private struct Session {
        var reply: PublishReply
        var face: FaceId
        var source: FetchScheduler.SourceId?
        /// When it was asked for last; seconds since 1970.
        var asked: Int
        var isRunning = true

        var isRefused: Bool { if case .refused = reply { true } else { false } }
    }

    /// Publishes from elsewhere at once.
    private static let sessionLimit = 8
    /// Seconds for which the outcome is kept for those who ask.
    private static let memory = 600
    /// An answer is for one question.
    private static let replyLifetimeMilliseconds: UInt64 = 1_000
    /// Milliseconds that an object may take to come, those asked for before it included: publishers may have
    /// slow lines.
    private static let patience: UInt64 = 60_000

    init(
        publisher: Publisher,
        exchange: PacketExchange,
        nodeKey: PrivateKey,
        isAccepting: Bool,
        work: WorkForOthers,
        logger: Logger,
        freeSpace: @escaping @Sendable () async -> Void
    ) {
        self.publisher = publisher
        self.exchange = exchange
        self.nodeKey = nodeKey
        self.isAccepting = isAccepting
        self.work = work
        self.logger = logger
        self.freeSpace = freeSpace
    }

    /// - Returns: nil for an Interest that is about something else.
    func answer(_ interest: Interest, from face: FaceId) -> DecodedPacket? {
        guard let asked = PublishName(interest.name) else { return nil }
        var reply: PublishReply
        do throws(Failure) {
            reply = try self.reply(asked, interest.payload, face)
        } catch {
            reply = .refused(WireFailure(error))
        }
        let now = UInt64(WallClock.nanoseconds / 1_000_000)
        do throws(Failure) {
            return try SignedContentObject.packet(
                ContentObject(
                    name: interest.name,
                    payload: try reply.json(),
                    expiryTimeMilliseconds: now + Self.replyLifetimeMilliseconds
                ),
                with: nodeKey,
                signatureTimeMilliseconds: now
            )
        } catch {
            logger.error("publisher not answered", metadata: ["cause": "\(error)"])
            return nil
        }
    }

    private func reply(
        _ asked: PublishName,
        _ payload: [UInt8]?,
        _ face: FaceId
    ) throws(Failure) -> PublishReply {
        // Whoever wants to publish is told where, also where nobody may.
        try publisher.checkIsNoMirror(of: asked.template.prefix(1))
        guard isAccepting else {
            throw Failure(
                .notPermitted,
                "this node takes no templates from elsewhere",
                hint: "start it with --accept-publish, or publish where it runs"
            )
        }
        switch asked {
        case .offer(let template, let key, _):
            let offer = try publisher.offer(template, to: key)
            return .offer(
                PublishReply.Offer(
                    nextVersion: offer.nextVersion,
                    repositoryKey: nodeKey.publicKey.derBytes,
                    wantsDelegation: offer.delegate != nil
                )
            )
        case .request(let template, let record, _):
            guard let payload else { throw Failure(.invalid, "the request has no payload") }
            let request = try PublishRequestPayload(json: payload)
            guard ObjectId(of: Array(request.record)) == record else {
                throw Failure(.invalid, "the record has another id than the request's name")
            }
            if let reply = running(record, face) { return reply }
            let (version, outcome) = try publisher.checked(
                Array(request.record),
                as: template,
                delegation: request.delegation.map(Array.init)
            )
            switch outcome {
            case .done: return .done(version: version.record.version, .init())
            case .taken(let next): return .taken(next: next)
            case nil: return try begin(version, face)
            }
        }
    }

    /// What a session has come to; its publisher may have come back over another face.
    private func running(_ record: ObjectId, _ face: FaceId) -> PublishReply? {
        let (session, isMoved) = sessions.withLock { sessions -> (Session?, Bool) in
            guard var session = sessions[record] else { return (nil, false) }
            let isMoved = session.isRunning && session.face != face
            session.face = face
            session.asked = WallClock.seconds
            // A failure is told once: who asks again wants another try.
            sessions[record] = session.isRefused ? nil : session
            return (session, isMoved)
        }
        if isMoved, let source = session?.source { exchange.move(source, to: face) }
        return session?.reply
    }

    private func begin(_ version: SignedVersion, _ face: FaceId) throws(Failure) -> PublishReply {
        let now = WallClock.seconds
        var progress = PublishReply.Progress()
        progress.totalBytes = version.record.disks.reduce(0) { $0 + $1.dataByteCount }
        let reply = PublishReply.pulling(progress)
        let already = try sessions.withLock { (sessions) throws(Failure) -> PublishReply? in
            // Asked twice before the first was answered.
            if let session = sessions[version.id] { return session.reply }
            sessions = sessions.filter { $0.value.isRunning || $0.value.asked + Self.memory > now }
            guard sessions.values.count(where: \.isRunning) < Self.sessionLimit else {
                throw Failure(
                    .busy,
                    "the repository takes \(Self.sessionLimit) templates at the moment",
                    hint: "try again later"
                )
            }
            sessions[version.id] = Session(reply: reply, face: face, asked: now)
            return nil
        }
        if let already { return already }
        guard work.begin({ [progress] in await self.run(version, face, progress) }) else {
            sessions.withLock { $0[version.id] = nil }
            throw Failure(.unavailable, "the repository ends")
        }
        return reply
    }

    private func run(
        _ version: SignedVersion,
        _ face: FaceId,
        _ begun: PublishReply.Progress
    ) async {
        let id = version.id
        let name = version.record.name
        logger.notice(
            "a version comes from elsewhere",
            metadata: ["name": "\(name)", "version": "\(version.record.version)"]
        )
        let progress = Mutex(begun)
        var reply: PublishReply
        do throws(Failure) {
            guard let source = await exchange.source(on: face) else {
                throw Failure(.cancelled, "the repository ends")
            }
            sessions.withLock { $0[id]?.source = source }
            defer { exchange.removeSource(source) }
            let outcome = try await publisher.receive(
                version,
                from: OneSource(exchange: exchange, source: source, patience: Self.patience),
                now: WallClock.seconds
            ) { done, segments, bytes in
                let now = progress.withLock { progress in
                    progress.doneBytes += done
                    progress.pulledSegments += segments
                    progress.pulledBytes += bytes
                    return progress
                }
                self.sessions.withLock { $0[id]?.reply = .pulling(now) }
            }
            switch outcome {
            case .done: reply = .done(version: version.record.version, progress.withLock(\.self))
            case .taken(let next): reply = .taken(next: next)
            }
        } catch {
            logger.warning(
                "a version from elsewhere is not taken",
                metadata: ["name": "\(name)", "cause": "\(error)"]
            )
            reply = .refused(WireFailure(error))
            if error.kind == .noSpace { await freeSpace() }
        }
        sessions.withLock { [reply] sessions in
            sessions[id]?.reply = reply
            sessions[id]?.isRunning = false
        }
    }
}
