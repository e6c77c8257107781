internal import CCNx
internal import Control
internal import Failures
internal import Fetching
internal import Foundation
internal import Management
internal import Signing
internal import Store
internal import Templates

/// Has requests carried out elsewhere, by whoever a neighbour leads to.
struct RemoteNode {
    /// How messages call it.
    let label: String
    let exchange: PacketExchange
    let source: FetchScheduler.SourceId
    let session: any ControlSession
    /// One of these signs what comes of it; none: whoever answers is believed.
    var signers: [PublicKey] = []

    enum Outcome: Sendable {
        case done(ControlResponse)
        /// There is no such node that way.
        case unknownTarget
        /// That way it may not be done, and nobody has begun it; another may lead to who does it.
        case refused(Failure)
        /// Nobody answered, from the first question on.
        case silent(Failure)
    }

    private static let questionPatience: UInt64 = 10_000
    private static let pauses = [20, 50, 100, 200, 500].map { Duration.milliseconds($0) }
    /// How long the other side may be away in the midst of it.
    private static let absence = Duration.seconds(60)
    /// Times that the other side may have something signed for one request.
    private static let signatureLimit = 16

    func perform(_ errand: SignedErrand) async throws(Failure) -> Outcome {
        var signature: ManagementPayload.Signature?
        var signatureCount = 0
        var lastGood: ContinuousClock.Instant?
        // The same request may be on its way to others, whose answers are theirs.
        var attempt = UInt64.random(in: 0...UInt64.max / 2)
        var questionCount = 0
        var isBegun = false
        while true {
            let reply: ManagementReply?
            do throws(Failure) {
                reply = try await ask(errand, attempt, signature)
                lastGood = .now
            } catch  where Self.isSilence(error) {
                guard let lastGood else { return .silent(silence(error, errand)) }
                guard ContinuousClock.now - lastGood < Self.absence else {
                    throw silence(error, errand).wrapped(
                        "\(label) has not answered for \(Self.absence.components.seconds) s",
                        hint: "look whether it is done before you ask again"
                    )
                }
                reply = nil
            }
            attempt += 1
            questionCount += 1
            switch reply {
            case .done(let json):
                return .done(try response(json))
            case .refused(let failure):
                let refusal = failure.failure.wrapped("\(title(of: errand)) refuses")
                if !isBegun, Self.isOfThatWay(refusal) { return .refused(refusal) }
                throw refusal
            case .unknownTarget: return .unknownTarget
            case .wantsSignature(let draft):
                isBegun = true
                signatureCount += 1
                guard signatureCount <= Self.signatureLimit else {
                    throw Failure(.invalid, "\(label) asks for signatures without end")
                }
                signature = .init(number: draft.number, await sign(draft, errand))
                continue
            case .working(let progress):
                isBegun = true
                signature = nil
                if let progress {
                    await session.report(
                        .work(what: progress.what, done: progress.done, total: progress.total)
                    )
                }
            case nil: break
            }
            try await pause(questionCount)
        }
    }

    /// Who answers for it.
    private func title(of errand: SignedErrand) -> String {
        guard errand.operation.isOfNode, errand.target.uri != label else { return label }
        return "\(errand.target) by way of \(label)"
    }

    private func response(_ json: Data) throws(Failure) -> ControlResponse {
        do throws(Failure) {
            return try JSONPayload.decoded(Array(json), what: "answer of a node")
        } catch {
            throw error.wrapped(
                "the answer of \(label) cannot be read",
                hint: "it is done; is ccnfs there of the same version?"
            )
        }
    }

    private func pause(_ questionCount: Int) async throws(Failure) {
        do {
            try await Task.sleep(for: Self.pauses[min(questionCount, Self.pauses.count) - 1])
        } catch {
            throw Failure(.cancelled, "the node ends")
        }
    }

    // MARK: Asking

    /// The whole reply, which may have come in several chunks.
    private func ask(
        _ errand: SignedErrand,
        _ attempt: UInt64,
        _ signature: ManagementPayload.Signature?
    ) async throws(Failure) -> ManagementReply {
        let payload = try ManagementPayload(request: errand.signed, signature: signature).json()
        let first = try await chunk(0, of: errand, attempt, payload)
        var json = first.object.payload
        let last = first.object.endChunkNumber ?? 0
        guard last < UInt64(ManagementReply.byteLimit / ManagementReply.chunkSize) else {
            throw Failure(.tooLarge, "\(label) has an answer of \(last) chunks")
        }
        let rest = try await rest(1..<last + 1, of: errand, attempt)
        for part in rest { json += part.object.payload }
        let reply = try ManagementReply(json: json)
        switch reply {
        case .done, .wantsSignature: try check([first] + rest, errand)
        // Who could forge these could as well keep the answer from coming.
        case .working, .refused, .unknownTarget: break
        }
        return reply
    }

    private func check(_ answers: [OwnRequests.Answer], _ errand: SignedErrand) throws(Failure) {
        if signers.isEmpty { return }
        for answer in answers {
            let keyId = answer.packet?.validation?.keyId
            guard let packet = answer.packet,
                let key = signers.first(where: { $0.keyId == keyId })
            else {
                throw Failure(
                    .untrusted,
                    "what came by way of \(label) is not signed by a key that is trusted here as "
                        + "\(errand.target)",
                    hint: "if its key is another now: ccnfs trust add \(errand.target) "
                        + "PUBLIC-KEY-FILE --right node"
                )
            }
            try ValidationCheck.verify(packet, expecting: key)
        }
    }

    /// Asked for at once: the scheduler has a window for the source.
    private func rest(
        _ numbers: Range<UInt64>,
        of errand: SignedErrand,
        _ attempt: UInt64
    ) async throws(Failure) -> [OwnRequests.Answer] {
        typealias Numbered = (UInt64, Result<OwnRequests.Answer, Failure>)
        let answers = await withTaskGroup(of: Numbered.self) { group in
            for number in numbers {
                group.addTask {
                    do throws(Failure) {
                        return (number, .success(try await chunk(number, of: errand, attempt, nil)))
                    } catch {
                        return (number, .failure(error))
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        return try answers.sorted { $0.0 < $1.0 }.map { (_, answer) throws(Failure) in
            try answer.get()
        }
    }

    private func chunk(
        _ number: UInt64,
        of errand: SignedErrand,
        _ attempt: UInt64,
        _ payload: [UInt8]?
    ) async throws(Failure) -> OwnRequests.Answer {
        let name = ManagementName.request(
            target: errand.target,
            id: errand.id,
            attempt: attempt,
            chunk: number
        ).name
        return try await exchange.answer(
            of: source,
            name,
            lane: .reader,
            patience: Self.questionPatience,
            payload: payload
        ).get()
    }

    /// Nobody answered the question, which is not to say that nobody has got it.
    private static func isSilence(_ failure: Failure) -> Bool {
        switch failure.kind {
        case .unavailable, .timedOut, .noSource, .busy: true
        default: false
        }
    }

    /// Who is asked may not know the node at all, and only says that nothing is done for this key there.
    private static func isOfThatWay(_ failure: Failure) -> Bool {
        switch failure.kind {
        case .notPermitted, .untrusted, .unsupported: true
        default: false
        }
    }

    /// Not with the name of the question, which says nothing to anybody.
    private func silence(_ failure: Failure, _ errand: SignedErrand) -> Failure {
        switch failure.kind {
        case .unavailable:
            Failure(
                .unavailable,
                "nobody answers at \(label)",
                hint: "is it running, and is the address right?"
            )
        case .noSource:
            Failure(.unavailable, "\(label) has no way to \(errand.target) at the moment")
        default:
            Failure(
                failure.kind,
                "\(label) does not answer",
                hint: "it may do it all the same: look before you ask again"
            )
        }
    }

    // MARK: Signing what it asks for

    private func sign(
        _ draft: ManagementReply.Draft,
        _ errand: SignedErrand
    ) async -> Result<[UInt8], Failure> {
        do throws(Failure) {
            let object = ContentObject(
                name: try Name(uri: draft.name),
                payload: Array(draft.payload)
            )
            try errand.checkMaySign(object)
            return .success(
                try await session.sign(object, signatureTimeMilliseconds: draft.timeMilliseconds)
            )
        } catch {
            return .failure(error)
        }
    }
}

/// A request with its signature: sent along several ways it is carried out once.
struct SignedErrand {
    let target: Name
    let operation: ManagementRequest.Operation
    let key: PublicKey
    let signed: [UInt8]

    var id: ObjectId { ObjectId(of: signed) }

    /// - Parameter now: seconds since 1970.
    init(
        _ operation: ManagementRequest.Operation,
        to target: Name,
        key: PublicKey,
        now: Int,
        signedBy session: any ControlSession
    ) async throws(Failure) {
        let request = ManagementRequest(
            target: target,
            time: now,
            nonce: .random(in: .min ... .max),
            operation: operation
        )
        self.target = target
        self.operation = operation
        self.key = key
        signed = try await session.sign(
            try request.draft(),
            signatureTimeMilliseconds: UInt64(now) * 1000
        )
        guard signed.count <= ManagementRequest.byteLimit else {
            throw Failure(
                .tooLarge,
                "the request has \(signed.count) bytes, it may have \(ManagementRequest.byteLimit)",
                hint: "name fewer VMs at once"
            )
        }
    }

    /// The other side has the sender's key sign what was asked for, and nothing else.
    func checkMaySign(_ object: ContentObject) throws(Failure) {
        guard case .republish(let republication) = operation,
            let record = try? TemplateRecord(json: object.payload),
            object.name == record.signedName, record.name.uri == republication.template,
            record.publisher == key.keyId, record.origin?.machine == republication.machine,
            record.origin?.snapshot == republication.snapshot
        else {
            throw Failure(
                .notPermitted,
                "\(object.name?.uri ?? "a nameless object") is nothing that this command signs for others"
            )
        }
    }
}
