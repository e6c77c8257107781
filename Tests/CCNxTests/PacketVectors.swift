import CCNx
import Foundation
import Testing

/// The packets in `Tests/Fixtures/vectors`, which another implementation emitted.
enum PacketVectors {
    static let canonical = [
        "cefore-interest-plain-chunk00", "cefore-interest-crc32c-chunk00",
        "cefore-interest-rsa-chunk00", "cefore-object-plain-chunk00", "cefore-object-plain-chunk01",
        "cefore-object-crc32c-chunk01", "cefore-object-rsa-chunk01",
        "cefore-interest-return-01", "cefore-interest-return-02",
    ]

    static func bytes(_ name: String) throws -> [UInt8] {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/vectors/\(name).hex")
        let text = try String(contentsOf: file, encoding: .utf8).filter { !$0.isWhitespace }
        return try #require(Hex.bytes(text))
    }
}
