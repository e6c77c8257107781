import TestSupport
import Testing

@testable import Profiles

@Suite struct ReadAheadTests {
    /// Windows of 32 to 256 segments.
    private var readAhead = ReadAhead(segmentSize: 32 << 10)

    private mutating func read(_ segments: ClosedRange<Int>, missed: Bool = true) -> Range<Int> {
        readAhead.noteRead(segments, missed: missed, end: 100_000)
    }

    @Test mutating func asksAheadOfASequentialReaderNoMoreThanItReadBefore() {
        #expect(read(0...31).isEmpty)
        #expect(read(32...63) == 64..<128)
        var asked = 128
        var largest = 0
        for segment in 64..<4096 {
            let ahead = read(segment...segment, missed: false)
            if ahead.isEmpty { continue }
            #expect(ahead.lowerBound == asked)
            #expect(ahead.count <= segment + 1)
            asked = ahead.upperBound
            largest = max(largest, asked - segment - 1)
        }
        #expect(largest == 256)
        #expect(asked > 4096)
    }

    @Test mutating func asksNothingAheadBeforeALittleWasReadInSequence() {
        for segment in 0..<7 { #expect(read(segment...segment).isEmpty) }
        #expect(read(7...7) == 8..<16)
    }

    @Test mutating func asksLittleAheadOfManyWhoReadHereAndThere() {
        var random = SplitMix(seed: 5)
        var asked = 0
        // In 16 MiB, of which half is read in the end.
        for _ in 0..<1000 {
            let segment = Int.random(in: 0..<512, using: &random)
            asked += read(segment...segment).count
        }
        #expect(asked < 50)
        #expect(!readAhead.isEmpty)
    }

    @Test mutating func asksNothingAheadOfWhoReadsTheSameAgain() {
        #expect(read(7...7).isEmpty)
        for _ in 0..<50 { #expect(read(7...7).isEmpty) }
    }

    @Test mutating func followsTheKernelsReadsThatComeOutOfOrder() {
        _ = read(0...31)
        #expect(read(64...95) == 96..<160)
        #expect(read(32...63).isEmpty)
        #expect(read(96...127, missed: false) == 160..<224)
    }

    @Test mutating func tellsReadersApart() {
        for start in [0, 10_000, 20_000] { _ = read(start...start + 31) }
        for start in [0, 10_000, 20_000] {
            #expect(read(start + 32...start + 63) == start + 64..<start + 128)
        }
    }

    @Test mutating func followsNoMoreThanALimitAndForgetsTheOldest() {
        for number in 0..<17 { _ = read(number * 5_000...number * 5_000 + 31) }
        #expect(read(32...63).isEmpty)
        #expect(!read(16 * 5_000 + 32...16 * 5_000 + 63).isEmpty)
    }

    @Test mutating func endsWithTheContent() {
        _ = readAhead.noteRead(0...31, missed: true, end: 70)
        #expect(readAhead.noteRead(32...63, missed: true, end: 70) == 64..<70)
        #expect(readAhead.noteRead(64...69, missed: false, end: 70).isEmpty)
    }

    @Test mutating func doesNotFollowWhereNothingIsMissing() {
        #expect(read(0...31, missed: false).isEmpty)
        #expect(readAhead.isEmpty)
        _ = read(0...31)
        let ahead = read(32...63)
        readAhead.forget(ahead)
        #expect(readAhead.isEmpty)
    }
}
