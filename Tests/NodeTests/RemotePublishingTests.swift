import CCNx
import Control
import Faces
import Failures
import Fetching
import Publishing
import Repositories
import Signing
import Store
import Templates
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 40 segments at the start, one at the end.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in Array(0..<40) + [255] { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

private let nextImage = {
    var image = image
    image.put(1_000, at: 7 * 4096)
    return image
}()

struct RemotePublishingTests {
    /// A repository, and a node that connects to it and on which nobody can be connected.
    private struct Pair {
        let repository: TestNode
        let address: FaceAddress
        let node: TestNode

        init(accepting: Bool = true, trusting: Bool = true) async throws {
            repository = try TestNode(acceptsPublishing: accepting)
            if trusting { try await repository.trustPublisher() }
            address = try #require(try await repository.start())
            node = try TestNode()
            try await node.start(listening: nil)
        }

        func stop() async {
            await node.exchange.stop()
            await repository.exchange.stop()
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func makesAVersionVisibleElsewhereAndSendsNothingTwice() async throws {
        let pair = try await Pair()
        let first = try await pair.node.publish(image, at: pair.address, withKeyOf: pair.repository)
        #expect(first.version == 1)
        let status = try await pair.repository.status()
        #expect(status.templates == 1)
        #expect(status.published.segmentCount == 41)
        #expect(status.catalogs.first?.isPublishedHere == true)
        // The publisher's node is no repository of it.
        #expect(try await pair.node.status().templates == 0)
        #expect(try await pair.node.status().catalogs.isEmpty)
        let handle = try pair.repository.openDisk()
        #expect(
            try await pair.repository.read(handle, at: 0, byteCount: 2 << 20) == image.bytes
        )

        let second = try await pair.node.publish(
            nextImage,
            at: pair.address,
            withKeyOf: pair.repository
        )
        #expect(second.version == 2)
        let after = try await pair.repository.status()
        #expect(after.published.segmentCount == 42)
        // One segment, and the node of the manifest that names it.
        #expect(after.store.fetchedObjects == 0)
        #expect(after.pendingInterests == 0)
        let next = try pair.repository.openDisk()
        #expect(
            try await pair.repository.read(next, at: 0, byteCount: 2 << 20) == nextImage.bytes
        )
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func isReadByANodeThatFollowsTheRepository() async throws {
        let pair = try await Pair()
        let reader = try TestNode(asking: pair.address)
        try await reader.trustPublisher()
        try await reader.start(listening: nil)
        try await pair.node.publish(image, at: pair.address, withKeyOf: pair.repository)
        // The delegation came with it: nobody else has to vouch for the catalog.
        await reader.operations.followCatalog(of: TestNode.namespace)
        #expect(try await reader.status().catalogs.first?.problem == nil)
        let handle = try reader.openDisk()
        #expect(try await reader.read(handle, at: 0, byteCount: 2 << 20) == image.bytes)
        await reader.exchange.stop()
        await pair.stop()
    }

    /// Of which the VM's node has a part: the rest comes from where the template is.
    @Test(.timeLimit(.minutes(1)))
    func takesAVMWhoseTemplateItLacks() async throws {
        let pair = try await Pair()
        let origin = try TestNode()
        try await origin.trustPublisher()
        let base = try await origin.publish(image)
        let host = try TestNode(asking: try await origin.start())
        try await host.trustPublisher()
        try await host.start(listening: nil)
        await host.operations.followCatalog(of: TestNode.namespace)
        let handle = try host.openDisk()
        _ = try await host.read(handle, at: 0, byteCount: 8 * 4096)
        let deployment = ControlRequest.Deployment(
            template: TestNode.template,
            version: nil,
            machines: ["web-01"],
            size: nil,
            overlayPlace: nil
        )
        _ = try await host.perform(.deploy(deployment))
        let key = try TestNode.publisherKey.get().publicKey
        let republication = ControlRequest.Republication(
            machine: "web-01",
            snapshot: nil,
            template: "ccnx:/mycorp.com/app2/webserver",
            properties: [:],
            isRebasing: false,
            publicKeyPEM: String(decoding: try key.pem(), as: UTF8.self),
            repository: pair.address.description,
            repositoryKey: pair.repository.operations.homes.nodeKey.publicKey.keyId.digest.hex
        )
        guard case .published(let report) = try await host.perform(.republish(republication))
        else {
            Issue.record("the answer is another one")
            return
        }
        #expect(report.version == 1)
        #expect(report.disks.map(\.root) == base.disks.map(\.root))
        #expect(try await pair.repository.status().published.segmentCount == 41)
        for node in [host, origin] { await node.exchange.stop() }
        // Without them it has everything.
        let published = pair.repository.operations.homes.store.published
        #expect(try published.verify { _, _ in }.damaged.isEmpty)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func giveTwoPublishersTwoVersions() async throws {
        let pair = try await Pair()
        let other = try TestNode()
        try await other.start(listening: nil)
        async let first = pair.node.publish(image, at: pair.address, withKeyOf: pair.repository)
        async let second = other.publish(nextImage, at: pair.address, withKeyOf: pair.repository)
        #expect(try await Set([first.version, second.version]) == [1, 2])
        #expect(try await pair.repository.status().templates == 1)
        await other.exchange.stop()
        await pair.stop()
    }

    // MARK: Refusals

    @Test(.timeLimit(.minutes(1)))
    func letsNoKeySignTheCatalogThatThePublisherDoesNotKnow() async throws {
        let pair = try await Pair()
        #expect(await kind(pair) == .untrusted)
        #expect(try await pair.repository.status().catalogs.isEmpty)
        await #expect(throws: Failure.self) {
            try await pair.node.publish(image, at: pair.address, withKeyOf: pair.node)
        }
        try await pair.node.publish(image, at: pair.address, withKeyOf: pair.repository)
        // It has its delegation now.
        #expect(try await pair.node.publish(nextImage, at: pair.address).version == 2)
        await pair.stop()
    }

    private func kind(_ pair: Pair) async -> Failure.Kind? {
        do {
            try await pair.node.publish(image, at: pair.address)
            return nil
        } catch {
            return (error as? Failure)?.kind
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func isRefusedUnlessTheRepositoryTakesTemplatesFromElsewhere() async throws {
        let pair = try await Pair(accepting: false)
        #expect(await kind(pair) == .notPermitted)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func isRefusedToAKeyThatIsNotTrustedThereBeforeAnythingIsRead() async throws {
        let pair = try await Pair(trusting: false)
        #expect(await kind(pair) == .untrusted)
        #expect(try await pair.repository.status().published.segmentCount == 0)
        #expect(try await pair.node.status().published.segmentCount == 0)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func isRefusedOfANamespaceThatTheRepositoryFollows() async throws {
        let pair = try await Pair()
        try await pair.node.publish(image, at: pair.address, withKeyOf: pair.repository)
        let follower = try TestNode(asking: pair.address, acceptsPublishing: true)
        try await follower.trustPublisher()
        let address = try #require(try await follower.start())
        await follower.operations.followCatalog(of: TestNode.namespace)
        await #expect(throws: Failure.self) {
            try await pair.node.publish(nextImage, at: address, withKeyOf: follower)
        }
        #expect(try await pair.repository.status().templates == 1)
        await follower.exchange.stop()
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func nothingIsVisibleOfARecordWhoseContentNobodyHas() async throws {
        let pair = try await Pair()
        // Stored elsewhere: the node that asks has none of it.
        let elsewhere = try TestNode()
        try await elsewhere.trustPublisher()
        let report = try await elsewhere.publish(image)
        #expect(report.version == 1)
        guard let row = try elsewhere.operations.homes.database.versions().first,
            let signed = try elsewhere.operations.homes.store.localObject(row.record)
        else {
            Issue.record("there is no record")
            return
        }
        let repository = try await pair.node.exchange.source(at: pair.address, for: .publish)
        var reply: PublishReply?
        for nonce in 0..<100 as Range<UInt64> {
            let name = PublishName.request(
                template: row.template,
                record: row.record,
                nonce: nonce
            ).name
            let answer = await pair.node.exchange.fetch(
                name,
                lane: .reader,
                patience: 5_000,
                of: repository,
                payload: try PublishRequestPayload(record: signed, delegation: nil).json()
            )
            reply = try PublishReply(json: try answer.get().payload)
            if case .pulling = reply {
                try await Task.sleep(for: .milliseconds(50))
                continue
            }
            break
        }
        guard case .refused(let failure) = reply else {
            Issue.record("the repository said \(String(describing: reply))")
            return
        }
        #expect(failure.kind == .noSource)
        #expect(try await pair.repository.status().templates == 0)
        await pair.stop()
    }

    /// A number that leaves none behind it would end the template, and once ended the node.
    @Test(.timeLimit(.minutes(1)), arguments: [2, 77, Int.max])
    func takesNoVersionButTheNext(_ number: Int) async throws {
        let elsewhere = try TestNode()
        try await elsewhere.trustPublisher()
        try await elsewhere.publish(image)
        let row = try #require(try elsewhere.operations.homes.database.versions().first)
        let stored = try #require(try elsewhere.operations.homes.store.localObject(row.record))
        guard case .contentObject(let object) = try PacketDecoder.decode(stored).packet else {
            Issue.record("the record is no Content Object")
            return
        }
        var record = try TemplateRecord(json: object.payload)
        record.version = number
        let signed = try SignedContentObject.sign(
            ContentObject(name: object.name, payload: try record.json()),
            with: try TestNode.publisherKey.get(),
            signatureTimeMilliseconds: 1
        )
        let repository = try TestNode(acceptsPublishing: true)
        try await repository.trustPublisher()
        let (_, outcome) = try repository.operations.publisher.checked(
            signed,
            as: row.template,
            delegation: nil
        )
        guard case .taken(next: 1) = outcome else {
            Issue.record("version \(number) would be taken")
            return
        }
        // A delegation that is none is not let into the catalog.
        #expect(throws: Failure.self) {
            try repository.operations.publisher.checked(
                stored,
                as: row.template,
                delegation: [UInt8](repeating: 7, count: 30_000)
            )
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func isRefusedWhenTheRecordIsNotWhatItsNameSays() async throws {
        let pair = try await Pair()
        let repository = try await pair.node.exchange.source(at: pair.address, for: .publish)
        let payloads: [[UInt8]?] = [
            nil, [], Array("{}".utf8), Array("{\"format\":1,\"record\":\"AAAA\"}".utf8),
        ]
        for (nonce, payload) in payloads.enumerated() {
            let name = PublishName.request(
                template: try Name(uri: TestNode.template),
                record: ObjectId(of: [1]),
                nonce: UInt64(nonce)
            ).name
            let answer = try await pair.node.exchange.fetch(
                name,
                lane: .reader,
                patience: 5_000,
                of: repository,
                payload: payload
            ).get()
            guard case .refused(let failure) = try PublishReply(json: answer.payload) else {
                Issue.record("it was not refused")
                continue
            }
            #expect(failure.kind == .invalid)
        }
        await pair.stop()
    }
}
