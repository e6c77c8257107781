import CCNx
import Control
import Faces
import Failures
import Files
import Management
import Publishing
import Signing
import Store
import Templates
import TestSupport
import Testing

@testable import Node

private let image = {
    var image = SparseImage(size: 256 << 10)
    for index in 0..<8 { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

/// Templates of a repository, and requests as they come.
struct ManagingTests {
    private static let template = TestNode.template

    /// A repository with one version, and a node on which nobody is connected. The administrator's key is the
    /// publisher's.
    private struct Pair {
        let repository: TestNode
        let address: FaceAddress
        let node: TestNode

        init(
            accepting: Bool = true,
            rights: [String] = ["publish", "manage"],
            for prefix: Name = TestNode.namespace
        ) async throws {
            repository = try TestNode(acceptsManagement: accepting)
            try await repository.trustPublisher()
            try await repository.publish(image)
            let key = try TestNode.publisherKey.get().publicKey
            _ = try await repository.perform(
                .removeTrust(prefix: TestNode.namespace.uri, keyId: key.keyId.digest.hex)
            )
            // Those before are gone: rights are added to.
            if !rights.isEmpty { try await repository.trust(key, rights, for: prefix) }
            address = try #require(try await repository.start())
            node = try TestNode()
            try await node.start(listening: nil)
        }

        func stop() async {
            await node.exchange.stop()
            await repository.exchange.stop()
        }

        @discardableResult
        func manage(
            _ operation: ManagementRequest.Operation,
            _ target: String = ManagingTests.template
        ) async throws -> ControlResponse {
            try await node.manage(operation, target, at: address)
        }

        func templates(_ prefix: String) async throws -> [TemplateSummary] {
            guard case .templates(let found) = try await manage(.listTemplates, prefix) else {
                throw Failure(.invalid, "the listing is something else")
            }
            return found
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func listsTagsAndWithdrawsAtARepository() async throws {
        let pair = try await Pair()
        for prefix in ["ccnx:/", "ccnx:/mycorp.com", Self.template] {
            let found = try await pair.templates(prefix)
            #expect(found.map(\.name) == [Self.template])
            #expect(found.first?.newestVersion == 1)
        }
        #expect(try await pair.templates("ccnx:/mycorp.com/app2").isEmpty)

        try await pair.manage(.tag(name: "stable", version: 1))
        #expect(try await pair.templates(Self.template).first?.tags == ["stable": 1])
        try await pair.manage(.tag(name: "stable", version: nil))
        #expect(try await pair.templates(Self.template).first?.tags == [:])

        guard case .deleted(let deletion) = try await pair.manage(.withdraw(version: 1)) else {
            Issue.record("the answer is another one")
            return
        }
        #expect(deletion.versions == [1])
        #expect(try await pair.templates("ccnx:/").isEmpty)
        #expect(try await pair.repository.status().templates == 0)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aRefusalIsTheOneThatTheCommandGetsThere() async throws {
        let pair = try await Pair()
        for (operation, target) in [
            (.tag(name: "stable", version: 7), Self.template),
            (.tag(name: "stable", version: nil), Self.template),
            (.withdraw(version: 7), Self.template),
            (.withdraw(version: nil), "ccnx:/mycorp.com/none"),
        ] as [(ManagementRequest.Operation, String)] {
            let refused = await failure { try await pair.manage(operation, target) }
            #expect(refused?.kind == .notFound)
            #expect(refused?.message.contains("refuses") == true)
        }
        let tag = ManagementRequest.Operation.tag(name: "@wrong", version: 1)
        #expect(await failure { try await pair.manage(tag) }?.kind == .invalid)
        #expect(try await pair.repository.status().templates == 1)
        await pair.stop()
    }

    // MARK: Rights

    @Test(.timeLimit(.minutes(1)))
    func isRefusedUnlessTheRepositoryIsManagedFromElsewhere() async throws {
        let pair = try await Pair(accepting: false)
        let refused = await failure { try await pair.manage(.withdraw(version: 1)) }
        #expect(refused?.kind == .notPermitted)
        #expect(refused?.firstHint?.contains("--accept-management") == true)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)), arguments: ["publish", "operate", "node", ""])
    func isRefusedToAKeyWithoutTheRight(_ right: String) async throws {
        let pair = try await Pair(rights: right.isEmpty ? [] : [right])
        for operation in [.withdraw(version: 1), .listTemplates, .tag(name: "a", version: 1)]
            as [ManagementRequest.Operation]
        {
            let refused = await failure { try await pair.manage(operation) }
            #expect(refused?.kind == (right.isEmpty ? .untrusted : .notPermitted))
        }
        #expect(try await pair.repository.status().templates == 1)
        await pair.stop()
    }

    /// A key that manages signs no templates.
    @Test(.timeLimit(.minutes(1)))
    func aKeyThatManagesMayNotPublish() async throws {
        let pair = try await Pair(rights: ["manage"])
        let refused = await failure { try await pair.repository.publish(image) }
        #expect(refused?.kind == .untrusted)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aKeyManagesWhatIsUnderItsPrefixAndSeesNoMore() async throws {
        let lab = TestNode.namespace.appending(.name("lab"))
        let pair = try await Pair(rights: ["manage"], for: lab)
        #expect(try await pair.templates("ccnx:/").isEmpty)
        let refused = await failure { try await pair.manage(.withdraw(version: 1)) }
        #expect(refused?.kind == .notPermitted)
        await pair.stop()
    }

    // MARK: Requests as they come

    /// Signed once: each signature of a key is another one, and so is the request.
    private func signed(time: Int = WallClock.seconds) throws -> [UInt8] {
        let request = ManagementRequest(
            target: try Name(uri: Self.template),
            time: time,
            nonce: 1,
            operation: .tag(name: "stable", version: 1)
        )
        return try SignedContentObject.sign(
            try request.draft(),
            with: try TestNode.publisherKey.get(),
            signatureTimeMilliseconds: nil
        )
    }

    private func interest(
        _ signed: [UInt8],
        to target: String = Self.template,
        attempt: UInt64 = 0,
        claiming other: ObjectId? = nil
    ) throws -> Interest {
        Interest(
            name: ManagementName.request(
                target: try Name(uri: target),
                id: other ?? ObjectId(of: signed),
                attempt: attempt,
                chunk: 0
            ).name,
            payload: try ManagementPayload(request: signed).json()
        )
    }

    private func reply(
        _ receiver: ManagementReceiver,
        to interest: Interest
    ) throws -> ManagementReply {
        let packet = try #require(receiver.answer(interest, from: FaceId(9)))
        guard case .contentObject(let object) = packet.packet else {
            throw Failure(.invalid, "the answer is no Content Object")
        }
        #expect(object.name == interest.name)
        #expect(object.expiryTimeMilliseconds != nil)
        return try ManagementReply(json: object.payload)
    }

    /// The kind of the refusal; nil for another reply.
    private func refusal(_ reply: ManagementReply) -> Failure.Kind? {
        if case .refused(let failure) = reply { failure.kind } else { nil }
    }

    @Test(.timeLimit(.minutes(1)))
    func aRequestIsCarriedOutOnceAlsoByANodeThatWasStartedAnew() async throws {
        let pair = try await Pair()
        let receiver = pair.repository.operations.managementReceiver()
        let signed = try signed()
        var isDone = false
        for attempt in 0..<500 as Range<UInt64> {
            switch try reply(receiver, to: try interest(signed, attempt: attempt)) {
            case .working: try await Task.sleep(for: .milliseconds(20))
            case .done: isDone = true
            case let other: Issue.record("the reply is \(other)")
            }
            if isDone { break }
        }
        #expect(isDone)
        #expect(try await pair.templates(Self.template).first?.tags == ["stable": 1])
        try await pair.manage(.tag(name: "stable", version: nil))
        // Who asks again is told the same.
        guard case .done = try reply(receiver, to: try interest(signed, attempt: 1_000)) else {
            Issue.record("the outcome is gone")
            return
        }
        let another = pair.repository.operations.managementReceiver()
        #expect(refusal(try reply(another, to: try interest(signed))) == .unavailable)
        #expect(try await pair.templates(Self.template).first?.tags == [:])
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aNodeThatEndsBeginsNothingMore() async throws {
        let pair = try await Pair()
        let operations = pair.repository.operations
        operations.workForOthers.cancel()
        let signed = try signed()
        let receiver = operations.managementReceiver()
        #expect(refusal(try reply(receiver, to: try interest(signed))) == .unavailable)
        // Nor does it count as carried out when it is asked for again.
        let isNew = try operations.homes.database.noteManagementRequest(
            ObjectId(of: signed),
            now: WallClock.seconds,
            memory: ManagementRequest.memory,
            limit: ManagementRequest.memoryLimit
        )
        #expect(isNew)
        guard case .templates(let found) = try await pair.repository.perform(.listTemplates) else {
            Issue.record("the listing is something else")
            return
        }
        #expect(found.map(\.tags) == [[:]])
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aRequestIsRefusedThatIsOldOrNotWhatItsNameSays() async throws {
        let pair = try await Pair()
        let receiver = pair.repository.operations.managementReceiver()
        let old = try interest(try signed(time: WallClock.seconds - 302))
        #expect(refusal(try reply(receiver, to: old)) == .timedOut)
        let other = try interest(try signed(), claiming: ObjectId(of: [1]))
        #expect(refusal(try reply(receiver, to: other)) == .invalid)
        let elsewhere = try interest(try signed(), to: "ccnx:/mycorp.com/app1/other")
        #expect(refusal(try reply(receiver, to: elsewhere)) == .invalid)
        var empty = try interest(try signed())
        empty.payload = nil
        #expect(refusal(try reply(receiver, to: empty)) == .unavailable)
        for payload in [[], Array("{}".utf8), [UInt8](repeating: 0x7B, count: 50_000)] as [[UInt8]]
        {
            empty.payload = payload
            #expect(refusal(try reply(receiver, to: empty)) == .invalid)
        }
        #expect(try await pair.templates(Self.template).first?.tags == [:])
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aCommandSignsNothingForOthersButWhatItAskedFor() async throws {
        let key = try TestNode.publisherKey.get().publicKey
        let node = TestNode.namespace.appending([.name("nodes"), .name("host1")])
        let republication = ManagementRequest.Operation.Republication(
            machine: "web-01",
            snapshot: nil,
            template: Self.template,
            properties: [:]
        )
        func errand(_ operation: ManagementRequest.Operation) async throws -> SignedErrand {
            try await SignedErrand(
                operation,
                to: node,
                key: key,
                now: WallClock.seconds,
                signedBy: TestSession()
            )
        }
        func draft(
            _ template: String = Self.template,
            machine: String? = "web-01",
            publisher: KeyId? = nil
        ) throws -> ContentObject {
            let record = TemplateRecord(
                name: try Name(uri: template),
                version: 2,
                parentVersion: 1,
                publisher: publisher ?? key.keyId,
                time: 1,
                properties: [:],
                disks: [],
                files: [],
                origin: machine.map {
                    .init(machine: $0, snapshot: nil, template: nil, version: nil)
                }
            )
            return ContentObject(name: record.signedName, payload: try record.json())
        }
        let asked = try await errand(.republish(republication))
        let snapshot = try await errand(.snapshot(machine: "web-01", name: "a"))
        try asked.checkMaySign(try draft())
        var misnamed = try draft()
        misnamed.name = TestNode.namespace.appending(.name("@catalog"))
        let stranger = KeyId(SHA256Digest(word0: 1, word1: 2, word2: 3, word3: 4))
        for object in [
            try draft("ccnx:/mycorp.com/other"), try draft(machine: "web-02"),
            try draft(machine: nil), try draft(publisher: stranger), misnamed,
            try Delegation.draft(to: key, namespace: TestNode.namespace),
            try ManagementRequest(target: node, time: 1, nonce: 1, operation: .listNodes).draft(),
            ContentObject(name: nil, payload: []),
        ] {
            #expect(kind { try asked.checkMaySign(object) } == .notPermitted)
        }
        #expect(kind { try snapshot.checkMaySign(try draft()) } == .notPermitted)
    }
}
