import CCNx
import Failures
import Forwarding
import Testing

@Suite struct InterestReturnPathTests {
    typealias Scene = ForwarderScene
    private let a = "ccnx:/mycorp.com/a"

    private func sceneWithTwoRoutes() throws -> Scene {
        var scene = Scene()
        try scene.route("ccnx:/mycorp.com", to: Scene.other, cost: 1)
        try scene.route("ccnx:/mycorp.com", to: Scene.upstream, cost: 2)
        return scene
    }

    @Test func makesTheForwarderAskTheNextCandidate() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        #expect(scene.receive(packet, from: Scene.consumer).interestsTo == [Scene.other])
        #expect(
            try scene.giveBack(packet, .noRoute, from: Scene.other).interestsTo == [Scene.upstream]
        )
        #expect(
            scene.receive(try Scene.object(a), from: Scene.upstream).objectsTo == [Scene.consumer]
        )
    }

    @Test func goesToEveryoneWhoWaitsOnceNobodyIsLeft() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.consumer)
        _ = scene.receive(packet, from: Scene.local)
        _ = try scene.giveBack(packet, .noRoute, from: Scene.other)
        let actions = try scene.giveBack(packet, .noRoute, from: Scene.upstream)
        #expect(actions.returnsTo == [Scene.consumer, Scene.local])
        #expect(scene.forwarder.pendingInterestCount == 0)
    }

    @Test func passesOnTheMostTellingCode() throws {
        for (first, second) in [(ReturnCode.congested, ReturnCode.noRoute), (.noRoute, .congested)]
        {
            var scene = try sceneWithTwoRoutes()
            let packet = try Scene.interest(a)
            _ = scene.receive(packet, from: Scene.consumer)
            _ = try scene.giveBack(packet, first, from: Scene.other)
            #expect(
                try scene.giveBack(packet, second, from: Scene.upstream).returns == [.congested]
            )
        }
    }

    @Test func isIgnoredFromAFaceTheInterestWasNotSentTo() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.consumer)
        for face in [Scene.upstream, Scene.consumer, Scene.local] {
            #expect(try scene.giveBack(packet, .noRoute, from: face) == [])
        }
        #expect(scene.forwarder.counters.returnsUnsolicited == 3)
        #expect(scene.forwarder.pendingInterestCount == 1)
    }

    @Test func countsOnceFromEachFace() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.consumer)
        _ = try scene.giveBack(packet, .noRoute, from: Scene.other)
        #expect(try scene.giveBack(packet, .noRoute, from: Scene.other) == [])
        #expect(scene.forwarder.pendingInterestCount == 1)
    }

    @Test func leavesAHopAloneThatGaveTheInterestBack() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.consumer)
        _ = try scene.giveBack(packet, .noRoute, from: Scene.other)
        let last = try scene.giveBack(packet, .prohibited, from: Scene.upstream)
        #expect(last.interestsTo == [])
        #expect(last.returns == [.prohibited])
        // Neither is a route lost by it.
        #expect(scene.forwarder.nextHops(for: try Name(uri: a)).count == 2)
    }

    @Test func isPassedOnAtOnceIfTheInterestIsTooLarge() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.consumer)
        let actions = try scene.giveBack(packet, .mtuTooLarge, from: Scene.other)
        #expect(actions.interestsTo == [])
        #expect(actions.returns == [.mtuTooLarge])
        #expect(scene.forwarder.isAtRest)
    }

    @Test func leavesNothingPendingAtWhoSendsIt() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.consumer)
        for face in [Scene.other, Scene.upstream] {
            _ = try scene.giveBack(packet, .noRoute, from: face)
        }
        // Who was told does not get an object any more.
        #expect(scene.receive(try Scene.object(a), from: Scene.upstream) == [])
    }

    @Test func mustGiveBackTheInterestThatWasSent() throws {
        var scene = try sceneWithTwoRoutes()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        let restricted = try Scene.interest(a, keyId: keyId(1))
        #expect(try scene.giveBack(restricted, .noRoute, from: Scene.other) == [])
        #expect(try scene.giveBack(try Scene.interest(a + "/b"), .noRoute, from: Scene.other) == [])
    }

    @Test func carriesTheHopLimitTheInterestCameWith() throws {
        var scene = Scene()
        let packet = try Scene.interest(a, hopLimit: 5)
        let wire = try #require(scene.receive(packet, from: Scene.consumer).first?.wire)
        guard case .interestReturn(let back) = try PacketDecoder.decode(wire).packet else {
            Issue.record("not an Interest Return")
            return
        }
        #expect(back.interest.hopLimit == 5)
        #expect(back.code == .noRoute)
    }

    // MARK: Faces that go away

    @Test func aFaceThatGoesAwayCountsAsAReturn() throws {
        var scene = try sceneWithTwoRoutes()
        let packet = try Scene.interest(a)
        _ = scene.receive(packet, from: Scene.consumer)
        #expect(
            scene.forwarder.faceDown(Scene.other, now: scene.now).interestsTo == [Scene.upstream]
        )
        let actions = scene.forwarder.faceDown(Scene.upstream, now: scene.now)
        #expect(actions.returns == [.pathError])
        #expect(scene.forwarder.routeCount == 0)
    }

    @Test func aFaceThatGoesAwayWaitsForNothing() throws {
        var scene = try sceneWithTwoRoutes()
        _ = scene.receive(try Scene.interest(a), from: Scene.consumer)
        _ = scene.receive(try Scene.interest(a), from: Scene.local)
        #expect(scene.forwarder.faceDown(Scene.consumer, now: scene.now) == [])
        #expect(scene.receive(try Scene.object(a), from: Scene.other).objectsTo == [Scene.local])
        _ = scene.receive(try Scene.interest(a), from: Scene.local)
        #expect(scene.forwarder.faceDown(Scene.local, now: scene.now) == [])
        #expect(scene.forwarder.pendingInterestCount == 0)
        #expect(scene.forwarder.faceDown(Scene.local, now: scene.now) == [])
    }

    // MARK: Codes

    @Test(arguments: Failure.Kind.allCases)
    func hasACodeForEveryKindOfFailure(_ kind: Failure.Kind) {
        #expect(ReturnCode(kind).code != 0)
    }
}
