import CCNx
import Failures
import Forwarding
import Testing

/// What is kept for others has limits, of each face and in all.
@Suite struct ForwarderBoundsTests {
    typealias Scene = ForwarderScene
    private let a = "ccnx:/mycorp.com/a"

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
