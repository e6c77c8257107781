import CCNx
import Forwarding
import Testing

@Suite struct ContentObjectPathTests {
    typealias Scene = ForwarderScene
    private let a = "ccnx:/mycorp.com/a"

    @Test func answersWhoAskedAndMayBeCached() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        let object = try Scene.object(a)
        #expect(
            scene.receive(object, from: Scene.upstream)
                == [.cache(object), .sendContentObject(object, to: Scene.consumer)]
        )
        #expect(scene.receive(object, from: Scene.upstream) == [])
        #expect(scene.forwarder.counters.objectsUnsolicited == 1)
    }

    @Test func isIgnoredIfNobodyAsked() throws {
        var scene = try Scene.routed()
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream) == [])
    }

    @Test func isIgnoredFromAFaceThatWasNotAsked() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        for face in [Scene.other, Scene.consumer, Scene.local, FaceId(77)] {
            #expect(scene.receive(try Scene.object(a), from: face) == [])
        }
        #expect(
            scene.receive(try Scene.object(a), from: Scene.upstream).objectsTo == [Scene.consumer]
        )
    }

    @Test func isIgnoredWhileOnlyTheContentStoreWasAsked() throws {
        var scene = try Scene.routed()
        _ = scene.forwarder.receive(try Scene.interest(a), from: Scene.consumer, now: scene.now)
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream) == [])
        #expect(scene.forwarder.pendingInterestCount == 1)
    }

    @Test func matchesTheExactNameOnly() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        #expect(scene.receive(try Scene.object(a + "/b"), from: Scene.upstream) == [])
        #expect(scene.receive(try Scene.object("ccnx:/mycorp.com"), from: Scene.upstream) == [])
    }

    @Test func matchesAKeyIdRestrictionOnlyWithThatKeyId() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a, keyId: keyId(1)), from: Scene.consumer)
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream) == [])
        #expect(scene.receive(try Scene.object(a, keyId: keyId(2)), from: Scene.upstream) == [])
        let actions = scene.receive(try Scene.object(a, keyId: keyId(1)), from: Scene.upstream)
        #expect(actions.objectsTo == [Scene.consumer])
    }

    @Test func matchesAHashRestrictionOnlyWithThatHash() throws {
        var scene = try Scene.routed()
        let wanted = try Scene.object(a, payload: "wanted")
        let packet = try Scene.interest(a, hash: Scene.hash(wanted))
        _ = scene.receive(packet, from: Scene.consumer)
        #expect(scene.receive(try Scene.object(a, payload: "forged"), from: Scene.upstream) == [])
        #expect(scene.receive(wanted, from: Scene.upstream).objectsTo == [Scene.consumer])
    }

    @Test func withoutANameMatchesByHashAlone() throws {
        var scene = try Scene.routed()
        let nameless = try Scene.object(nil, payload: "nameless")
        _ = scene.receive(try Scene.interest(a), from: Scene.other)
        #expect(scene.receive(nameless, from: Scene.upstream) == [])
        _ = scene.receive(try Scene.interest(a, hash: Scene.hash(nameless)), from: Scene.consumer)
        #expect(scene.receive(try Scene.object(nil, payload: "forged"), from: Scene.upstream) == [])
        #expect(scene.receive(nameless, from: Scene.upstream).objectsTo == [Scene.consumer])
        #expect(scene.forwarder.pendingInterestCount == 1)
    }

    @Test func answersEveryInterestItMatchesButSendsEachFaceOneCopy() throws {
        var scene = try Scene.routed()
        let object = try Scene.object(a, keyId: keyId(1))
        let hash = Scene.hash(object)
        for (key, hash) in [(nil, nil), (keyId(1), nil), (nil, hash), (keyId(1), hash)]
            as [(KeyId?, ContentObjectHash?)]
        {
            _ = scene.receive(try Scene.interest(a, keyId: key, hash: hash), from: Scene.consumer)
            _ = scene.receive(try Scene.interest(a, keyId: key, hash: hash), from: Scene.local)
        }
        #expect(scene.forwarder.pendingInterestCount == 4)
        let actions = scene.receive(object, from: Scene.upstream)
        #expect(actions.objectsTo == [Scene.consumer, Scene.local])
        #expect(actions.cachedCount == 1)
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func isSentOnThoughItExpiredOnTheWay() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        let expired = ContentObject(
            name: try Name(uri: a),
            payload: [1],
            expiryTimeMilliseconds: 1
        )
        let packet = try PacketEncoder().encode(.contentObject(expired))
        #expect(scene.receive(packet, from: Scene.upstream).objectsTo == [Scene.consumer])
    }

    @Test func leavesAnInterestAloneThatWasSentElsewhere() throws {
        var scene = try Scene.routed()
        try scene.route(a, to: Scene.other, cost: 1)
        try scene.route(a, to: Scene.upstream, cost: 2)
        let object = try Scene.object(a, keyId: keyId(1))
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        let restricted = try Scene.interest(a, keyId: keyId(1))
        _ = scene.receive(restricted, from: Scene.consumer)
        _ = try scene.giveBack(restricted, .noRoute, from: Scene.other)
        // One waits for the other hop still, which may answer otherwise.
        #expect(scene.receive(object, from: Scene.upstream).objectsTo == [Scene.consumer])
        #expect(scene.forwarder.pendingInterestCount == 1)
        #expect(scene.receive(object, from: Scene.other).objectsTo == [Scene.consumer])
        #expect(scene.forwarder.isAtRest)
    }

    @Test func mayBeAsLargeAsTheWidestOfThoseWhoWait() throws {
        var scene = try Scene.routed()
        let narrow = FaceId(5)
        scene.forwarder.faceUp(narrow, scope: .remote, packetLimit: 200)
        let packet = try Scene.interest(a)
        guard case .interest(let interest) = packet.packet else { return }
        #expect(scene.forwarder.largestAnswer(to: interest) == 0)
        _ = scene.receive(packet, from: narrow)
        #expect(scene.forwarder.largestAnswer(to: interest) == 200)
        _ = scene.receive(packet, from: Scene.consumer)
        #expect(scene.forwarder.largestAnswer(to: interest) == PacketFraming.maximumPacketLength)
    }

    @Test func isGivenBackToFacesThatDoNotCarrySoLargeAPacket() throws {
        var scene = try Scene.routed()
        let narrow = FaceId(5)
        scene.forwarder.faceUp(narrow, scope: .remote, packetLimit: 200)
        let interest = try Scene.interest(a)
        for face in [narrow, Scene.consumer] { _ = scene.receive(interest, from: face) }
        let large = try Scene.object(a, payload: String(repeating: "x", count: 200))
        let actions = scene.receive(large, from: Scene.upstream)
        #expect(actions.objectsTo == [Scene.consumer])
        #expect(actions.returns == [.mtuTooLarge])
        #expect(actions.returnsTo == [narrow])
        #expect(scene.forwarder.isAtRest)
        // Out of the content store, too.
        guard
            case .lookUpContent(let token, _)? = scene.forwarder.receive(
                interest,
                from: narrow,
                now: scene.now
            ).first
        else {
            Issue.record("the content store is not asked")
            return
        }
        let answer = scene.forwarder.contentStoreAnswered(token, with: large, now: scene.now)
        #expect(answer.returns == [.mtuTooLarge])
        _ = scene.receive(interest, from: narrow)
        let small = try Scene.object(a)
        #expect(scene.receive(small, from: Scene.upstream).objectsTo == [narrow])
    }

    @Test func isHashedOnlyIfAnInterestDependsOnIt() throws {
        var forwarder = Forwarder { packet in
            Issue.record("hashed for nothing")
            return ForwarderScene.hash(packet)
        }
        forwarder.faceUp(Scene.consumer, scope: .remote)
        forwarder.faceUp(Scene.upstream, scope: .remote)
        try forwarder.addRoute(Name(), to: Scene.upstream)
        guard
            case .lookUpContent(let token, _) = forwarder.receive(
                try Scene.interest(a),
                from: Scene.consumer,
                now: 0
            ).first
        else { return }
        _ = forwarder.contentStoreAnswered(token, with: nil, now: 0)
        let other = try Scene.object(nil)
        #expect(forwarder.receive(other, from: Scene.upstream, now: 0) == [])
        let object = try Scene.object(a, keyId: keyId(1))
        #expect(
            forwarder.receive(object, from: Scene.upstream, now: 0).objectsTo == [Scene.consumer]
        )
    }
}
