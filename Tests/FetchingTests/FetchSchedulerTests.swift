import CCNx
import Failures
import Fetching
import TestSupport
import Testing

@Suite struct FetchSchedulerTests {
    typealias Scene = FetchScene

    // MARK: Whom to ask

    @Test func asksARepositoryAndDeliversToAllWhoWant() {
        var scene = Scene()
        #expect(scene.want(1).askedOf == [Scene.repository])
        #expect(scene.want(1).isEmpty)
        #expect(scene.answer(1, from: Scene.repository).delivered == [1, 2])
        #expect(scene.scheduler.askCount == 0)
        #expect(scene.scheduler.inFlightCount == 0)
        // A second copy, or one that nobody wants, is nothing.
        #expect(scene.answer(1, from: Scene.repository).isEmpty)
    }

    @Test func asksPeersFirstWithOneHopAndTheRepositoryForWhatTheyDoNotHave() {
        var scene = Scene([Scene.repository, Scene.peer, Scene.otherPeer])
        let first = scene.want(1)
        #expect(first.askedOf == [Scene.peer])
        #expect(first.hopLimits == [1])
        #expect(scene.giveBack(1, .noRoute, from: Scene.peer).askedOf == [Scene.otherPeer])
        let last = scene.giveBack(1, .hopLimitExceeded, from: Scene.otherPeer)
        #expect(last.askedOf == [Scene.repository])
        #expect(last.hopLimits == [Interest.defaultHopLimit])
        #expect(scene.giveBack(1, .noRoute, from: Scene.repository).failures == [.noSource])
    }

    @Test func asksOnlyRepositoriesForWhatPeersCannotSay() {
        var scene = Scene([Scene.repository, Scene.peer])
        #expect(scene.want(1, peers: false).askedOf == [Scene.repository])
    }

    @Test func asksTheLongestPrefixFirstThenTheLowestCost() {
        var scene = Scene([Scene.mirror, Scene.repository])
        let longer = Scene.name(1)
        scene.scheduler.addSource(
            9,
            label: "near",
            kind: .repository([.init(prefix: longer, cost: 99)])
        )
        _ = scene.up(9)
        #expect(scene.want(1).askedOf == [9])
        #expect(scene.giveBack(1, .noRoute, from: 9).askedOf == [Scene.repository])
        #expect(scene.giveBack(1, .noRoute, from: Scene.repository).askedOf == [Scene.mirror])
    }

    @Test func namesEachRepositoryThatCanBeReached() {
        var scene = Scene([Scene.mirror, Scene.repository, Scene.peer])
        let name = Scene.name(1)
        #expect(scene.repositories(for: name) == [Scene.repository, Scene.mirror])
        _ = scene.down(Scene.repository)
        #expect(scene.repositories(for: name) == [Scene.mirror])
        // With nobody else it may come up.
        _ = scene.down(Scene.mirror)
        #expect(scene.repositories(for: name) == [Scene.repository, Scene.mirror])
        _ = scene.up(Scene.repository)
        _ = scene.up(Scene.mirror)
        // One that stays silent is left to those who have nobody else.
        _ = scene.want(2, only: Scene.repository)
        var benched: [Int] = []
        for _ in 0..<100 where benched.isEmpty { benched = scene.pass(100).benched }
        #expect(benched == [Scene.repository])
        #expect(scene.repositories(for: name) == [Scene.mirror])
        let elsewhere = Name(segments: [.name("other.org")])
        #expect(scene.repositories(for: elsewhere).isEmpty)
    }

    /// Anybody on the link can say that a node is there which never answers, or not for long.
    @Test(arguments: [false, true])
    func asksSilentPeersSeldom(hasAnswered: Bool) {
        var scene = Scene([Scene.repository, Scene.peer])
        if hasAnswered {
            _ = scene.want(1_000)
            _ = scene.answer(1_000, from: Scene.peer)
        }
        var asked: [Bool] = []
        for number in 0..<400 {
            let isAsked = scene.want(number).askedOf == [Scene.peer]
            asked.append(isAsked)
            if isAsked {
                #expect(scene.pass(hasAnswered ? 105 : 255).askedOf == [Scene.repository])
            }
            #expect(scene.answer(number, from: Scene.repository).delivered.count == 1)
            _ = scene.pass(1_000)
        }
        #expect(asked.prefix(3) == [true, true, true])
        #expect(asked.suffix(200).count { $0 } < 30)
    }

    @Test func asksUselessPeersSeldom() {
        var scene = Scene([Scene.repository, Scene.peer])
        var asked = 0
        for number in 0..<400 {
            if scene.want(number).askedOf == [Scene.peer] {
                asked += 1
                _ = scene.giveBack(number, .noRoute, from: Scene.peer)
            }
            #expect(!scene.answer(number, from: Scene.repository).delivered.isEmpty)
        }
        #expect((50...90).contains(asked))
    }

    @Test func asksOnlyWhoWasNamedAndThoseThatOthersName() {
        var scene = Scene([Scene.repository])
        for source in [7, 8] {
            scene.scheduler.addSource(source, label: "publisher", kind: .repository([]))
            _ = scene.up(source)
        }
        #expect(scene.want(1, only: 7).askedOf == [7])
        _ = scene.down(7)
        // Somebody else has it too.
        #expect(scene.want(1, only: 8).askedOf == [8])
        #expect(scene.answer(1, from: 8).delivered == [1, 2])
        #expect(scene.want(2, only: 7).isEmpty)
        #expect(scene.want(2).askedOf == [Scene.repository])
        // Others never ask those who are known for one thing.
        #expect(scene.giveBack(2, .noRoute, from: Scene.repository).failures == [.noSource])
    }

    @Test func asksAFaceThatComesUpForWhatWaitsForTheEndOfABench() {
        var scene = Scene([Scene.repository, Scene.peer])
        _ = scene.down(Scene.repository)
        #expect(scene.want(1).askedOf == [Scene.peer])
        #expect(scene.answer(1, from: Scene.peer, isRight: false).askedOf.isEmpty)
        #expect(scene.up(Scene.repository).askedOf == [Scene.repository])
    }

    @Test func knowsWhoSentWhatWhereTwoHaveOneFace() {
        var scene = Scene([])
        let face = FaceId(70)
        for source in [7, 8] {
            scene.scheduler.addSource(source, label: "publisher", kind: .repository([]))
            _ = scene.scheduler.faceUp(face, of: source, now: scene.now)
        }
        _ = scene.want(1, only: 7)
        _ = scene.want(2, only: 8)
        #expect(scene.answer(1, from: 70).delivered == [1])
        #expect(scene.scheduler.sources[7]?.counters.objects == 1)
        _ = scene.scheduler.removeSource(7, now: scene.now)
        #expect(scene.answer(2, from: 70).delivered == [2])
        #expect(scene.scheduler.sources[8]?.counters.objects == 1)
        #expect(scene.scheduler.inFlightCount == 0)
    }

    @Test func whoeverJoinsWhatIsQueuedIsAnsweredByItsOwnDeadline() {
        var scene = Scene()
        for number in 0..<200 { _ = scene.want(number, patience: 60_000) }
        _ = scene.want(900, .hydration, patience: 100)
        _ = scene.want(900, .hydration, patience: 700)
        let actions = scene.pass(701)
        #expect(actions.failed.contains(201) && actions.failed.contains(202))
    }

    // MARK: Silence

    @Test func asksTheNextWhenOneIsSilentAndTakesALateAnswerAllTheSame() {
        var scene = Scene([Scene.repository, Scene.peer])
        _ = scene.want(1)
        #expect(scene.pass(300).askedOf == [Scene.repository])
        #expect(scene.answer(1, from: Scene.peer).delivered == [1])
        #expect(scene.scheduler.inFlightCount == 0)
    }

    @Test func asksASilentRepositoryAgainUntilTheDeadline() {
        var scene = Scene()
        _ = scene.want(1)
        let actions = scene.pass(9_999)
        #expect(actions.failures.isEmpty)
        #expect(actions.askedOf.count >= 3)
        #expect(actions.benched == [Scene.repository] || actions.benched.count > 1)
        #expect(scene.pass(1).failures == [.timedOut])
        #expect(scene.scheduler.askCount == 0)
    }

    @Test func benchesTheSilentAndFindsOutWithOneInterestWhetherItIsBack() {
        var scene = Scene()
        for number in 0..<100 { _ = scene.want(number, patience: 60_000) }
        var actions = scene.pass(8_000)
        #expect(!actions.benched.isEmpty)
        // Later only probes.
        actions = scene.pass(20_000)
        #expect(actions.askedOf.count <= 12)
        while scene.scheduler.inFlightCount == 0 { actions = scene.pass(100) }
        // It answers: everything else follows.
        var waiting = actions.sentNames
        var delivered = 0
        while delivered < 100, scene.now < 70_000 {
            guard let next = waiting.popLast() else {
                waiting = scene.pass(100).sentNames
                continue
            }
            let number = (0..<100).first { Scene.name($0) == next } ?? 0
            let more = scene.answer(number, from: Scene.repository)
            delivered += more.delivered.count
            waiting += more.sentNames
        }
        #expect(delivered == 100)
        #expect(scene.scheduler.sources[Scene.repository]?.isBenched(at: scene.now) == false)
    }

    @Test func aSilentRepositoryDoesNotHoldUpAnother() {
        var scene = Scene([Scene.repository])
        scene.scheduler.addSource(
            7,
            label: "elsewhere",
            kind: .repository([.init(prefix: Name(segments: [.name("other.org")]), cost: 1)])
        )
        _ = scene.up(7)
        for number in 0..<2_000 { _ = scene.want(number) }
        let actions = scene.scheduler.want(
            9_999,
            .init(
                name: Name(segments: [.name("other.org"), .name("x")]),
                lane: .reader,
                deadline: scene.now + 10_000,
                mayPeersAnswer: true
            ),
            now: scene.now
        )
        #expect(actions.askedOf == [7])
        // All end in time, those that never got a place in the window too.
        #expect(scene.pass(10_000).failed.count == 2_001)
        #expect(scene.scheduler.askCount == 0)
        #expect(scene.scheduler.inFlightCount == 0)
    }

    // MARK: Faces

    @Test func waitsALittleForAFaceThatIsDown() {
        var scene = Scene()
        _ = scene.down(Scene.repository)
        #expect(scene.want(1).isEmpty)
        #expect(scene.pass(1_000).isEmpty)
        #expect(scene.up(Scene.repository).askedOf == [Scene.repository])
        _ = scene.want(2)
        _ = scene.down(Scene.repository)
        #expect(scene.pass(2_999).failures.isEmpty)
        let failures = scene.pass(2).failures
        #expect(failures == [.unavailable, .unavailable])
    }

    @Test func asksOthersForWhatWasAskedOfALostFace() {
        var scene = Scene([Scene.repository, Scene.mirror])
        #expect(scene.want(1).askedOf == [Scene.repository])
        #expect(scene.down(Scene.repository).askedOf == [Scene.mirror])
        #expect(scene.answer(1, from: Scene.mirror).delivered == [1])
    }

    @Test func waitsForARepositoryThatConnectsThoughPeersHaveNothing() {
        var scene = Scene([Scene.repository, Scene.peer])
        _ = scene.down(Scene.repository)
        #expect(scene.want(1).askedOf == [Scene.peer])
        #expect(scene.giveBack(1, .noRoute, from: Scene.peer).failures.isEmpty)
        #expect(scene.up(Scene.repository).askedOf == [Scene.repository])
    }

    @Test func saysThatThereIsNoRoute() {
        var scene = Scene([])
        #expect(scene.want(1).failures == [.noSource])
    }

    // MARK: Wrong bytes

    @Test func benchesAPeerThatLiesAndAsksTheRepository() {
        var scene = Scene([Scene.repository, Scene.peer])
        _ = scene.want(1)
        let actions = scene.answer(1, from: Scene.peer, isRight: false)
        #expect(actions.benched == [Scene.peer])
        #expect(actions.askedOf == [Scene.repository])
        #expect(scene.answer(1, from: Scene.repository).delivered == [1])
        #expect(scene.want(2).askedOf == [Scene.repository])
        _ = scene.answer(2, from: Scene.repository)
        _ = scene.pass(61_000)
        #expect(scene.want(3).askedOf == [Scene.peer])
    }

    @Test func asksTheOnlyRepositoryOnceMoreAfterWrongBytesAndThenSaysSo() {
        var scene = Scene()
        _ = scene.want(1)
        #expect(
            scene.answer(1, from: Scene.repository, isRight: false).askedOf == [Scene.repository]
        )
        #expect(scene.answer(1, from: Scene.repository, isRight: false).failures == [.corrupt])
    }

    @Test func oneFlippedBitInFiftyHarmsNobody() {
        var scene = Scene()
        for number in 0..<500 {
            var actions = scene.want(number)
            if number % 50 == 0 {
                actions = scene.answer(number, from: Scene.repository, isRight: false)
                #expect(actions.askedOf == [Scene.repository])
            }
            #expect(scene.answer(number, from: Scene.repository).delivered.count == 1)
        }
    }

    // MARK: Windows and lanes

    @Test func sendsNoMoreThanTheWindowAndWaitersFirst() {
        var scene = Scene()
        var sent = 0
        for number in 0..<300 { sent += scene.want(number, .hydration).askedOf.count }
        // The background leaves room for those who wait.
        #expect(sent == 16)
        #expect(scene.want(1_000, .readAhead).askedOf.count == 1)
        #expect(scene.want(1_001, .reader).askedOf.count == 1)
        for number in 2_000..<2_100 { _ = scene.want(number, .reader) }
        #expect(scene.scheduler.inFlightCount == 32)
        // Somebody waits now for what was to come some day.
        _ = scene.want(299, .reader)
        var names: [Name] = []
        var answered = 0
        while answered < 120,
            let number = [1_000, 1_001].first(where: { _ in answered < 2 })
                ?? names.popLast().flatMap({ name in
                    ((0..<300).map { $0 } + (2_000..<2_100)).first { Scene.name($0) == name }
                })
        {
            let actions = scene.answer(
                answered == 0 ? 1_000 : answered == 1 ? 1_001 : number,
                from: Scene.repository
            )
            names = actions.sentNames + names
            answered += 1
            if names.contains(Scene.name(299)) { break }
        }
        #expect(names.contains(Scene.name(299)))
        #expect(!names.contains(Scene.name(298)))
    }

    @Test func sendsFirstWhatSomebodyWaitsForByNow() {
        var scene = Scene()
        for number in 0..<64 { _ = scene.want(number, .readAhead) }
        #expect(scene.hasten(63).isEmpty)
        #expect(scene.answer(0, from: Scene.repository).sentNames.contains(Scene.name(63)))
        // Nobody asked for this, and that is asked for already.
        #expect(scene.hasten(1_000).isEmpty)
        #expect(scene.hasten(1).isEmpty)
        #expect(scene.scheduler.askCount == 63)
    }

    @Test func halvesItsWindowWhenTheRepositoryIsBusyAndAsksAgain() {
        var scene = Scene()
        _ = scene.want(1)
        #expect(scene.giveBack(1, .congested, from: Scene.repository).isEmpty)
        #expect(scene.pass(60).askedOf == [Scene.repository])
        #expect(scene.answer(1, from: Scene.repository).delivered == [1])
    }

    // MARK: Anything

    /// Whatever happens: each request has one outcome, by its deadline, and nothing is left.
    @Test(arguments: [UInt64(1), 2, 3, 4])
    func givesEachRequestOneOutcome(_ seed: UInt64) {
        var random = SplitMix(seed: seed)
        let all = [Scene.repository, Scene.mirror, Scene.peer, Scene.otherPeer]
        var scene = Scene(all)
        var isUp = Set(all)
        var deadlines: [UInt64: UInt64] = [:]
        var outcomes: [UInt64: Int] = [:]
        var inFlight: [(number: Int, source: Int)] = []
        var request: UInt64 = 1
        var latest: UInt64 = 0
        func note(_ actions: [FetchScheduler.Action], _ now: UInt64) {
            for case .send(let name, _, let face) in actions {
                let number = Int(String(decoding: name.segments[1].value, as: UTF8.self)) ?? 0
                inFlight.append((number: number, source: Int(face.number)))
            }
            for request in actions.delivered + actions.failed {
                outcomes[request, default: 0] += 1
                #expect(now <= deadlines[request] ?? 0, "seed \(seed)")
            }
        }
        for _ in 0..<5_000 {
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<6:
                let patience = UInt64.random(in: 1...5_000, using: &random)
                // Those who join wait as long as the most patient; so all do, to be sure.
                latest = max(latest, scene.now + patience)
                for other in 1...request where outcomes[other] == nil { deadlines[other] = latest }
                let number = Int.random(in: 0..<400, using: &random)
                note(
                    scene.want(
                        number,
                        FetchLane.allCases.randomElement(using: &random) ?? .reader,
                        patience: patience
                    ),
                    scene.now
                )
                request += 1
            case 6..<13 where !inFlight.isEmpty:
                let which = inFlight.remove(at: Int.random(in: inFlight.indices, using: &random))
                note(
                    scene.answer(
                        which.number,
                        from: which.source,
                        isRight: Int.random(in: 0..<10, using: &random) > 0
                    ),
                    scene.now
                )
            case 13..<15 where !inFlight.isEmpty:
                let which = inFlight.remove(at: Int.random(in: inFlight.indices, using: &random))
                let codes: [ReturnCode] = [.noRoute, .congested, .pathError, .hopLimitExceeded]
                let code = codes.randomElement(using: &random) ?? .noRoute
                note(scene.giveBack(which.number, code, from: which.source), scene.now)
            case 15:
                let source = all.randomElement(using: &random) ?? 1
                note(isUp.contains(source) ? scene.down(source) : scene.up(source), scene.now)
                isUp.formSymmetricDifference([source])
            case 16:
                let source = all.randomElement(using: &random) ?? 1
                let kinds: [FetchSource.Kind?] = [
                    nil, .peer, .repository([]),
                    .repository([.init(prefix: Scene.prefix, cost: 3)]),
                    .repository([.init(prefix: Scene.name(7), cost: 1)]),
                ]
                let isNew = scene.scheduler.sources[source] == nil
                note(
                    scene.change(source, to: kinds.randomElement(using: &random) ?? nil),
                    scene.now
                )
                if isNew, isUp.contains(source) { note(scene.up(source), scene.now) }
            default: _ = scene.pass(UInt64.random(in: 0..<40, using: &random), note: note)
            }
        }
        _ = scene.pass(120_000, note: note)
        #expect(scene.scheduler.askCount == 0, "seed \(seed)")
        #expect(scene.scheduler.inFlightCount == 0, "seed \(seed)")
        #expect(outcomes.count == Int(request) - 1, "seed \(seed)")
        #expect(outcomes.values.allSatisfy { $0 == 1 }, "seed \(seed)")
    }
}
