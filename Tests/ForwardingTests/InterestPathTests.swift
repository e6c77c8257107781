import CCNx
import Failures
import Forwarding
import Testing

@Suite struct InterestPathTests {
    typealias Scene = ForwarderScene
    private let a = "ccnx:/mycorp.com/a"

    // MARK: Hop limit and scope

    @Test func returnsAnInterestWhoseHopLimitIsUsedUp() throws {
        var scene = try Scene.routed()
        let actions = scene.receive(try Scene.interest(a, hopLimit: 0), from: Scene.consumer)
        #expect(actions.returns == [.hopLimitExceeded])
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func decrementsTheHopLimitOfANeighboursInterest() throws {
        var scene = try Scene.routed()
        let packet = try Scene.interest(a, hopLimit: 8)
        let actions = scene.receive(packet, from: Scene.consumer)
        #expect(actions == [.sendInterest(packet, hopLimit: 7, to: Scene.upstream)])
        #expect(actions.first?.wire?[4] == 7)
    }

    @Test func keepsTheHopLimitOfALocalInterest() throws {
        var scene = try Scene.routed()
        let packet = try Scene.interest(a, hopLimit: 8)
        #expect(
            scene.receive(packet, from: Scene.local)
                == [.sendInterest(packet, hopLimit: 8, to: Scene.upstream)]
        )
    }

    @Test func keepsALocalInterestOfHopLimitZeroOnThisMachine() throws {
        var scene = try Scene.routed()
        let packet = try Scene.interest(a, hopLimit: 0)
        #expect(scene.receive(packet, from: Scene.local).returns == [.hopLimitExceeded])
        let application = FaceId(10)
        scene.forwarder.faceUp(application, scope: .local)
        try scene.route("ccnx:/mycorp.com", to: application, cost: 9)
        #expect(
            scene.receive(packet, from: Scene.local)
                == [.sendInterest(packet, hopLimit: 0, to: application)]
        )
    }

    @Test func servesOnlyFromThisMachineAtHopLimitOne() throws {
        var scene = try Scene.routed()
        let packet = try Scene.interest(a, hopLimit: 1)
        #expect(scene.receive(packet, from: Scene.consumer).returns == [.hopLimitExceeded])
        try scene.route("ccnx:/mycorp.com", to: Scene.local, cost: 9)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.local])
    }

    @Test func answersFromTheContentStoreAtHopLimitOne() throws {
        var scene = try Scene.routed()
        let asked = scene.forwarder.receive(
            try Scene.interest(a, hopLimit: 1),
            from: Scene.consumer,
            now: 0
        )
        guard case .lookUpContent(let token, _) = asked.first else {
            Issue.record("the content store was not asked")
            return
        }
        let object = try Scene.object(a)
        let actions = scene.forwarder.contentStoreAnswered(token, with: object, now: 0)
        #expect(actions == [.sendContentObject(object, to: Scene.consumer)])
        #expect(scene.forwarder.pendingInterestCount == 0)
        #expect(scene.forwarder.contentStoreAnswered(token, with: object, now: 0) == [])
    }

    @Test func keepsNamesOfLocalScopeOnThisMachine() throws {
        var scene = try Scene.routed()
        try scene.route("ccnx:/localhost", to: Scene.upstream)
        let packet = try Scene.interest("ccnx:/localhost/vm")
        #expect(scene.receive(packet, from: Scene.consumer).returns == [.prohibited])
        #expect(scene.receive(packet, from: Scene.local).returns == [.noRoute])
        let application = FaceId(10)
        scene.forwarder.faceUp(application, scope: .local)
        try scene.route("ccnx:/localhost", to: application, cost: 5)
        #expect(scene.receive(packet, from: Scene.local).interestsTo == [application])
    }

    @Test func returnsARestrictionItCannotCompute() throws {
        var scene = try Scene.routed()
        let sha512: [UInt8] = [0, 3, 0, 68, 0, 2, 0, 64] + [UInt8](repeating: 1, count: 64)
        var wire = try Scene.interest(a).wire
        wire += sha512
        wire[3] += UInt8(sha512.count)
        wire[11] += UInt8(sha512.count)
        let actions = scene.receive(try PacketDecoder.decode(wire), from: Scene.consumer)
        #expect(actions.returns == [.unsupportedHashRestriction])
    }

    // MARK: FIB

    @Test func asksTheLongestPrefix() throws {
        var scene = try Scene.routed()
        try scene.route("ccnx:/", to: Scene.consumer)
        try scene.route("ccnx:/mycorp.com/a", to: Scene.other, cost: 100)
        #expect(
            scene.receive(try Scene.interest(a + "/x"), from: Scene.local).interestsTo == [
                Scene.other
            ]
        )
        let b = try Scene.interest("ccnx:/mycorp.com/ab")
        #expect(scene.receive(b, from: Scene.local).interestsTo == [Scene.upstream])
        let c = try Scene.interest("ccnx:/elsewhere")
        #expect(scene.receive(c, from: Scene.local).interestsTo == [Scene.consumer])
    }

    @Test func asksTheCheapestOfAPrefix() throws {
        var scene = try Scene.routed()
        try scene.route("ccnx:/mycorp.com", to: Scene.upstream, cost: 10)
        try scene.route("ccnx:/mycorp.com", to: Scene.other, cost: 1)
        #expect(
            scene.receive(try Scene.interest(a), from: Scene.consumer).interestsTo == [Scene.other]
        )
    }

    @Test func doesNotSendAnInterestBackWhereItCameFrom() throws {
        var scene = try Scene.routed()
        let actions = scene.receive(try Scene.interest(a), from: Scene.upstream)
        #expect(actions.returns == [.noRoute])
        #expect(actions.returnsTo == [Scene.upstream])
    }

    @Test func returnsAnInterestWithoutRoute() throws {
        var scene = try Scene.routed()
        #expect(
            scene.receive(try Scene.interest("ccnx:/b"), from: Scene.consumer).returns == [.noRoute]
        )
        scene.forwarder.removeRoute(try Name(uri: "ccnx:/mycorp.com"), to: Scene.upstream)
        #expect(scene.receive(try Scene.interest(a), from: Scene.consumer).returns == [.noRoute])
        #expect(scene.forwarder.routeCount == 0)
    }

    @Test func forwardsAnInterestThatExpectsNoAnswerWithoutRememberingIt() throws {
        var scene = try Scene.routed()
        let packet = try Scene.interest(a, lifetime: 0)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.upstream])
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func sendsWhatExpectsNoAnswerToAHopThatCarriesIt() throws {
        var scene = try Scene.routed()
        let narrow = FaceId(5)
        let long = "ccnx:/mycorp.com/" + String(repeating: "x", count: 200)
        let packet = try Scene.interest(long, lifetime: 0)
        scene.forwarder.faceUp(narrow, scope: .remote, packetLimit: 200)
        try scene.route("ccnx:/mycorp.com", to: narrow, cost: 0)
        try scene.route("ccnx:/mycorp.com", to: Scene.upstream, cost: 9)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.upstream])
        #expect(scene.receive(packet, from: Scene.upstream).isEmpty)
        let short = try Scene.interest(a, lifetime: 0)
        #expect(scene.receive(short, from: Scene.consumer).interestsTo == [narrow])
    }

    // MARK: Aggregation

    @Test func aggregatesASimilarInterestFromAnotherHop() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        #expect(scene.receive(try Scene.interest(a), from: Scene.other) == [])
        #expect(scene.forwarder.pendingInterestCount == 1)
        let actions = scene.receive(try Scene.object(a), from: Scene.upstream)
        #expect(actions.objectsTo == [Scene.consumer, Scene.other])
    }

    @Test func forwardsARepeatFromTheSameHop() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        #expect(
            scene.receive(try Scene.interest(a), from: Scene.consumer).interestsTo == [
                Scene.upstream
            ]
        )
        #expect(
            scene.receive(try Scene.object(a), from: Scene.upstream).objectsTo == [Scene.consumer]
        )
    }

    @Test func sendsARepeatToAHopThatWasNotAskedYet() throws {
        var scene = try Scene.routed()
        try scene.route("ccnx:/mycorp.com", to: Scene.other, cost: 5)
        let packet = try Scene.interest(a)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.upstream])
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.other])
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.upstream])
    }

    @Test func forwardsASimilarInterestThatMayGoFurther() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a, hopLimit: 4), from: Scene.consumer)
        #expect(scene.receive(try Scene.interest(a, hopLimit: 3), from: Scene.other) == [])
        #expect(scene.receive(try Scene.interest(a, hopLimit: 4), from: Scene.other).count == 1)
        let further = try Scene.interest(a, hopLimit: 9)
        #expect(
            scene.receive(further, from: Scene.other)
                == [.sendInterest(further, hopLimit: 8, to: Scene.upstream)]
        )
    }

    @Test func asksTheContentStoreOnceForSimilarInterests() throws {
        var scene = try Scene.routed()
        let first = scene.forwarder.receive(try Scene.interest(a), from: Scene.consumer, now: 0)
        let second = scene.forwarder.receive(try Scene.interest(a), from: Scene.other, now: 0)
        let repeated = scene.forwarder.receive(try Scene.interest(a), from: Scene.consumer, now: 0)
        guard case .lookUpContent(let token, _) = first.first else { return }
        #expect(first.count == 1 && second == [] && repeated == [])
        let actions = scene.forwarder.contentStoreAnswered(token, with: try Scene.object(a), now: 0)
        #expect(actions.objectsTo == [Scene.consumer, Scene.other])
        #expect(actions.cachedCount == 0)
    }

    @Test func keepsInterestsWithDifferentRestrictionsApart() throws {
        var scene = try Scene.routed()
        for key in [nil, keyId(1), keyId(2)] {
            let actions = scene.receive(try Scene.interest(a, keyId: key), from: Scene.consumer)
            #expect(actions.interestsTo == [Scene.upstream])
        }
        #expect(scene.forwarder.pendingInterestCount == 3)
    }

    @Test func aggregatesALoopInsteadOfFollowingIt() throws {
        var scene = try Scene.routed()
        try scene.route("ccnx:/mycorp.com", to: Scene.other, cost: 5)
        _ = scene.receive(try Scene.interest(a, hopLimit: 8), from: Scene.consumer)
        #expect(scene.receive(try Scene.interest(a, hopLimit: 6), from: Scene.upstream) == [])
    }

    // MARK: Time

    @Test func forgetsAnInterestAfterTwoSecondsUnlessItSays() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        _ = scene.receive(try Scene.interest(a + "/long", lifetime: 5_000), from: Scene.consumer)
        #expect(scene.forwarder.nextExpiry == scene.now + 2_000)
        _ = scene.forwarder.expire(now: scene.now + 1_999)
        #expect(scene.forwarder.pendingInterestCount == 2)
        _ = scene.forwarder.expire(now: scene.now + 2_000)
        #expect(scene.forwarder.pendingInterestCount == 1)
        #expect(scene.forwarder.nextExpiry == scene.now + 5_000)
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream) == [])
    }

    @Test func boundsTheLifetimeAnInterestMayAskFor() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a, lifetime: 4_000_000_000), from: Scene.consumer)
        _ = scene.forwarder.expire(now: scene.now + 60_000)
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func waitsLongerWhenAnotherJoins() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        scene.now += 1_500
        _ = scene.receive(try Scene.interest(a), from: Scene.other)
        scene.now += 1_000
        #expect(scene.forwarder.expire(now: scene.now) == [])
        // The first has given up by now; the second gets the answer.
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream).objectsTo == [Scene.other])
    }

    @Test func startsAfreshAfterTheTimeIsOver() throws {
        var scene = try Scene.routed()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        scene.now += 2_000
        #expect(
            scene.receive(try Scene.interest(a), from: Scene.other).interestsTo == [Scene.upstream]
        )
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream).objectsTo == [Scene.other])
    }

    @Test func tellsLocalFacesThatTheirInterestEnded() throws {
        var scene = try Scene.routed()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.local)
        _ = scene.receive(packet, from: Scene.consumer)
        #expect(
            scene.forwarder.expire(now: scene.now + 2_000) == [
                .reportExpired(packet, to: Scene.local)
            ]
        )
    }

    @Test func whoJoinedALookUpWaitsForItWhenTheFirstIsGone() throws {
        var scene = try Scene.routed()
        let packet = try Scene.interest(a)
        let actions = scene.forwarder.receive(packet, from: Scene.consumer, now: scene.now)
        guard case .lookUpContent(let token, _) = try #require(actions.first) else {
            Issue.record("the content store is not asked")
            return
        }
        #expect(scene.forwarder.waitingFace(for: token) == Scene.consumer)
        _ = scene.receive(packet, from: Scene.other)
        #expect(scene.forwarder.faceDown(Scene.consumer, now: scene.now).isEmpty)
        // Nobody else will begin one: what is repeated waits for it, too.
        #expect(scene.receive(packet, from: Scene.other).isEmpty)
        #expect(scene.forwarder.waitingFace(for: token) == Scene.other)
        #expect(
            scene.forwarder.contentStoreAnswered(token, with: nil, now: scene.now).interestsTo
                == [Scene.upstream]
        )
        #expect(scene.forwarder.waitingFace(for: token) == nil)
    }
}
