internal import CCNx
internal import Control
internal import Faces
internal import Failures
internal import Fetching
internal import Publishing
internal import Repositories
internal import Signing
internal import Store
internal import Synchronization
internal import Templates

/// A repository elsewhere that a version is published at: it is sent the signed record and fetches from
/// this node what it lacks.
///
/// What it answers is believed if its key signed it: the key that the command was told, else the one that signs
/// the namespace's catalog, as far as this node knows it, else the one of the first answer. A refusal is
/// believed of anybody: who could forge it could as well keep the answer from coming.
struct RemoteRepository: PublishDestination {
    private let address: FaceAddress
    private let exchange: PacketExchange
    private let source: FetchScheduler.SourceId
    private let session: any ControlSession
    /// The beginning of the id of the repository's key, as the command was told.
    private let expectedKey: String?
    private let keyInUse: KeyInUse

    /// The key that signs the answers, once it is known.
    private final class KeyInUse: Sendable {
        let key: Mutex<PublicKey?>

        init(_ key: PublicKey?) { self.key = Mutex(key) }
    }

    private static let questionPatience: UInt64 = 10_000
    private static let pause = Duration.milliseconds(200)
    /// Fewer could be found by trying keys.
    private static let keyDigitCount = 32
    /// How long a repository may be away in the midst of it.
    private static let absence = Duration.seconds(120)

    /// - Parameters:
    ///   - key: the beginning of the id of its key.
    ///   - catalogKey: what signs the namespace's catalog, if that is known; `key` goes before it.
    init(
        at address: FaceAddress,
        expecting key: String?,
        catalogKey: PublicKey?,
        _ exchange: PacketExchange,
        reportingTo session: any ControlSession
    ) async throws(Failure) {
        if let key, key.count < Self.keyDigitCount {
            throw Failure(
                .usage,
                "--repository-key has \(key.count) digits; it needs \(Self.keyDigitCount) or more"
            )
        }
        self.address = address
        self.exchange = exchange
        self.session = session
        expectedKey = key?.lowercased()
        keyInUse = KeyInUse(key == nil ? catalogKey : nil)
        source = try await exchange.source(at: address, for: .publish)
    }

    /// Nothing is asked of it any more; once for each one that was made.
    func end() async { await exchange.giveUp(address, for: .publish) }

    func offer(_ template: Name, _ key: PublicKey) async throws(Failure) -> PublishOffer {
        let name = PublishName.offer(
            template: template,
            key: key.keyId,
            nonce: .random(in: .min ... .max)
        ).name
        switch try await ask(name, payload: nil) {
        case .offer(let offer):
            let key = try PublicKey(der: Array(offer.repositoryKey))
            // A key that is to sign for the namespace has to be known from elsewhere.
            if offer.wantsDelegation, expectedKey == nil {
                throw strangeKey(
                    "asks to be let sign the catalog of \(template.prefix(1)) with key",
                    key.keyId
                )
            }
            guard keyInUse.key.withLock({ $0 == key }) else { throw unexpected }
            return PublishOffer(
                nextVersion: offer.nextVersion,
                delegate: offer.wantsDelegation ? key : nil
            )
        case .refused(let failure): throw refusal(failure)
        case .pulling, .done, .taken: throw unexpected
        }
    }

    func commit(_ version: SignedVersion, now: Int) async throws(Failure) -> PublishOutcome {
        let payload = try PublishRequestPayload(
            record: version.signed,
            delegation: version.delegation
        ).json()
        // When it was last heard that it goes on.
        var lastGood = ContinuousClock.now
        while true {
            let name = PublishName.request(
                template: version.record.name,
                record: version.id,
                nonce: .random(in: .min ... .max)
            ).name
            let answer: PublishReply?
            do throws(Failure) {
                answer = try await ask(name, payload: payload)
            } catch  where Self.mayPass(error) {
                guard ContinuousClock.now - lastGood < Self.absence else {
                    throw error.wrapped(
                        "the repository at \(address) has not answered for "
                            + "\(Self.absence.components.seconds) s",
                        hint: "publish again when it is back: it goes on where it was"
                    )
                }
                answer = nil
            }
            switch answer {
            case .pulling(let progress):
                lastGood = .now
                await report(progress)
            case .done(_, let progress):
                await report(progress)
                return .done
            case .taken(let next): return .taken(next: next)
            // The connection was away in the midst of it, or the repository does something else: it begins anew
            // with the next question.
            case .refused(let failure)
            where Self.mayPass(failure.failure) || failure.kind == .busy:
                guard ContinuousClock.now - lastGood < Self.absence else {
                    throw refusal(failure)
                }
            case .refused(let failure): throw refusal(failure)
            case .offer: throw unexpected
            case nil: break
            }
            do {
                try await Task.sleep(for: Self.pause)
            } catch {
                throw Failure(
                    .cancelled,
                    "the node ends",
                    hint: "publish again: it goes on where it was"
                )
            }
        }
    }

    // MARK: Who is at the other end

    private func check(_ answer: DecodedPacket?, about prefix: Name) async throws(Failure) {
        guard let answer else {
            throw Failure(.untrusted, "what came from \(address) is not signed")
        }
        if let key = keyInUse.key.withLock(\.self) {
            do throws(Failure) {
                try ValidationCheck.verify(answer, expecting: key)
            } catch {
                throw error.wrapped(
                    "what came from \(address) is not from the repository that is known",
                    hint: "if its key is another now (there: ccnfs key show STATE/keys/node.pem): "
                        + "--repository-key"
                )
            }
            return
        }
        let key = try await signer(of: answer, about: prefix)
        try ValidationCheck.verify(answer, expecting: key)
        if let expectedKey, !key.keyId.digest.hex.hasPrefix(expectedKey) {
            throw strangeKey("has key", key.keyId)
        }
        keyInUse.key.withLock { $0 = key }
    }

    /// The key that an answer says it is signed by: it comes along, or is asked for by its name.
    private func signer(
        of answer: DecodedPacket,
        about prefix: Name
    ) async throws(Failure) -> PublicKey {
        if let key = try ValidationCheck.embeddedKey(of: answer) { return key }
        guard let keyId = answer.validation?.keyId else {
            throw Failure(.untrusted, "what the repository at \(address) answers is not signed")
        }
        let name = KeyName(keyId, under: prefix)
        return try name.key(
            in: try await exchange.fetch(
                name.name,
                lane: .reader,
                patience: Self.questionPatience,
                of: source
            ).get()
        )
    }

    private func strangeKey(_ what: String, _ keyId: KeyId) -> Failure {
        let id = keyId.digest.hex
        return Failure(
            .untrusted,
            "the repository at \(address) \(what) \(id)",
            hint: "if that is its key (there: ccnfs key show STATE/keys/node.pem): "
                + "--repository-key \(id.prefix(Self.keyDigitCount))"
        )
    }

    /// A repository that is being started anew is waited for.
    private static func mayPass(_ failure: Failure) -> Bool {
        switch failure.kind {
        case .unavailable, .timedOut: true
        default: false
        }
    }

    private func ask(_ name: Name, payload: [UInt8]?) async throws(Failure) -> PublishReply {
        let answer = await exchange.answer(
            of: source,
            name,
            lane: .reader,
            patience: Self.questionPatience,
            payload: payload
        )
        switch answer {
        case .success(let answer):
            let reply = try PublishReply(json: answer.object.payload)
            if case .refused = reply { return reply }
            try await check(answer.packet, about: name.prefix(1))
            return reply
        // Not with the name of the question, which says nothing to anybody.
        case .failure(let failure):
            throw Failure(
                failure.kind,
                failure.kind == .unavailable
                    ? "nobody answers at \(address)"
                    : "the repository at \(address) does not answer",
                hint: "is it running, and is the address right?"
            )
        }
    }

    private func report(_ progress: PublishReply.Progress) async {
        await session.report(
            .work(
                what: "bytes at the repository",
                done: progress.doneBytes,
                total: progress.totalBytes
            )
        )
    }

    private func refusal(_ failure: WireFailure) -> Failure {
        failure.failure.wrapped("the repository at \(address) refuses")
    }

    private var unexpected: Failure {
        Failure(.invalid, "the repository at \(address) answered something else than was asked")
    }
}
