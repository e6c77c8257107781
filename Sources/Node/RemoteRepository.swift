internal import CCNx
internal import Control
internal import Faces
internal import Failures
internal import Fetching
internal import Publishing
internal import Repositories
internal import Signing
internal import Store
internal import Templates

/// A repository elsewhere that a version is published at: it is sent the signed record and fetches from
/// this node what it lacks.
struct RemoteRepository: PublishDestination {
    private let address: FaceAddress
    private let exchange: PacketExchange
    private let source: FetchScheduler.SourceId
    private let session: any ControlSession
    /// The beginning of the id of the key that may be let sign the catalog.
    private let expectedKey: String?

    private static let questionPatience: UInt64 = 10_000
    private static let pause = Duration.milliseconds(200)
    /// Fewer could be found by trying keys.
    private static let keyDigitCount = 32
    /// How long a repository may be away in the midst of it.
    private static let absence = Duration.seconds(120)

    init(
        at address: FaceAddress,
        expecting key: String?,
        _ exchange: PacketExchange,
        reportingTo session: any ControlSession
    ) async throws(Failure) {
        self.address = address
        self.exchange = exchange
        self.session = session
        expectedKey = key?.lowercased()
        source = try await exchange.beginPublish(to: address)
    }

    /// Nothing is asked of it any more; once for each one that was made.
    func end() async { await exchange.endPublish(to: address) }

    func offer(_ template: Name, _ key: PublicKey) async throws(Failure) -> PublishOffer {
        let name = PublishName.offer(
            template: template,
            key: key.keyId,
            nonce: .random(in: .min ... .max)
        ).name
        switch try await ask(name, payload: nil) {
        case .offer(let offer):
            let key = try PublicKey(der: Array(offer.repositoryKey))
            if offer.wantsDelegation || expectedKey != nil {
                try check(key.keyId.digest.hex, for: template.prefix(1))
            }
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

    /// Who is at the other end cannot be seen: what it says of itself is compared with what the publisher
    /// knows, before its key is let sign for the namespace.
    private func check(_ keyId: String, for namespace: Name) throws(Failure) {
        if let expectedKey {
            guard expectedKey.count >= Self.keyDigitCount else {
                throw Failure(
                    .usage,
                    "--repository-key has \(expectedKey.count) digits; it needs "
                        + "\(Self.keyDigitCount) or more"
                )
            }
            if keyId.hasPrefix(expectedKey) { return }
        }
        throw Failure(
            .untrusted,
            expectedKey == nil
                ? "the repository at \(address) asks to be let sign the catalog of \(namespace) "
                    + "with key \(keyId)"
                : "the repository at \(address) has key \(keyId)",
            hint: "if that is its key (there: ccnfs key show STATE/keys/node.pem): "
                + "--repository-key \(keyId.prefix(Self.keyDigitCount))"
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
        let answer = await exchange.fetch(
            name,
            lane: .reader,
            patience: Self.questionPatience,
            of: source,
            payload: payload
        )
        switch answer {
        case .success(let object): return try PublishReply(json: object.payload)
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
