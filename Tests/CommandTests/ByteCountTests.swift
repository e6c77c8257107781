import Failures
import TestSupport
import Testing

@testable import Commands

struct ByteCountTests {
    @Test(
        arguments: [
            ("1", 1), ("4096", 4096), ("32K", 32 << 10), ("32k", 32 << 10), ("32KiB", 32 << 10),
            ("512M", 512 << 20), ("20G", 20 << 30), ("20gib", 20 << 30), ("8T", 8 << 40),
        ])
    func reads(_ text: String, byteCount: Int) throws {
        #expect(try ByteCount.parse(text) == byteCount)
    }

    @Test(
        arguments: [
            "", "0", "-1", "K", "1.5G", "12X", "1 K", " 1", "0x10", "GG", "9223372036854775808",
            "8388608T",
        ])
    func refuses(_ text: String) {
        #expect(kind { _ = try ByteCount.parse(text) } == .usage)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
            (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB"), ((1 << 20) - 1, "1024.0 KiB"),
            (2000 << 40, "2000.0 TiB"),
        ])
    func writes(_ byteCount: Int, text: String) {
        #expect(ByteCount.text(byteCount) == text)
    }
}
