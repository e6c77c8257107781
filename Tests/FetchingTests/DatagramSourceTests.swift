import CCNx
import Failures
import Fetching
import TestSupport
import Testing

@Suite struct DatagramSourceTests {
    typealias Scene = DatagramScene
    private static let seed = SplitMix.seed()

    private func isAtRest(_ scene: Scene) -> Bool {
        scene.scheduler.askCount == 0 && scene.scheduler.inFlightCount == 0
            && scene.wrongDeliveries == 0
    }

    private func chunks(of number: Int) -> Int {
        (Scene.bytes(of: number).count + Scene.chunkSize - 1) / Scene.chunkSize
    }

    @Test func asksForAnObjectInChunksAndDeliversItToAllWhoWant() {
        var scene = Scene([1: .init()], seed: 1)
        scene.want(3)
        scene.want(3)
        scene.pass(100)
        #expect(scene.outcomes == [1: [nil], 2: [nil]])
        #expect(scene.sentNames[1]?.count == chunks(of: 3))
        let source = scene.scheduler.sources[1]?.counters
        #expect(source?.objects == 1)
        #expect(source?.bytes == Scene.bytes(of: 3).count)
        #expect(source?.interests == chunks(of: 3))
        #expect(isAtRest(scene))
    }

    @Test func asksForAllChunksAtOnceWhereObjectsAreAlike() {
        var scene = Scene([1: .init(delay: 20...20)], seed: 1)
        scene.want(3)
        scene.pass(100)
        let before = scene.now
        scene.want(3 + 3_200)
        scene.pass(20)
        #expect(scene.outcomes[2] == [nil])
        #expect(scene.now == before + 20)
    }

    @Test func asksInOnePacketForWhatIsNoObject() {
        var scheduler = FetchScheduler(
            cutting: ObjectCutting(
                chunkSize: 10,
                chunkCountLimit: 4,
                chunkPrefix: { _ in nil },
                isRight: { _, _ in false }
            )
        )
        scheduler.addSource(
            1,
            label: "source",
            kind: .repository([.init(prefix: FetchScene.prefix, cost: 1)]),
            isDatagram: true
        )
        _ = scheduler.faceUp(FaceId(1), of: 1, now: 0)
        let name = FetchScene.name(1)
        let wanted = FetchScheduler.Wanted(
            name: name,
            lane: .reader,
            deadline: 1_000,
            mayPeersAnswer: false
        )
        #expect(scheduler.want(1, wanted, now: 0).sentNames == [name])
        #expect(!scheduler.isChunk(name))
        let actions = scheduler.returned(name, .mtuTooLarge, from: FaceId(1), now: 1)
        #expect(actions.failures == [.noSource])
        guard case .fail(_, let failure)? = actions.first else { return }
        #expect(failure.cause?.kind == .tooLarge)
    }

    @Test(arguments: [5, 20, 30]) func asksAgainForEachChunkThatIsLost(_ loss: Int) {
        var scene = Scene(
            [1: .init(loss: loss, duplicates: 10, delay: 1...8)],
            seed: Self.seed
        )
        for number in 0..<40 { scene.want(number, patience: 120_000) }
        scene.pass(120_000)
        #expect(scene.delivered == 40, "seed \(Self.seed)")
        #expect(isAtRest(scene), "seed \(Self.seed)")
        // Not the whole object for one chunk.
        let needed = (0..<40).reduce(0) { $0 + chunks(of: $1) }
        let sent = scene.sentNames[1]?.count ?? 0
        #expect(sent < needed * (loss < 30 ? 3 : 5), "\(sent) for \(needed), seed \(Self.seed)")
    }

    /// The round trip takes 5 ms, and objects have 14 chunks.
    private func steadyScene() -> Scene {
        var scene = Scene([1: .init(delay: 5...5)], seed: 1)
        for number in [3, 3 + 3_200] {
            scene.want(number)
            scene.pass(50)
        }
        return scene
    }

    @Test func doesNotAskAgainWhereAllAnswersAreLate() {
        var scene = steadyScene()
        scene.sources[1]?.delay = 60...60
        for number in [3 + 2 * 3_200, 3 + 3 * 3_200] { scene.want(number) }
        scene.pass(61)
        #expect(scene.delivered == 4)
        #expect(scene.sentNames[1]?.count == 4 * chunks(of: 3))
        #expect(scene.scheduler.sources[1]?.counters.timeouts == 0)
    }

    @Test func asksAgainSoonForWhatIsLostWhereLaterAnswersCome() {
        var scene = steadyScene()
        scene.sources[1]?.loss = 100
        scene.want(3 + 2 * 3_200)
        scene.pass(1)
        scene.sources[1]?.loss = 0
        scene.want(3 + 3 * 3_200)
        scene.pass(40)
        #expect(scene.delivered == 4)
    }

    @Test func asksAgainForWhatIsLostWhereNothingComes() {
        var scene = steadyScene()
        scene.sources[1]?.loss = 100
        scene.want(3 + 2 * 3_200)
        scene.pass(1)
        scene.sources[1]?.loss = 0
        scene.pass(98)
        #expect(scene.delivered == 2)
        scene.pass(50)
        #expect(scene.delivered == 3)
    }

    @Test func keepsToTheWindowWhateverIsWanted() {
        var scene = Scene([1: .init(delay: 5...9)], seed: Self.seed)
        for number in 0..<500 { scene.want(number, .hydration, patience: 60_000) }
        // Asks for chunks are there for objects whose turn it is.
        #expect(scene.scheduler.askCount < 500 + 33)
        scene.pass(60_000)
        // So many answers fit the receive buffer of a socket.
        #expect(scene.mostInFlight <= 128)
        #expect(scene.delivered == 500, "seed \(Self.seed)")
        #expect(isAtRest(scene), "seed \(Self.seed)")
    }

    @Test func readersComeBeforeWhatFetchesAhead() {
        var scene = Scene([1: .init(delay: 5...5)], seed: 1)
        for number in 100..<200 { scene.want(number, .hydration, patience: 60_000) }
        let waiting = scene.want(1, patience: 60_000)
        scene.pass(30)
        #expect(scene.outcomes[waiting] == [nil])
        // One of those in the background becomes a reader's.
        let promoted = scene.want(199, patience: 60_000)
        scene.pass(200)
        #expect(scene.outcomes[promoted] == [nil])
        scene.pass(60_000)
        #expect(isAtRest(scene))
    }

    // MARK: Several sources

    @Test func asksTheRepositoryForWhatAPeerDoesNotHave() {
        var scene = Scene(
            [
                1: .init(isDatagram: false),
                3: .init(isPeer: true, hasObject: { $0 % 2 == 0 }),
            ],
            seed: Self.seed
        )
        for number in 0..<40 {
            scene.want(number)
            scene.pass(50)
        }
        #expect(scene.delivered == 40, "seed \(Self.seed)")
        #expect(scene.sentNames[1]?.count == 20)
        #expect(scene.scheduler.sources[3]?.counters.misses == 20)
        #expect(isAtRest(scene))
    }

    @Test(arguments: [true, false]) func failsOverBetweenUDPAndTCP(_ isSilentDatagram: Bool) {
        var scene = Scene(
            [
                1: .init(isDatagram: isSilentDatagram, loss: 100, cost: 1),
                2: .init(isDatagram: !isSilentDatagram, loss: isSilentDatagram ? 0 : 5, cost: 2),
            ],
            seed: Self.seed
        )
        for number in 0..<40 { scene.want(number, patience: 60_000) }
        scene.pass(60_000)
        #expect(scene.delivered == 40, "seed \(Self.seed)")
        #expect(isAtRest(scene), "seed \(Self.seed)")
    }

    @Test func asksAnotherForAllOfAnObjectOfWhichOneChunkWasWrong() {
        var scene = Scene(
            [1: .init(cost: 2), 3: .init(isPeer: true, wrong: 100)],
            seed: Self.seed
        )
        scene.want(3)
        scene.pass(200)
        #expect(scene.delivered == 1)
        #expect(scene.scheduler.sources[3]?.isBenched(at: scene.now) == true)
        #expect(scene.scheduler.sources[3]?.counters.wrongObjects == 1)
        scene.want(4)
        scene.pass(200)
        #expect(scene.delivered == 2)
        #expect(isAtRest(scene))
    }

    @Test func saysThatTheOnlySourceSendsWrongBytes() {
        var scene = Scene([1: .init(wrong: 100)], seed: Self.seed)
        scene.want(3)
        scene.pass(10_000)
        #expect(scene.outcomes == [1: [.corrupt]])
        #expect(isAtRest(scene))
    }

    @Test func endsByItsDeadlineThoughSomeChunksCame() {
        var scene = Scene([1: .init(loss: 85, delay: 5...5)], seed: 4)
        scene.want(3_199, patience: 300)
        scene.pass(299)
        #expect(scene.outcomes.isEmpty)
        scene.pass(1)
        #expect(scene.outcomes == [1: [.timedOut]])
        scene.pass(5_000)
        #expect(isAtRest(scene))
    }

    @Test func waitsLongerForWhatIsAskedForOnceMore() {
        var scene = Scene([1: .init(loss: 100)], seed: 4)
        scene.want(3, patience: 300)
        scene.pass(200)
        scene.scheduler.prolong(FetchScene.name(3), until: scene.now + 300)
        scene.pass(299)
        #expect(scene.outcomes.isEmpty)
        scene.pass(1)
        #expect(scene.outcomes == [1: [.timedOut]])
    }

    @Test func goesOnWithWhatCameBeforeItsFaceWasLost() {
        var scene = Scene([1: .init(delay: 10...10)], seed: 1)
        scene.want(3)
        scene.pass(15)
        scene.down(1)
        #expect(scene.scheduler.inFlightCount == 0)
        scene.pass(500)
        scene.up(1)
        scene.pass(30)
        #expect(scene.delivered == 1)
        // The first chunk had come.
        let first = FetchScene.name(3).appending([.chunk(0)])
        #expect(scene.sentNames[1]?.count { $0 == first } == 1)
        #expect(isAtRest(scene))
    }

    @Test func asksInChunksWhereWholeObjectsAreTooLargeForSomebodyBehind() {
        var scene = Scene([1: .init(isDatagram: false, isBeforeDatagrams: true)], seed: 1)
        scene.want(3)
        scene.pass(100)
        #expect(scene.delivered == 1)
        #expect(scene.sentNames[1]?.first == FetchScene.name(3))
        #expect(scene.sentNames[1]?.count == 1 + chunks(of: 3))
        // It is known now, as long as its face is the same, and for 64 objects.
        scene.want(4)
        scene.pass(100)
        #expect(scene.delivered == 2)
        #expect(scene.sentNames[1]?.contains(FetchScene.name(4)) == false)
        scene.sources[1]?.isBeforeDatagrams = false
        for number in 100..<170 {
            scene.want(number)
            scene.pass(100)
        }
        #expect(scene.delivered == 72)
        #expect(scene.sentNames[1]?.last == FetchScene.name(169))
        scene.sources[1]?.isBeforeDatagrams = true
        scene.want(170)
        scene.pass(100)
        scene.down(1)
        scene.sources[1]?.isBeforeDatagrams = false
        scene.up(1)
        scene.want(5)
        scene.pass(100)
        #expect(scene.delivered == 74)
        #expect(scene.sentNames[1]?.last == FetchScene.name(5))
        #expect(scene.scheduler.sources[1]?.counters.misses == 0)
        #expect(isAtRest(scene))
    }

    // MARK: Chunks from whom nobody asked here

    @Test func aChunkThatAnotherAnswersIsAnswered() {
        var scene = Scene([1: .init(delay: 500...500)], seed: 1)
        scene.want(3)
        scene.chunkArrives(0, of: 3, over: 9)
        // The others are asked for, and nobody waits for the first.
        #expect(scene.scheduler.inFlightCount == chunks(of: 3) - 1)
        for chunk in 1..<chunks(of: 3) { scene.chunkArrives(chunk, of: 3, over: 9) }
        #expect(scene.delivered == 1)
        #expect(isAtRest(scene))
        scene.pass(5_000)
        #expect(scene.scheduler.sources[1]?.counters.timeouts == 0)
        // They were not its own.
        #expect(scene.scheduler.sources[1]?.counters.bytes == 0)
    }

    @Test func isNotBlamedForAChunkThatAnotherSentWrong() {
        var scene = Scene([1: .init(delay: 500...500)], seed: 1)
        scene.want(3)
        scene.chunkArrives(0, of: 3, over: 9, isDamaged: true)
        scene.pass(600)
        // All came, and are wrong together: asked for anew.
        #expect(scene.delivered == 0)
        #expect(scene.scheduler.sources[1]?.counters.wrongObjects == 0)
        // Others do not count any more.
        scene.chunkArrives(0, of: 3, over: 9, isDamaged: true)
        #expect(scene.scheduler.inFlightCount > 0)
        scene.pass(5_000)
        #expect(scene.delivered == 1)
        #expect(scene.scheduler.sources[1]?.isBenched(at: scene.now) == false)
        #expect(isAtRest(scene))
    }

    @Test(arguments: [UInt64(1), 2, 3, 4, Self.seed])
    func givesEachRequestOneOutcomeWhateverHappens(_ seed: UInt64) {
        let all: [Int: Scene.Source] = [
            1: .init(loss: 10, duplicates: 20, wrong: 1, delay: 1...30, cost: 1),
            2: .init(isDatagram: false, loss: 5, wrong: 5, delay: 1...10, cost: 2),
            3: .init(isPeer: true, hasObject: { $0 % 3 == 0 }, loss: 10, wrong: 1, delay: 1...5),
            4: .init(isPeer: true, hasObject: { $0 % 5 == 0 }, loss: 50, delay: 1...90),
        ]
        var scene = Scene(all, seed: seed)
        var isUp = Set(all.keys)
        var count = 0
        for _ in 0..<1_000 {
            switch Int.random(in: 0..<12, using: &scene.random) {
            case 0..<6:
                let lane = FetchLane.allCases.randomElement(using: &scene.random) ?? .reader
                scene.want(
                    Int.random(in: 0..<150, using: &scene.random),
                    lane,
                    patience: UInt64.random(in: 1...5_000, using: &scene.random)
                )
                count += 1
            case 6:
                guard let id = all.keys.sorted().randomElement(using: &scene.random) else { break }
                if isUp.contains(id) { scene.down(id) } else { scene.up(id) }
                isUp.formSymmetricDifference([id])
            default: scene.pass(UInt64.random(in: 0..<60, using: &scene.random))
            }
        }
        scene.pass(120_000)
        #expect(scene.outcomes.count == count, "seed \(seed)")
        #expect(scene.outcomes.values.allSatisfy { $0.count == 1 }, "seed \(seed)")
        #expect(isAtRest(scene), "seed \(seed)")
        #expect(scene.delivered > count / 10, "seed \(seed)")
    }
}
