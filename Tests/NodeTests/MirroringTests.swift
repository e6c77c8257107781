import CCNx
import Control
import Faces
import Failures
import Publishing
import Signing
import Store
import Templates
import TestSupport
import Testing

@testable import Node

/// 1 MiB: 40 segments at the start.
private let image = {
    var image = SparseImage(size: 1 << 20)
    for index in 0..<40 { image.put(UInt64(index + 1), at: index * 4096) }
    return image
}()

private let nextImage = {
    var image = image
    image.put(1_000, at: 7 * 4096)
    return image
}()

struct MirroringTests {
    /// A repository with a version, and a node that listens and may become a mirror of it.
    private struct Pair {
        let repository: TestNode
        let address: FaceAddress
        let mirror: TestNode
        let mirrorAddress: FaceAddress

        init() async throws {
            repository = try TestNode(acceptsPublishing: true)
            try await repository.trustPublisher()
            try await repository.publish(image)
            address = try #require(try await repository.start())
            mirror = try TestNode()
            try await mirror.trustPublisher()
            mirrorAddress = try #require(try await mirror.start())
        }

        @discardableResult
        func bringInStep(isOnce: Bool = true) async throws -> MirrorBegun {
            try await Self.bringInStep(mirror, with: address, isOnce: isOnce)
        }

        static func bringInStep(
            _ mirror: TestNode,
            with address: FaceAddress,
            isOnce: Bool = true
        ) async throws -> MirrorBegun {
            let request = ControlRequest.Mirror(
                namespace: TestNode.namespace.uri,
                source: address.description,
                intervalMilliseconds: 1_000,
                isOnce: isOnce
            )
            guard case .mirrored(let begun) = try await mirror.perform(.mirror(request)) else {
                throw Failure(.invalid, "mirror answered something else")
            }
            return begun
        }

        /// A node with routes to both; the mirror costs less.
        func reader() async throws -> TestNode {
            let reader = try TestNode(asking: address, silent: mirrorAddress)
            try await reader.trustPublisher()
            try await reader.start(listening: nil)
            // Both faces are up: else only one of them would be asked.
            try await eventually {
                try await reader.status().sources.count { $0.isUp } == 2
            }
            return reader
        }

        func stop(isRepositoryGone: Bool = false) async {
            await mirror.exchange.endRequests()
            await mirror.operations.mirroring.endAll()
            await mirror.exchange.stop()
            if !isRepositoryGone { await repository.exchange.stop() }
        }
    }

    private static func versions(_ node: TestNode) -> [Int] {
        node.operations.homes.templates.all().flatMap(\.versions).map(\.number)
    }

    // MARK: In step

    @Test(.timeLimit(.minutes(1)))
    func bringsEverythingOnceAndThenWhatIsNew() async throws {
        let pair = try await Pair()
        let first = try await pair.bringInStep()
        // Catalog, listing, record, node of the manifest, segments.
        #expect(first.pulledObjects == 44)
        #expect(first.versions == 1 && first.serial == 1)
        try await pair.repository.publish(nextImage)
        let second = try await pair.bringInStep()
        #expect(second.pulledObjects == 5)
        #expect(second.versions == 2)
        let status = try await pair.mirror.status()
        #expect(status.published.segmentCount == 41)
        #expect(status.mirrors.map(\.source) == [pair.address.description])
        #expect(status.mirrors.map(\.serial) == [2])
        #expect(status.mirrors.first?.problem == nil)
        #expect(status.mirrors.first?.lastInStep != nil)
        #expect(status.catalogs.map(\.isPublishedHere) == [false])
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func servesWhenTheRepositoryIsGone() async throws {
        let pair = try await Pair()
        try await pair.bringInStep()
        let reader = try await pair.reader()
        await pair.repository.exchange.stop()
        await reader.operations.followCatalog(of: TestNode.namespace)
        #expect(try await reader.status().catalogs.first?.problem == nil)
        let handle = try reader.openDisk()
        #expect(try await reader.read(handle, at: 0, byteCount: 2 << 20) == image.bytes)
        await reader.exchange.stop()
        await pair.stop(isRepositoryGone: true)
    }

    @Test(.timeLimit(.minutes(1)))
    func aMirrorThatLagsHidesNothing() async throws {
        let pair = try await Pair()
        try await pair.bringInStep()
        try await pair.repository.publish(nextImage)
        let reader = try await pair.reader()
        await reader.operations.followCatalog(of: TestNode.namespace)
        #expect(Self.versions(reader) == [1, 2])
        // The mirror is asked first, and does not have the segment that is new.
        let handle = try reader.openDisk()
        #expect(try await reader.read(handle, at: 0, byteCount: 2 << 20) == nextImage.bytes)
        let sources = try await reader.status().sources
        #expect(sources.first { $0.address == pair.mirrorAddress.description }?.objects ?? 0 > 0)
        // Nor is it a fault that one of them lags.
        await reader.operations.followCatalog(of: TestNode.namespace)
        #expect(try await reader.status().catalogs.map(\.problem) == [nil])

        // With the one that lags alone, the node stays with what it knows.
        await pair.repository.exchange.stop()
        try await eventually { try await reader.status().sources.count { $0.isUp } == 1 }
        await reader.operations.followCatalog(of: TestNode.namespace)
        #expect(Self.versions(reader) == [1, 2])
        let problem = try await reader.status().catalogs.first?.problem
        #expect(problem?.contains("is known already") == true)
        await reader.exchange.stop()
        await pair.stop(isRepositoryGone: true)
    }

    @Test(.timeLimit(.minutes(1)))
    func keepsInStepByItself() async throws {
        let pair = try await Pair()
        let mirror = try TestNode(
            mirrors: [
                .init(
                    namespace: TestNode.namespace,
                    source: pair.address,
                    intervalMilliseconds: 1_000
                )
            ]
        )
        try await mirror.trustPublisher()
        try await mirror.start()
        mirror.operations.startMirrors()
        try await eventually { try await mirror.status().mirrors.first?.serial == 1 }
        try await pair.repository.publish(nextImage)
        try await eventually { try await mirror.status().mirrors.first?.serial == 2 }
        #expect(try await mirror.status().published.segmentCount == 41)
        // What the settings say is changed there.
        let refused = await failure {
            try await mirror.perform(.endMirror(namespace: TestNode.namespace.uri))
        }
        #expect(refused?.kind == .exists)
        await mirror.operations.mirroring.endAll()
        await mirror.exchange.stop()
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aMirrorOfAMirrorHasEverythingToo() async throws {
        let pair = try await Pair()
        try await pair.bringInStep()
        let second = try TestNode()
        try await second.trustPublisher()
        try await second.start()
        let begun = try await Pair.bringInStep(second, with: pair.mirrorAddress)
        #expect(begun.pulledObjects == 44)
        await pair.stop()
        let handle = try second.openDisk()
        #expect(try await second.read(handle, at: 0, byteCount: 2 << 20) == image.bytes)
        await second.exchange.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func saysWhyItIsNotInStepAndGoesOnTrying() async throws {
        let pair = try await Pair()
        let silent = try await SilentListener()
        let address = silent.address
        await silent.stop()
        let refused = await failure {
            try await Pair.bringInStep(pair.mirror, with: address, isOnce: false)
        }
        #expect(refused?.kind == .unavailable)
        let status = try await pair.mirror.status()
        #expect(status.mirrors.map(\.source) == [address.description])
        #expect(status.mirrors.first?.serial == nil)
        #expect(status.mirrors.first?.problem != nil)
        // Another source takes its place.
        try await pair.bringInStep(isOnce: false)
        let after = try await pair.mirror.status().mirrors
        #expect(after.map(\.source) == [pair.address.description])
        #expect(after.first?.problem == nil)
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func isOneNoMoreWhenItIsToldSo() async throws {
        let pair = try await Pair()
        try await pair.bringInStep(isOnce: false)
        let done = try await pair.mirror.perform(.endMirror(namespace: TestNode.namespace.uri))
        guard case .done = done else {
            Issue.record("it answered \(done)")
            return
        }
        let status = try await pair.mirror.status()
        #expect(status.mirrors.isEmpty)
        #expect(status.published.segmentCount == 0)
        let refused = await failure {
            try await pair.mirror.perform(.endMirror(namespace: TestNode.namespace.uri))
        }
        #expect(refused?.kind == .notFound)
        await pair.stop()
    }

    // MARK: Publishing

    @Test(.timeLimit(.minutes(1)))
    func namesTheRepositoryToThoseWhoWouldPublish() async throws {
        let pair = try await Pair()
        try await pair.bringInStep()
        let publisher = try TestNode()
        try await publisher.start(listening: nil)
        // Though it takes templates from nobody.
        let elsewhere = await failure {
            try await publisher.publish(nextImage, at: pair.mirrorAddress)
        }
        let here = await failure { try await pair.mirror.publish(nextImage) }
        for refused in [elsewhere, here] {
            #expect(refused?.kind == .readOnly)
            #expect(refused.map { "\($0)" }?.contains(pair.address.description) == true)
        }
        #expect(try await publisher.publish(nextImage, at: pair.address).version == 2)
        await publisher.exchange.stop()
        await pair.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func nobodyElseIsBelievedToBeTheRepository() async throws {
        let pair = try await Pair()
        // It would take the template as well, and say so.
        let other = try TestNode(acceptsPublishing: true)
        try await other.trustPublisher()
        let otherAddress = try #require(try await other.start())
        // The publisher knows the namespace's catalog, and with it who signs it.
        let publisher = try TestNode(asking: pair.address)
        try await publisher.trustPublisher()
        try await publisher.start(listening: nil)
        await publisher.operations.followCatalog(of: TestNode.namespace)
        let refused = await failure { try await publisher.publish(nextImage, at: otherAddress) }
        #expect(refused?.kind == .untrusted)
        #expect(try await other.status().templates == 0)
        // So does one who is told the key.
        let stranger = try TestNode()
        try await stranger.start(listening: nil)
        let told = await failure {
            try await stranger.publish(nextImage, at: otherAddress, withKeyOf: pair.repository)
        }
        #expect(told?.kind == .untrusted)
        #expect(try await publisher.publish(nextImage, at: pair.address).version == 2)
        for node in [other, publisher, stranger] { await node.exchange.stop() }
        await pair.stop()
    }

    // MARK: Keys

    @Test(.timeLimit(.minutes(1)))
    func aKeyIsHadByItsId() async throws {
        let pair = try await Pair()
        try await pair.bringInStep()
        let key = try TestNode.publisherKey.get().publicKey
        let nodeKey = pair.repository.operations.homes.nodeKey.publicKey
        let node = try TestNode(asking: pair.address)
        try await node.start(listening: nil)
        // By a route, and from a neighbour that has it from the catalog it mirrors.
        for (wanted, source) in [(key, nil), (nodeKey, pair.mirrorAddress.description)] {
            let response = try await node.perform(
                .addTrustOfKey(
                    prefix: TestNode.namespace.uri,
                    keyId: wanted.keyId.digest.hex,
                    source: source
                )
            )
            guard case .trust(let added) = response else {
                Issue.record("it answered \(response)")
                continue
            }
            #expect(added.map(\.keyId) == [wanted.keyId.digest.hex])
        }
        let trusted = try node.operations.homes.database.trustEntries()
        #expect(Set(trusted.map(\.publicKeyDER)) == [key.derBytes, nodeKey.derBytes])

        let unknown = await failure {
            try await node.perform(
                .addTrustOfKey(
                    prefix: TestNode.namespace.uri,
                    keyId: String(repeating: "ab", count: 32),
                    source: nil
                )
            )
        }
        #expect(unknown?.kind == .noSource)
        #expect(try node.operations.homes.database.trustEntries().count == 2)
        await node.exchange.stop()
        await pair.stop()
    }
}

/// Waits until `condition` holds; fails after some seconds.
private func eventually(_ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while try await !condition() {
        guard ContinuousClock.now < deadline else {
            throw Failure(.timedOut, "it did not come to pass")
        }
        try await Task.sleep(for: .milliseconds(50))
    }
}
