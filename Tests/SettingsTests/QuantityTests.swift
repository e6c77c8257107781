import Failures
import Settings
import TestSupport
import Testing

struct QuantityTests {
    @Test(
        arguments: [
            ("1ms", 1), ("500ms", 500), ("2s", 2_000), ("5m", 300_000), ("1h", 3_600_000),
            ("90m", 5_400_000),
        ])
    func readsTimes(_ text: String, milliseconds: Int) throws {
        #expect(try Quantity.milliseconds(text) == milliseconds)
    }

    @Test(
        arguments: [
            "", "0s", "-1s", "s", "2", "1.5s", "2 s", "2S", "1d", "2sm", "9223372036854775807h",
            "9223372036854775808ms",
        ])
    func refusesTimes(_ text: String) {
        #expect(kind { _ = try Quantity.milliseconds(text) } == .usage)
    }

    @Test(
        arguments: [
            (1, "1ms"), (1_500, "1500ms"), (2_000, "2s"), (60_000, "1m"), (90_000, "90s"),
            (86_400_000, "24h"), (0, "0ms"),
        ])
    func writesTimes(_ milliseconds: Int, text: String) {
        #expect(Quantity.text(milliseconds: milliseconds) == text)
    }
}
