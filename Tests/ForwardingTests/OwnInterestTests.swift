import CCNx
import Forwarding
import Testing

/// Interests of this process: each has an outcome, and goes where its owner says.
@Suite struct OwnInterestTests {
    typealias Scene = ForwarderScene

    // MARK: One outcome each

    @Test func getsALateObjectAllTheSame() throws {
        var scene = Scene()
        try scene.route("ccnx:/n", to: Scene.upstream)
        let interest = try Scene.interest("ccnx:/n/1", lifetime: 100)
        #expect(scene.receive(interest, from: Scene.local).interestsTo == [Scene.upstream])
        // Nobody has looked at the clock since it was over.
        scene.now += 200
        let actions = scene.receive(try Scene.object("ccnx:/n/1"), from: Scene.upstream)
        #expect(actions.objectsTo == [Scene.local])
        #expect(scene.forwarder.isAtRest)
    }

    @Test func getsWhatTheContentStoreFindsLate() throws {
        var scene = Scene()
        let interest = try Scene.interest("ccnx:/n/1", lifetime: 100)
        let actions = scene.forwarder.receive(interest, from: Scene.local, now: scene.now)
        guard case .lookUpContent(let token, _) = try #require(actions.first) else { return }
        let answer = scene.forwarder.contentStoreAnswered(
            token,
            with: try Scene.object("ccnx:/n/1"),
            now: scene.now + 200
        )
        #expect(answer.objectsTo == [Scene.local])
    }

    @Test func isToldThatItEndedWhenASimilarOneComesFirst() throws {
        var scene = Scene()
        try scene.route("ccnx:/n", to: Scene.upstream)
        _ = scene.receive(try Scene.interest("ccnx:/n/1", lifetime: 100), from: Scene.local)
        scene.now += 200
        let actions = scene.receive(try Scene.interest("ccnx:/n/1"), from: Scene.consumer)
        let expired = actions.filter { if case .reportExpired = $0 { true } else { false } }
        #expect(expired.count == 1)
        #expect(actions.interestsTo == [Scene.upstream])
    }

    @Test func isToldThatAllGaveItBackLate() throws {
        var scene = Scene()
        try scene.route("ccnx:/n", to: Scene.upstream)
        let interest = try Scene.interest("ccnx:/n/1", lifetime: 100)
        _ = scene.receive(interest, from: Scene.local)
        scene.now += 200
        #expect(try scene.giveBack(interest, .noRoute, from: Scene.upstream).returns == [.noRoute])
    }

    // MARK: Where its owner says

    private func express(
        _ scene: inout Scene,
        hopLimit: UInt8,
        to face: FaceId
    ) throws -> [ForwarderAction] {
        scene.forwarder.express(
            try Scene.interest("ccnx:/n/1", hopLimit: hopLimit),
            from: Scene.local,
            to: face,
            now: scene.now
        )
    }

    @Test func goesToTheFaceThatWasChosenWithoutAskingTheStore() throws {
        var scene = Scene()
        try scene.route("ccnx:/n", to: Scene.upstream)
        let first = try express(&scene, hopLimit: 1, to: Scene.other)
        #expect(first.interestsTo == [Scene.other])
        #expect(first.count == 1)
        // Silence: the owner asks another, which may go further.
        let second = try express(&scene, hopLimit: 32, to: Scene.upstream)
        #expect(second.interestsTo == [Scene.upstream])
        guard case .sendInterest(_, let hopLimit, _) = try #require(second.first) else { return }
        #expect(hopLimit == 32)
        // Either may answer.
        let object = try Scene.object("ccnx:/n/1")
        #expect(scene.receive(object, from: Scene.other).objectsTo == [Scene.local])
        #expect(scene.forwarder.isAtRest)
    }

    @Test func waitsForAllThatWereAskedBeforeItIsGivenBack() throws {
        var scene = Scene()
        _ = try express(&scene, hopLimit: 1, to: Scene.other)
        _ = try express(&scene, hopLimit: 32, to: Scene.upstream)
        let interest = try Scene.interest("ccnx:/n/1", hopLimit: 32)
        #expect(try scene.giveBack(interest, .noRoute, from: Scene.other).isEmpty)
        #expect(
            try scene.giveBack(interest, .hopLimitExceeded, from: Scene.upstream).returnsTo
                == [Scene.local]
        )
        #expect(scene.forwarder.isAtRest)
    }

    @Test func isGivenBackByTheNextAtOnceThoughTheOneBeforeIsSilent() throws {
        var scene = Scene()
        _ = try express(&scene, hopLimit: 1, to: Scene.other)
        _ = try express(&scene, hopLimit: 32, to: Scene.upstream)
        let interest = try Scene.interest("ccnx:/n/1", hopLimit: 32)
        #expect(try scene.giveBack(interest, .noRoute, from: Scene.upstream).returns == [.noRoute])
        #expect(scene.forwarder.isAtRest)
    }

    @Test func sharesWhatAnotherWaitsFor() throws {
        var scene = Scene()
        try scene.route("ccnx:/n", to: Scene.upstream)
        let theirs = try Scene.interest("ccnx:/n/1", hopLimit: 8)
        #expect(scene.receive(theirs, from: Scene.consumer).interestsTo == [Scene.upstream])
        #expect(try express(&scene, hopLimit: 1, to: Scene.other).interestsTo == [Scene.other])
        let object = try Scene.object("ccnx:/n/1")
        #expect(
            scene.receive(object, from: Scene.upstream).objectsTo.sorted()
                == [Scene.consumer, Scene.local]
        )
    }

    @Test func isGivenBackAtOnceWhenTheFaceIsGone() throws {
        var scene = Scene()
        _ = scene.forwarder.faceDown(Scene.other, now: scene.now)
        #expect(try express(&scene, hopLimit: 1, to: Scene.other).returnsTo == [Scene.local])
        #expect(scene.forwarder.isAtRest)
    }
}
