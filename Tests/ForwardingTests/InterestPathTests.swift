import CCNx
import Failures
import Forwarding
import Testing

@Suite struct InterestPathTests {
    typealias Scene = ForwarderScene
    private let a = "ccnx:/mycorp.com/a"

    private func scene() throws -> Scene {
        var scene = Scene()
        try scene.route("ccnx:/mycorp.com", to: Scene.upstream)
        return scene
    }

    // MARK: Hop limit and scope

    @Test func returnsAnInterestWhoseHopLimitIsUsedUp() throws {
        var scene = try scene()
        let actions = scene.receive(try Scene.interest(a, hopLimit: 0), from: Scene.consumer)
        #expect(actions.returns == [.hopLimitExceeded])
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func decrementsTheHopLimitOfANeighboursInterest() throws {
        var scene = try scene()
        let packet = try Scene.interest(a, hopLimit: 8)
        let actions = scene.receive(packet, from: Scene.consumer)
        #expect(actions == [.sendInterest(packet, hopLimit: 7, to: Scene.upstream)])
        #expect(actions.first?.wire?[4] == 7)
    }

    @Test func keepsTheHopLimitOfALocalInterest() throws {
        var scene = try scene()
        let packet = try Scene.interest(a, hopLimit: 8)
        #expect(
            scene.receive(packet, from: Scene.local)
                == [.sendInterest(packet, hopLimit: 8, to: Scene.upstream)]
        )
    }

    @Test func keepsALocalInterestOfHopLimitZeroOnThisMachine() throws {
        var scene = try scene()
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
        var scene = try scene()
        let packet = try Scene.interest(a, hopLimit: 1)
        #expect(scene.receive(packet, from: Scene.consumer).returns == [.hopLimitExceeded])
        try scene.route("ccnx:/mycorp.com", to: Scene.local, cost: 9)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.local])
    }

    @Test func answersFromTheContentStoreAtHopLimitOne() throws {
        var scene = try scene()
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
        var scene = try scene()
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
        var scene = try scene()
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
        var scene = try scene()
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
        var scene = try scene()
        try scene.route("ccnx:/mycorp.com", to: Scene.upstream, cost: 10)
        try scene.route("ccnx:/mycorp.com", to: Scene.other, cost: 1)
        #expect(
            scene.receive(try Scene.interest(a), from: Scene.consumer).interestsTo == [Scene.other]
        )
    }

    @Test func doesNotSendAnInterestBackWhereItCameFrom() throws {
        var scene = try scene()
        let actions = scene.receive(try Scene.interest(a), from: Scene.upstream)
        #expect(actions.returns == [.noRoute])
        #expect(actions.returnsTo == [Scene.upstream])
    }

    @Test func returnsAnInterestWithoutRoute() throws {
        var scene = try scene()
        #expect(
            scene.receive(try Scene.interest("ccnx:/b"), from: Scene.consumer).returns == [.noRoute]
        )
        scene.forwarder.removeRoute(try Name(uri: "ccnx:/mycorp.com"), to: Scene.upstream)
        #expect(scene.receive(try Scene.interest(a), from: Scene.consumer).returns == [.noRoute])
        #expect(scene.forwarder.routeCount == 0)
    }

    @Test func forwardsAnInterestThatExpectsNoAnswerWithoutRememberingIt() throws {
        var scene = try scene()
        let packet = try Scene.interest(a, lifetime: 0)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.upstream])
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func sendsWhatExpectsNoAnswerToAHopThatCarriesIt() throws {
        var scene = try scene()
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
        var scene = try scene()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        #expect(scene.receive(try Scene.interest(a), from: Scene.other) == [])
        #expect(scene.forwarder.pendingInterestCount == 1)
        let actions = scene.receive(try Scene.object(a), from: Scene.upstream)
        #expect(actions.objectsTo == [Scene.consumer, Scene.other])
    }

    @Test func forwardsARepeatFromTheSameHop() throws {
        var scene = try scene()
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
        var scene = try scene()
        try scene.route("ccnx:/mycorp.com", to: Scene.other, cost: 5)
        let packet = try Scene.interest(a)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.upstream])
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.other])
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.upstream])
    }

    @Test func forwardsASimilarInterestThatMayGoFurther() throws {
        var scene = try scene()
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
        var scene = try scene()
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
        var scene = try scene()
        for key in [nil, keyId(1), keyId(2)] {
            let actions = scene.receive(try Scene.interest(a, keyId: key), from: Scene.consumer)
            #expect(actions.interestsTo == [Scene.upstream])
        }
        #expect(scene.forwarder.pendingInterestCount == 3)
    }

    @Test func aggregatesALoopInsteadOfFollowingIt() throws {
        var scene = try scene()
        try scene.route("ccnx:/mycorp.com", to: Scene.other, cost: 5)
        _ = scene.receive(try Scene.interest(a, hopLimit: 8), from: Scene.consumer)
        #expect(scene.receive(try Scene.interest(a, hopLimit: 6), from: Scene.upstream) == [])
    }

    // MARK: Time

    @Test func forgetsAnInterestAfterTwoSecondsUnlessItSays() throws {
        var scene = try scene()
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
        var scene = try scene()
        _ = scene.receive(try Scene.interest(a, lifetime: 4_000_000_000), from: Scene.consumer)
        _ = scene.forwarder.expire(now: scene.now + 60_000)
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func waitsLongerWhenAnotherJoins() throws {
        var scene = try scene()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        scene.now += 1_500
        _ = scene.receive(try Scene.interest(a), from: Scene.other)
        scene.now += 1_000
        #expect(scene.forwarder.expire(now: scene.now) == [])
        // The first has given up by now; the second gets the answer.
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream).objectsTo == [Scene.other])
    }

    @Test func startsAfreshAfterTheTimeIsOver() throws {
        var scene = try scene()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        scene.now += 2_000
        #expect(
            scene.receive(try Scene.interest(a), from: Scene.other).interestsTo == [Scene.upstream]
        )
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream).objectsTo == [Scene.other])
    }

    @Test func tellsLocalFacesThatTheirInterestEnded() throws {
        var scene = try scene()
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
        var scene = try scene()
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

    // MARK: Bounds

    @Test func returnsInterestsThatDoNotFitThePIT() throws {
        var limits = ForwarderLimits()
        limits.pendingInterestCount = 3
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/", to: Scene.upstream)
        for index in 0..<5 {
            let actions = scene.receive(
                try Scene.interest("ccnx:/n/\(index)"),
                from: Scene.consumer
            )
            #expect(actions.returns == (index < 3 ? [] : [.noResources]))
        }
        _ = scene.forwarder.expire(now: scene.now + 2_000)
        #expect(scene.receive(try Scene.interest("ccnx:/n/9"), from: Scene.consumer).returns == [])
    }

    @Test func neighboursThatFillThePITLeaveRoomForThisMachine() throws {
        var limits = ForwarderLimits()
        limits.pendingInterestCount = 2
        limits.localInterestCount = 2
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/", to: Scene.upstream)
        func ask(_ index: Int, from face: FaceId) throws -> [ReturnCode] {
            scene.receive(try Scene.interest("ccnx:/n/\(index)"), from: face).returns
        }
        #expect(try (0..<3).map { try ask($0, from: Scene.consumer) } == [[], [], [.noResources]])
        #expect(try (3..<5).map { try ask($0, from: Scene.local) } == [[], []])
        #expect(try ask(5, from: Scene.local) == [.noResources])
        #expect(try ask(6, from: Scene.other) == [.noResources])
        _ = scene.forwarder.expire(now: scene.now + 2_000)
        // The same of an Interest that this node sends to whom it chose.
        for index in 0..<2 { _ = try ask(index, from: Scene.consumer) }
        let own = scene.forwarder.express(
            try Scene.interest("ccnx:/n/9"),
            from: Scene.local,
            to: Scene.upstream,
            now: scene.now
        )
        #expect(own.interestsTo == [Scene.upstream])
    }

    @Test func bytesOfNeighboursLeaveRoomForThisMachine() throws {
        var limits = ForwarderLimits()
        let packet = try Scene.interest("ccnx:/n/0")
        limits.pendingByteCount = packet.pendingByteCount
        limits.localPendingByteCount = packet.pendingByteCount
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/", to: Scene.upstream)
        #expect(scene.receive(packet, from: Scene.consumer).returns == [])
        let next = try Scene.interest("ccnx:/n/1")
        #expect(scene.receive(next, from: Scene.other).returns == [.noResources])
        #expect(scene.receive(next, from: Scene.local).returns == [])
        let third = try Scene.interest("ccnx:/n/2")
        #expect(scene.receive(third, from: Scene.local).returns == [.noResources])
        _ = scene.forwarder.expire(now: scene.now + 2_000)
        #expect(scene.forwarder.isAtRest)
    }

    @Test func aNameOfManySegmentsCountsWithWhatItTakesInMemory() throws {
        let short = String(repeating: "/x", count: 10_000)
        let packet = try Scene.interest("ccnx:" + short)
        #expect(packet.wire.count < 51_000)
        #expect(packet.pendingByteCount > 700_000)
        let ordinary = try Scene.interest("ccnx:/mycorp.com/app1/linuxvm/x")
        #expect(ordinary.pendingByteCount < 1_024)
        // As many ordinary ones fit as the table has entries.
        let limits = ForwarderLimits()
        #expect(ordinary.pendingByteCount * limits.pendingInterestCount <= limits.pendingByteCount)
    }

    @Test func keepsOneFaceFromFillingThePIT() throws {
        var limits = ForwarderLimits()
        limits.pendingInterestCountPerFace = 2
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/", to: Scene.upstream)
        for index in 0..<3 {
            let actions = scene.receive(
                try Scene.interest("ccnx:/n/\(index)"),
                from: Scene.consumer
            )
            #expect(actions.returns == (index < 2 ? [] : [.noResources]))
        }
        #expect(scene.receive(try Scene.interest("ccnx:/n/2"), from: Scene.other).returns == [])
        _ = scene.receive(try Scene.object("ccnx:/n/0"), from: Scene.upstream)
        #expect(scene.receive(try Scene.interest("ccnx:/n/3"), from: Scene.consumer).returns == [])
    }

    @Test func boundsTheFacesThatWaitForOneInterest() throws {
        var limits = ForwarderLimits()
        limits.originCountPerInterest = 2
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/", to: Scene.upstream)
        for (face, expected) in [
            (Scene.consumer, []), (Scene.other, []), (Scene.upstream, [.noResources]),
            // Neighbours do not keep this machine from asking.
            (Scene.local, []),
        ]
            as [(FaceId, [ReturnCode])]
        {
            #expect(scene.receive(try Scene.interest(a), from: face).returns == expected)
        }
    }

    @Test func goesToTheNextHopThatCarriesSoLargeAPacket() throws {
        var scene = Scene()
        let narrow = FaceId(5)
        let interest = try Scene.interest("ccnx:/mycorp.com/" + String(repeating: "x", count: 200))
        scene.forwarder.faceUp(narrow, scope: .remote, packetLimit: 200)
        try scene.route("ccnx:/", to: narrow)
        let actions = scene.receive(interest, from: Scene.consumer)
        #expect(actions.interestsTo.isEmpty && actions.returns == [.mtuTooLarge])
        try scene.route("ccnx:/", to: Scene.upstream, cost: 9)
        #expect(scene.receive(interest, from: Scene.consumer).interestsTo == [Scene.upstream])
        // What a narrow face could not carry is the better reason.
        #expect(
            try scene.giveBack(interest, .noRoute, from: Scene.upstream).returns == [.mtuTooLarge]
        )
        #expect(scene.receive(try Scene.interest(a), from: Scene.consumer).interestsTo == [narrow])
    }

    @Test func boundsTheBytesThePITKeeps() throws {
        var limits = ForwarderLimits()
        let size = try Scene.interest("ccnx:/n/0").pendingByteCount
        limits.pendingByteCount = 2 * size
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/", to: Scene.upstream)
        for index in 0..<3 {
            let actions = scene.receive(
                try Scene.interest("ccnx:/n/\(index)"),
                from: Scene.consumer
            )
            #expect(actions.returns == (index < 2 ? [] : [.noResources]))
        }
        // Every way out gives the bytes back.
        _ = scene.receive(try Scene.object("ccnx:/n/0"), from: Scene.upstream)
        _ = scene.forwarder.expire(now: scene.now + 2_000)
        for index in 5..<7 {
            let actions = scene.receive(try Scene.interest("ccnx:/n/\(index)"), from: Scene.other)
            #expect(actions.returns == [])
        }
        _ = scene.forwarder.faceDown(Scene.other, now: scene.now)
        #expect(scene.receive(try Scene.interest("ccnx:/n/8"), from: Scene.consumer).returns == [])
    }

    /// What the table keeps is counted: not a large Interest with the bytes of a small one that asks for the same.
    @Test func keepsNoInterestButThoseOfWhoWaits() throws {
        let large = try PacketEncoder().encode(
            .interest(
                Interest(
                    name: try Name(uri: a),
                    hopLimit: 8,
                    payload: [UInt8](repeating: 7, count: 10_000)
                )
            )
        )
        let small = try Scene.interest(a, hopLimit: 4)
        func sent(_ actions: [ForwarderAction]) -> (wire: [UInt8], hopLimit: UInt8)? {
            guard case .sendInterest(let packet, let hopLimit, _) = actions.first else {
                return nil
            }
            return (wire: packet.wire, hopLimit: hopLimit)
        }
        // From the same face: it still goes as far as was asked for.
        var scene = Scene()
        try scene.route("ccnx:/", to: Scene.upstream)
        #expect(sent(scene.receive(large, from: Scene.consumer))?.wire == large.wire)
        let again = try #require(sent(scene.receive(small, from: Scene.consumer)))
        #expect(again.wire == small.wire && again.hopLimit == 7)
        // From another one, which is then alone.
        scene = Scene()
        try scene.route("ccnx:/", to: Scene.upstream)
        _ = scene.receive(large, from: Scene.consumer)
        #expect(scene.receive(small, from: Scene.other).interestsTo == [])
        _ = scene.forwarder.faceDown(Scene.consumer, now: scene.now)
        let left = try #require(sent(scene.receive(small, from: Scene.other)))
        #expect(left.wire == small.wire && left.hopLimit == 3)
        _ = scene.forwarder.expire(now: scene.now + 2_000)
        #expect(scene.forwarder.isAtRest)
    }

    @Test func boundsRoutes() throws {
        var limits = ForwarderLimits()
        limits.routeCount = 1
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/a", to: Scene.upstream)
        try scene.route("ccnx:/a", to: Scene.upstream, cost: 7)
        #expect(throws: Failure.self) { try scene.route("ccnx:/b", to: Scene.upstream) }
        let deep = "ccnx:" + String(repeating: "/x", count: 33)
        scene.forwarder.removeRoute(try Name(uri: "ccnx:/a"), to: Scene.upstream)
        #expect(throws: Failure.self) { try scene.route(deep, to: Scene.upstream) }
        #expect(throws: Failure.self) { try scene.route("ccnx:/a", to: FaceId(77)) }
    }
}
