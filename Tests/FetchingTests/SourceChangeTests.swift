import CCNx
import Failures
import Fetching
import Testing

/// Whom there is to ask changes while Interests are under way.
struct SourceChangeTests {
    typealias Scene = FetchScene

    private static let elsewhere = FetchSource.Kind.repository([
        .init(prefix: Name(segments: [.name("other.org")]), cost: 1)
    ])
    private static let here = FetchSource.Kind.repository([.init(prefix: Scene.prefix, cost: 5)])

    @Test func whatOneMayNotBeAskedForAnyMoreGoesToAnother() {
        var scene = Scene([Scene.repository, Scene.mirror])
        #expect(scene.want(1).askedOf == [Scene.repository])
        #expect(scene.change(Scene.repository, to: Self.elsewhere).askedOf == [Scene.mirror])
        #expect(scene.scheduler.inFlightCount == 1)
        #expect(scene.answer(1, from: Scene.mirror).delivered == [1])
        #expect(scene.scheduler.inFlightCount == 0)
    }

    @Test func aLateAnswerOfOneThatIsNotAskedAnyMoreCountsAllTheSame() {
        var scene = Scene([Scene.repository, Scene.mirror])
        _ = scene.want(1)
        _ = scene.change(Scene.repository, to: nil)
        #expect(scene.answer(1, from: Scene.repository).delivered == [1])
        #expect(scene.scheduler.inFlightCount == 0)
    }

    @Test func whatOnlyOneCouldServeEndsAtOnceWithItsCause() {
        var scene = Scene()
        for number in 0..<100 { _ = scene.want(number) }
        let actions = scene.change(Scene.repository, to: nil)
        #expect(actions.failed.count == 100)
        #expect(actions.askedOf.isEmpty)
        #expect(scene.scheduler.askCount == 0)
        #expect(scene.scheduler.inFlightCount == 0)
        guard case .fail(_, let failure) = actions.first else {
            Issue.record("the first action is another one")
            return
        }
        #expect(failure.kind == .noSource)
        #expect(failure.cause?.message.contains("not asked any more") == true)
    }

    @Test func whatWaitsForAFaceEndsWithTheLastRoute() {
        var scene = Scene()
        _ = scene.down(Scene.repository)
        #expect(scene.want(1).isEmpty)
        #expect(scene.change(Scene.repository, to: Self.elsewhere).failures == [.noSource])
    }

    @Test func whatWaitsIsAskedOfOneThatCanBeAskedFromNowOn() {
        var scene = Scene()
        _ = scene.change(9, to: Self.elsewhere)
        _ = scene.up(9)
        _ = scene.down(Scene.repository)
        #expect(scene.want(1).isEmpty)
        #expect(scene.change(9, to: Self.here).askedOf == [9])
        #expect(scene.answer(1, from: 9).delivered == [1])
    }

    @Test func aPrefixThatMovesFromOneToAnotherFailsNothing() {
        var scene = Scene()
        _ = scene.change(9, to: Self.elsewhere)
        _ = scene.up(9)
        for number in 0..<100 { _ = scene.want(number) }
        let actions = scene.scheduler.setKinds(
            [(id: Scene.repository, kind: Self.elsewhere), (id: 9, kind: Self.here)],
            now: scene.now
        )
        #expect(actions.failures.isEmpty)
        #expect(Set(actions.askedOf) == [9])
        #expect(scene.scheduler.askCount == 100)
        #expect(scene.scheduler.inFlightCount == actions.askedOf.count)
    }

    @Test func aRepositoryThatBecomesAPeerIsAskedForWhatItHoldsOnly() {
        var scene = Scene([Scene.repository, Scene.mirror])
        _ = scene.change(Scene.repository, to: .peer)
        let actions = scene.want(1)
        #expect(actions.askedOf == [Scene.repository])
        #expect(actions.hopLimits == [1])
        // Within the patience with peers.
        #expect(scene.pass(300).askedOf == [Scene.mirror])
        #expect(scene.want(2, peers: false).askedOf == [Scene.mirror])
    }

    @Test func whoeverWasNamedStaysTheOneThatIsAsked() {
        var scene = Scene([])
        _ = scene.change(7, to: .repository([]))
        _ = scene.up(7)
        #expect(scene.want(1, only: 7).askedOf == [7])
        #expect(scene.change(7, to: Self.elsewhere).isEmpty)
        #expect(scene.change(7, to: .repository([])).isEmpty)
        #expect(scene.answer(1, from: 7).delivered == [1])
    }

    @Test func whatIsKnownOfASourceStays() {
        var scene = Scene()
        _ = scene.want(1)
        _ = scene.answer(1, from: Scene.repository)
        _ = scene.change(Scene.repository, to: Self.elsewhere)
        #expect(scene.scheduler.sources[Scene.repository]?.counters.objects == 1)
        #expect(scene.scheduler.sources[Scene.repository]?.isUp == true)
    }

    @Test func oneReturnFreesOnePlaceInTheWindow() {
        var scene = Scene()
        _ = scene.want(1)
        _ = scene.want(2)
        #expect(scene.giveBack(1, .noRoute, from: Scene.repository).failures == [.noSource])
        #expect(scene.scheduler.inFlightCount == 1)
    }
}
