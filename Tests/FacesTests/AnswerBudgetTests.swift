import Faces
import NIOCore
import TestSupport
import Testing

struct AnswerBudgetTests {
    private static let seed = SplitMix.seed()
    private static let host = "192.0.2.1"
    private static let start = NIODeadline.uptimeNanoseconds(1 << 40)
    private let settings = FaceSettings()

    /// A budget, and what it says.
    private final class Payer {
        var budget: AnswerBudget

        init(_ settings: FaceSettings) { budget = AnswerBudget(settings) }

        func spend(
            _ byteCount: Int,
            on host: String = AnswerBudgetTests.host,
            now: NIODeadline = AnswerBudgetTests.start
        ) -> Bool { budget.spend(byteCount: byteCount, on: host, now: now) }
    }

    @Test func anAddressGetsSoManyTimesWhatCameFromItAndItsAllowance() {
        let payer = Payer(settings)
        payer.budget.add(Self.host, now: Self.start)
        let packet = settings.datagramAnswerByteCount
        var sent = 0
        for _ in 0..<100 { payer.budget.noteReceived(byteCount: 100, from: Self.host) }
        while payer.spend(packet) { sent += packet }
        let most = 100 * 100 * settings.datagramAnswerRatio + settings.datagramAllowanceByteCount
        #expect(sent <= most && sent > most - packet)
        // A smaller one may still fit; nothing was taken for the one that did not.
        #expect(payer.spend(most - sent))
        #expect(!payer.spend(1))
    }

    @Test func theAllowanceIsThereAnewInTheNextSecond() {
        let payer = Payer(settings)
        payer.budget.add(Self.host, now: Self.start)
        let allowance = settings.datagramAllowanceByteCount
        #expect(payer.spend(allowance))
        let almost = Self.start + .milliseconds(999)
        #expect(!payer.spend(1, now: almost))
        #expect(payer.spend(allowance, now: Self.start + .seconds(1)))
        // It is not saved up.
        let later = Self.start + .hours(1)
        #expect(!payer.spend(allowance + 1, now: later))
        #expect(payer.spend(allowance, now: later))
    }

    @Test func allFacesOfAHostShareAndTheLastOneEndsIt() {
        let payer = Payer(settings)
        let allowance = settings.datagramAllowanceByteCount
        payer.budget.add(Self.host, now: Self.start)
        payer.budget.add(Self.host, now: Self.start)
        payer.budget.add("192.0.2.2", now: Self.start)
        #expect(payer.budget.networkCount == 2)
        #expect(payer.spend(allowance))
        payer.budget.remove(Self.host)
        #expect(!payer.spend(1))
        #expect(payer.spend(allowance, on: "192.0.2.2"))
        payer.budget.remove(Self.host)
        payer.budget.remove("192.0.2.2")
        #expect(payer.budget.networkCount == 0)
        // Nobody there.
        payer.budget.noteReceived(byteCount: 1, from: Self.host)
        payer.budget.remove(Self.host)
        #expect(!payer.spend(1))
        #expect(payer.budget.networkCount == 0)
    }

    @Test func neverSendsMoreThanItSays() {
        var random = SplitMix(seed: Self.seed)
        var settings = FaceSettings()
        settings.datagramAllowanceByteCount = 5_000
        let payer = Payer(settings)
        payer.budget.add(Self.host, now: Self.start)
        var (now, received, sent) = (Self.start, 0, 0)
        for _ in 0..<20_000 {
            now = now + .milliseconds(Int64.random(in: 0...20, using: &random))
            if random.chance(1, in: 4) {
                let byteCount = Int.random(in: 20...1_452, using: &random)
                received += byteCount
                payer.budget.noteReceived(byteCount: byteCount, from: Self.host)
            } else {
                let byteCount = Int.random(in: 20...65_507, using: &random)
                if payer.spend(byteCount, now: now) {
                    sent += byteCount
                }
            }
            let seconds = Int((now - Self.start).nanoseconds / 1_000_000_000) + 1
            #expect(sent <= 16 * received + 5_000 * seconds, "seed \(Self.seed)")
        }
        #expect(sent > 8 * received, "seed \(Self.seed)")
    }

    @Test func whatCannotBeForgedIsOfThisMachine() {
        for host in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            #expect(AnswerBudget.isBeyondForgery(host), "\(host)")
        }
        for host in ["128.0.0.1", "12.7.0.0", "::", "::2", "::ffff:128.0.0.1", "fe80::1", ""] {
            #expect(!AnswerBudget.isBeyondForgery(host), "\(host)")
        }
    }
}
