import Profiles
import Store
import TestSupport
import Testing

@Suite struct BlockMapTests {
    private static let blockCount = 3 * BlockMap.blocksPerPage + 100

    /// The states of page `page`, as its bytes are documented: two bits a block, lowest first.
    private func encoded(_ model: [UInt8], page: Int) -> [UInt8] {
        (0..<BlockMap.bytesPerPage).map { index in
            var byte: UInt8 = 0
            for entry in 0..<4 {
                let block = page * BlockMap.blocksPerPage + index * 4 + entry
                if block < model.count { byte |= model[block] << UInt8(entry * 2) }
            }
            return byte
        }
    }

    private func randomRange(_ random: inout SplitMix) -> Range<Int> {
        // Ends of pages and of bytes are where mistakes would be.
        let near = [0, 1, 4, 4096, 8192, 12288, Self.blockCount].randomElement(using: &random) ?? 0
        let start =
            random.chance(1, in: 2)
            ? Int.random(in: 0..<Self.blockCount, using: &random)
            : max(0, min(near + Int.random(in: -6...6, using: &random), Self.blockCount - 1))
        let most = random.chance(1, in: 5) ? Self.blockCount : 20
        let count = Int.random(in: 1...most, using: &random)
        return start..<min(start + count, Self.blockCount)
    }

    private func expectEqual(
        _ map: BlockMap,
        _ model: [UInt8],
        _ note: Comment,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for page in 0...3 {
            #expect(
                map.states(ofPage: page) == encoded(model, page: page),
                note,
                sourceLocation: sourceLocation
            )
        }
        let data = model.count { $0 == BlockState.data.rawValue }
        #expect(map.dataBlockCount == data, note, sourceLocation: sourceLocation)
    }

    @Test func isAnArrayOfStates() throws {
        let seed = SplitMix.seed()
        let note: Comment = "CCNFS_SEED=\(seed)"
        var random = SplitMix(seed: seed)
        let map = BlockMap()
        var model = [UInt8](repeating: 0, count: Self.blockCount)
        var taken = model
        for step in 0..<400 {
            let range = randomRange(&random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                let state =
                    [BlockState.absent, .data, .zero].randomElement(using: &random) ?? .data
                map.set(range, to: state)
                for block in range { model[block] = state.rawValue }
            case 4:
                let (state, count) = map.run(at: range.lowerBound, limit: range.count)
                #expect(state.rawValue == model[range.lowerBound], note)
                let expected = model[range].prefix { $0 == state.rawValue }.count
                #expect(count == expected, note)
            case 5:
                for state in [BlockState.absent, .data, .zero] {
                    let isAll = model[range].allSatisfy { $0 == state.rawValue }
                    #expect(map.all(range, are: state) == isAll, note)
                }
            case 6:
                if step % 5 == 0 {
                    map.clip(to: range.lowerBound)
                    for block in range.lowerBound..<Self.blockCount { model[block] = 0 }
                }
            case 7:
                // Undone.
                let change = map.exchange(range, to: .zero)
                map.restore(change.before, from: change.first)
            case 8:
                let rows = map.takeDirtyPages()
                #expect(!map.hasDirtyPages, note)
                for page in 0...3 {
                    let states = encoded(model, page: page)
                    if let row = rows.first(where: { $0.page == page }) {
                        let isEmpty = states.allSatisfy { $0 == 0 }
                        #expect(row.states == (isEmpty ? [] : states), note)
                    } else {
                        #expect(states == encoded(taken, page: page), note)
                    }
                }
                if random.chance(1, in: 3) {
                    map.restoreDirty(rows)
                    #expect(map.hasDirtyPages == !rows.isEmpty, note)
                } else {
                    taken = model
                }
            default:
                var expected: [(Range<Int>, UInt8)] = []
                for (block, state) in model.enumerated() where state != 0 {
                    if let last = expected.last, last.1 == state, last.0.upperBound == block {
                        expected[expected.count - 1].0 = last.0.lowerBound..<block + 1
                    } else {
                        expected.append((block..<block + 1, state))
                    }
                }
                let runs = map.runs()
                #expect(runs.map(\.range) == expected.map(\.0), note)
                #expect(runs.map(\.state.rawValue) == expected.map(\.1), note)
            }
        }
        expectEqual(map, model, note)
        let rows = (0...3).map { MapPageRow(page: $0, states: encoded(model, page: $0)) }
        let loaded = BlockMap(pages: rows)
        expectEqual(loaded, model, note)
        #expect(!loaded.hasDirtyPages)
    }

    @Test func takesOverAPageThatIsAhead() {
        let map = BlockMap(pages: [])
        map.set(0..<10, to: .data)
        _ = map.takeDirtyPages()
        var ahead = map.states(ofPage: 0)
        map.merge(livePage: 0, states: ahead)
        #expect(!map.hasDirtyPages)
        ahead[0] = 0b10_10_10_10
        ahead[100] = 0b01
        map.merge(livePage: 0, states: ahead)
        #expect(map.hasDirtyPages)
        #expect(map.dataBlockCount == 7)
        #expect(map.run(at: 0, limit: 100).state == .zero)
        #expect(map.run(at: 400, limit: 1).state == .data)
        map.merge(livePage: 5, states: [UInt8](repeating: 0, count: BlockMap.bytesPerPage))
        #expect(map.pageNumbers == [0])
    }

    @Test func ignoresPagesOfAnotherSize() {
        let map = BlockMap(pages: [
            MapPageRow(page: 0, states: [0x55]), MapPageRow(page: 1, states: []),
        ])
        #expect(map.dataBlockCount == 0)
        #expect(map.pageNumbers.isEmpty)
    }

    @Test func givesUpPagesThatBecameEmpty() {
        let map = BlockMap()
        map.set(0..<3 * BlockMap.blocksPerPage, to: .data)
        map.set(BlockMap.blocksPerPage..<2 * BlockMap.blocksPerPage, to: .absent)
        let rows = map.takeDirtyPages()
        #expect(rows.map(\.page) == [0, 1, 2])
        #expect(rows.map(\.states.isEmpty) == [false, true, false])
        #expect(map.pageNumbers.sorted() == [0, 2])
    }

    @Test func findsALongRunAcrossPagesThatAreNotThere() {
        let map = BlockMap()
        let last = 1_000_000 * BlockMap.blocksPerPage / 1000
        map.set(last..<last + 1, to: .data)
        #expect(map.run(at: 5, limit: last * 2) == (.absent, last - 5))
        #expect(map.run(at: last, limit: 10) == (.data, 1))
        #expect(map.run(at: last + 1, limit: 10_000) == (.absent, 10_000))
    }
}
