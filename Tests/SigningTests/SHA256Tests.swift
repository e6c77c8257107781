import CCNx
import Signing
import Testing

@Suite struct SHA256Tests {
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ])
    func matchesPublishedValues(_ text: String, _ hex: String) {
        #expect(SHA256.digest(of: Array(text.utf8)).hex == hex)
    }

    @Test func addsUpPieces() {
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let hasher = SHA256Hasher()
        for _ in 0..<2 {
            for start in stride(from: 0, to: bytes.count, by: 7_777) {
                hasher.update(bytes.span.extracting(start..<min(bytes.count, start + 7_777)))
            }
            #expect(hasher.finalize() == SHA256.digest(of: bytes))
        }
        #expect(hasher.finalize() == SHA256.digest(of: []))
    }

    @Test func givesTheSameOnManyThreads() async {
        let bytes = [UInt8](repeating: 9, count: 32_768)
        let expected = SHA256.digest(of: bytes)
        await withTaskGroup { group in
            for _ in 0..<16 {
                group.addTask { (0..<50).allSatisfy { _ in SHA256.digest(of: bytes) == expected } }
            }
            for await agrees in group { #expect(agrees) }
        }
    }
}
