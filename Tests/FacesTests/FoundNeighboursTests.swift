import TestSupport
import Testing

@testable import Faces

struct FoundNeighboursTests {
    private static let seed = SplitMix.seed()
    private static let own = node(0)
    private static let lifetime = 35_000

    private static func node(_ number: Int) -> [UInt8] {
        [UInt8](repeating: 0, count: 14) + [UInt8(number >> 8), UInt8(number & 0xff)]
    }

    private static func announcement(
        of number: Int,
        lifetime: Int = lifetime,
        port: Int = 9_695
    ) -> NeighbourAnnouncement {
        NeighbourAnnouncement(
            node: node(number),
            lifetimeMilliseconds: lifetime,
            isDatagram: false,
            port: port
        )
    }

    private var found = FoundNeighbours(node: own)

    @Test mutating func knowsWhoIsThereUntilHeIsSilent() {
        #expect(found.hear(Self.announcement(of: 1), from: "a", now: 1_000) == .new)
        #expect(found.hear(Self.announcement(of: 2), from: "b", now: 2_000) == .new)
        #expect(found.hear(Self.announcement(of: 1), from: "a", now: 11_000) == .known)
        #expect(found.nextEnd == 37_000)
        found.expire(now: 36_999)
        #expect(found.addresses.count == 2)
        found.expire(now: 37_000)
        #expect(found.addresses == [.tcp(host: "a", port: 9_695)])
        #expect(found.nextEnd == 46_000)
        found.expire(now: .max)
        #expect(found.addresses.isEmpty)
        #expect(found.nextEnd == nil)
    }

    @Test mutating func doesNotFindItself() {
        #expect(found.hear(Self.announcement(of: 0), from: "a", now: 0) == .own)
        #expect(found.addresses.isEmpty)
    }

    @Test mutating func whoLeavesIsGoneAtOnce() {
        _ = found.hear(Self.announcement(of: 1), from: "a", now: 0)
        let goodbye = Self.announcement(of: 1, lifetime: 0)
        #expect(found.hear(goodbye, from: "b", now: 1) == .known)
        #expect(found.hear(Self.announcement(of: 2, lifetime: 0), from: "a", now: 1) == .known)
        #expect(found.addresses.count == 1)
        #expect(found.hear(goodbye, from: "a", now: 1) == .left)
        #expect(found.addresses.isEmpty)
        #expect(found.hear(goodbye, from: "a", now: 1) == .known)
    }

    @Test mutating func aNodeOnTwoLinksIsOneNeighbour() {
        #expect(found.hear(Self.announcement(of: 1), from: "a", now: 0) == .new)
        #expect(found.hear(Self.announcement(of: 1), from: "fe80::1%eth0", now: 1) == .known)
        #expect(found.addresses == [.tcp(host: "a", port: 9_695)])
        // Over the first it is not heard any more.
        found.expire(now: 35_000)
        #expect(found.hear(Self.announcement(of: 1), from: "fe80::1%eth0", now: 35_000) == .new)
        #expect(found.addresses == [.tcp(host: "fe80::1%eth0", port: 9_695)])
    }

    @Test mutating func aNodeThatStartedAgainTakesThePlaceOfTheOneBefore() {
        _ = found.hear(Self.announcement(of: 1), from: "a", now: 0)
        #expect(found.hear(Self.announcement(of: 2), from: "a", now: 10_000) == .known)
        // What the one before said late.
        #expect(found.hear(Self.announcement(of: 1, lifetime: 0), from: "a", now: 1) == .known)
        #expect(found.addresses.count == 1)
        #expect(found.nextEnd == 45_000)
    }

    @Test mutating func oneHostHasAFewNodesOnly() {
        for port in 1...20 {
            let outcome = found.hear(
                Self.announcement(of: port, port: port),
                from: "a",
                now: UInt64(port) * 1_000
            )
            #expect(outcome == (port <= FoundNeighbours.limitOfHost ? .new : .refused))
        }
        #expect(found.hear(Self.announcement(of: 99), from: "b", now: 21_000) == .new)
    }

    @Test mutating func newcomersComeOneByOne() {
        let atOnce = Int(FoundNeighbours.newcomersAtOnce)
        for number in 1...30 {
            let outcome = found.hear(Self.announcement(of: number), from: "\(number)", now: 0)
            #expect(outcome == (number <= atOnce ? .new : .refused))
        }
        #expect(found.hear(Self.announcement(of: 40), from: "x", now: 999) == .refused)
        #expect(found.hear(Self.announcement(of: 40), from: "x", now: 1_000) == .new)
        #expect(found.hear(Self.announcement(of: 41), from: "y", now: 1_000) == .refused)
        // Those that are known are not slowed down.
        #expect(found.hear(Self.announcement(of: 1), from: "1", now: 1_000) == .known)
    }

    @Test mutating func thereAreNoMoreThanItsLimit() {
        for number in 1...200 {
            _ = found.hear(
                Self.announcement(of: number, lifetime: 3_600_000),
                from: "\(number)",
                now: UInt64(number) * 1_000
            )
        }
        #expect(found.addresses.count == FoundNeighbours.limit)
    }

    /// Against a list of what was said last, by address.
    @Test mutating func holdsWhatItSaysWhateverIsHeard() {
        var random = SplitMix(seed: Self.seed)
        var now: UInt64 = 0
        var ends: [FaceAddress: UInt64] = [:]
        for _ in 0..<20_000 {
            now += UInt64.random(in: 0..<400, using: &random)
            let lifetime =
                random.chance(1, in: 5) ? 0 : Int.random(in: 1_000..<20_000, using: &random)
            let announcement = Self.announcement(
                of: Int.random(in: 0..<150, using: &random),
                lifetime: lifetime,
                port: Int.random(in: 1...12, using: &random)
            )
            let host = "h\(Int.random(in: 0..<15, using: &random))"
            let address = announcement.address(at: host)
            switch found.hear(announcement, from: host, now: now) {
            case .new:
                #expect(ends[address] == nil, "seed \(Self.seed)")
                ends[address] = now + UInt64(lifetime)
            case .known where lifetime > 0 && ends[address] != nil:
                ends[address] = now + UInt64(lifetime)
            case .left: #expect(ends.removeValue(forKey: address) != nil, "seed \(Self.seed)")
            case .own: #expect(announcement.node == Self.own, "seed \(Self.seed)")
            case .known, .refused: break
            }
            if random.chance(1, in: 3) {
                found.expire(now: now)
                ends = ends.filter { $0.value > now }
            }
            #expect(found.addresses == Set(ends.keys), "seed \(Self.seed)")
            #expect(found.nextEnd == ends.values.min(), "seed \(Self.seed)")
            #expect(ends.count <= FoundNeighbours.limit, "seed \(Self.seed)")
        }
    }

    @Test func aPaceLetsSoManyThroughInAnyTime() {
        var random = SplitMix(seed: Self.seed)
        var pace = Pace(atOnce: 5, thenEachMilliseconds: 10)
        var now: UInt64 = 0
        var admitted: [UInt64] = []
        for _ in 0..<5_000 {
            now += UInt64.random(in: 0..<6, using: &random)
            if pace.admits(now: now) { admitted.append(now) }
        }
        for (index, time) in admitted.enumerated() where index >= 5 {
            // Between any six there is at least what one takes.
            #expect(time - admitted[index - 5] >= 10, "seed \(Self.seed)")
        }
        #expect(admitted.count >= Int(now / 10) - 5, "seed \(Self.seed)")
    }
}
