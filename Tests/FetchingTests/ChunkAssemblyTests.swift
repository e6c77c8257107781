import CCNx
import Fetching
import TestSupport
import Testing

/// Chunks of 10 bytes, 32 at most.
struct ChunkAssemblyTests {
    private static let cutting = ObjectCutting(
        chunkSize: 10,
        chunkCountLimit: 32,
        chunkPrefix: { $0 },
        isRight: { _, _ in true }
    )
    private static let seed = SplitMix.seed()

    private func assembly(expecting count: Int = 1) -> ChunkAssembly {
        ChunkAssembly(Self.cutting, expecting: count)
    }

    private func ten(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 10) }

    @Test func asksForTheRestOnceItKnowsHowManyThereAre() {
        var assembly = assembly()
        #expect(assembly.wanted == [0])
        #expect(assembly.take(0, ten(0), last: 2) == .incomplete(ask: 1..<3))
        #expect(assembly.take(2, [2, 2], last: 2) == .incomplete(ask: 3..<3))
        #expect(assembly.wanted == [1])
        #expect(assembly.take(1, ten(1), last: 2) == .whole(ten(0) + ten(1) + [2, 2]))
    }

    @Test func takesOneChunkForAnObject() {
        var assembly = assembly()
        #expect(assembly.take(0, [7], last: 0) == .whole([7]))
    }

    @Test func doesNotMindThatMoreWereAskedForThanThereAre() {
        var assembly = assembly(expecting: 8)
        #expect(assembly.wanted == Array(0..<8))
        #expect(assembly.miss(7) == .incomplete(ask: 0..<0))
        #expect(assembly.miss(3) == .incomplete(ask: 0..<0))
        #expect(assembly.take(0, ten(0), last: 1) == .incomplete(ask: 2..<2))
        #expect(assembly.take(1, [1], last: nil) == .whole(ten(0) + [1]))
    }

    @Test func goesOnWhereOnlyTheLastChunkSaysThatItIs() {
        var assembly = assembly()
        #expect(assembly.take(0, ten(0), last: nil) == .incomplete(ask: 1..<2))
        #expect(assembly.take(1, ten(1), last: nil) == .incomplete(ask: 2..<4))
        #expect(assembly.take(3, [3], last: 3) == .incomplete(ask: 4..<4))
        #expect(assembly.take(2, ten(2), last: nil) == .whole(ten(0) + ten(1) + ten(2) + [3]))
    }

    @Test func saysThatOneIsMissing() {
        var first = assembly(expecting: 4)
        #expect(first.miss(0) == .missing)
        var middle = assembly(expecting: 4)
        #expect(middle.miss(2) == .incomplete(ask: 0..<0))
        #expect(middle.take(0, ten(0), last: 3) == .missing)
    }

    @Test func refusesWhatNoObjectIsCutInto() {
        let wrong: [(number: Int, payload: [UInt8], last: UInt64?)] = [
            (0, [], 0), (0, [UInt8](repeating: 1, count: 11), nil), (32, ten(1), nil),
            (-1, ten(1), nil), (0, ten(1), 32), (0, ten(1), .max), (1, ten(1), 0), (0, [1], 1),
        ]
        for chunk in wrong {
            var assembly = assembly(expecting: 32)
            #expect(assembly.take(chunk.number, chunk.payload, last: chunk.last) == .wrong)
        }
        var assembly = assembly()
        _ = assembly.take(0, ten(1), last: 3)
        #expect(assembly.take(1, ten(1), last: 2) == .wrong)
        // Without end.
        var endless = self.assembly(expecting: 32)
        for number in 0..<31 { _ = endless.take(number, ten(1), last: nil) }
        #expect(endless.take(31, ten(1), last: nil) == .wrong)
    }

    @Test func putsTogetherWhatComesInAnyOrderAndTwice() {
        var random = SplitMix(seed: Self.seed)
        for _ in 0..<500 {
            let bytes = random.bytes(Int.random(in: 1...320, using: &random))
            let count = (bytes.count + 9) / 10
            var assembly = assembly(expecting: Int.random(in: 1...40, using: &random))
            let sayLast = random.chance(1, in: 2)
            var waiting = Set(assembly.wanted)
            var result: [UInt8]?
            var steps = 0
            while result == nil, steps < 2_000, let number = waiting.randomElement(using: &random) {
                steps += 1
                // Lost: it is asked for again.
                if random.chance(1, in: 4) { continue }
                let isRepeated = random.chance(1, in: 4)
                if !isRepeated { waiting.remove(number) }
                let outcome: ChunkAssembly.Outcome
                if number < count {
                    let payload = Array(bytes[number * 10..<min((number + 1) * 10, bytes.count)])
                    let isLast = number == count - 1
                    outcome = assembly.take(
                        number,
                        payload,
                        last: sayLast || isLast ? UInt64(count - 1) : nil
                    )
                } else {
                    outcome = assembly.miss(number)
                }
                switch outcome {
                case .incomplete(let more): waiting.formUnion(more)
                case .whole(let whole): result = whole
                case .missing, .wrong: Issue.record("\(outcome), seed \(Self.seed)")
                }
            }
            #expect(result == bytes, "seed \(Self.seed)")
        }
    }
}
