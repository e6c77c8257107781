import CCNx
import Forwarding
import Testing

@Suite struct ForwarderLoadTests {
    typealias Scene = ForwarderScene

    /// Random traffic: nothing is left over once everything has ended, whatever happened before.
    @Test func forgetsEverythingInTheEnd() throws {
        let seed: UInt64 = 0x8569
        var random = seed
        func next(_ bound: UInt64) -> UInt64 {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (random >> 33) % bound
        }
        var limits = ForwarderLimits()
        limits.pendingInterestCount = 200
        limits.localInterestCount = 0
        var scene = Scene(limits: limits)
        try scene.route("ccnx:/n", to: Scene.upstream)
        try scene.route("ccnx:/n", to: Scene.other, cost: 1)
        let faces = [Scene.consumer, Scene.other, Scene.upstream, Scene.local]
        var tokens: [LookupToken] = []
        for _ in 0..<20_000 {
            let face = faces[Int(next(4))]
            let uri = "ccnx:/n/\(next(300))"
            scene.now += next(3)
            var actions: [ForwarderAction]
            switch next(8) {
            case 0...3:
                let packet = try Scene.interest(
                    uri,
                    hopLimit: UInt8(next(5)),
                    lifetime: 1 + next(400)
                )
                actions = scene.forwarder.receive(packet, from: face, now: scene.now)
            case 4: actions = scene.receive(try Scene.object(uri), from: face)
            case 5: actions = try scene.giveBack(try Scene.interest(uri), .noRoute, from: face)
            case 6 where !tokens.isEmpty:
                let token = tokens.remove(at: Int(next(UInt64(tokens.count))))
                let hit = next(4) == 0 ? try Scene.object(uri) : nil
                actions = scene.forwarder.contentStoreAnswered(token, with: hit, now: scene.now)
            default: actions = scene.forwarder.expire(now: scene.now)
            }
            for case .lookUpContent(let token, _) in actions { tokens.append(token) }
            #expect(scene.forwarder.pendingInterestCount <= 200, "seed \(seed)")
        }
        _ = scene.forwarder.expire(now: scene.now + 60_000)
        #expect(scene.forwarder.pendingInterestCount == 0, "seed \(seed)")
        #expect(scene.forwarder.nextExpiry == nil, "seed \(seed)")
        #expect(scene.forwarder.isAtRest, "seed \(seed)")
    }
}
