import Files
import Profiles
import TestSupport
import Testing

@testable import Disks

/// Against an array of what each block comes from.
@Suite struct FrozenMapTests {
    private static let blockCount = 3 * BlockMap.blocksPerPage

    private enum Block: Equatable {
        case absent
        case zero
        case data(overlay: Int64, fileBlock: Int)
    }

    private static func source(_ overlay: Int64) throws -> FrozenMap.Source {
        FrozenMap.Source(overlay: overlay, data: try File("/dev/null", .readOnly), shift: 0)
    }

    private static func range(_ random: inout SplitMix) -> Range<Int> {
        let start =
            random.chance(1, in: 3)
            ? Int.random(in: 0..<3, using: &random) * BlockMap.blocksPerPage
            : Int.random(in: 0..<blockCount, using: &random)
        let count =
            random.chance(1, in: 4)
            ? BlockMap.blocksPerPage : Int.random(in: 1...200, using: &random)
        return start..<min(start + count, blockCount)
    }

    private static func overlay(
        _ random: inout SplitMix
    ) -> (pages: [Int: [UInt8]], states: [Int: BlockState]) {
        let map = BlockMap()
        var states: [Int: BlockState] = [:]
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            let range = range(&random)
            let state: BlockState = random.chance(1, in: 4) ? .zero : .data
            map.set(range, to: state)
            for block in range { states[block] = state }
        }
        return (map.pages, states)
    }

    private static func check(
        _ map: FrozenMap,
        _ model: [Block],
        _ note: Comment
    ) throws {
        var block = 0
        while block < model.count {
            let run = map.run(at: block, limit: model.count - block)
            try #require(run.count > 0, note)
            for index in block..<block + run.count {
                let found: Block =
                    switch run.entry {
                    case .absent: .absent
                    case .zero: .zero
                    case .data(let source):
                        .data(
                            overlay: source.overlay,
                            fileBlock: index + source.shift / BlockMap.blockSize
                        )
                    }
                try #require(found == model[index], "block \(index), \(note)")
            }
            block += run.count
        }
    }

    @Test(arguments: 0..<4)
    func isAnArrayOfOrigins(_ run: Int) throws {
        let seed = SplitMix.seed() &+ UInt64(run)
        var random = SplitMix(seed: seed)
        let note: Comment = "repeat with CCNFS_SEED=\(seed &- UInt64(run)), run \(run)"
        var maps = [FrozenMap(), FrozenMap()]
        var models = [
            [Block](repeating: .absent, count: Self.blockCount),
            [Block](repeating: .absent, count: Self.blockCount),
        ]
        for step in 0..<60 {
            let index = Int.random(in: 0...1, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1:
                let (pages, states) = Self.overlay(&random)
                let id = Int64(step + 1)
                try maps[index].lay(pages, of: Self.source(id))
                for (block, state) in states {
                    models[index][block] =
                        state == .zero ? .zero : .data(overlay: id, fileBlock: block)
                }
            case 2:
                let range = Self.range(&random)
                maps[index].remove(range)
                for block in range { models[index][block] = .absent }
            default:
                let range = Self.range(&random)
                let room = Self.blockCount - range.count
                let target =
                    random.chance(1, in: 2)
                    ? range.lowerBound : Int.random(in: 0...room, using: &random)
                maps[index].remove(target..<target + range.count)
                try maps[index].insert(maps[1 - index], range, at: target)
                for block in range {
                    models[index][target + block - range.lowerBound] = models[1 - index][block]
                }
            }
            try Self.check(maps[index], models[index], note)
        }
        try Self.check(maps[0], models[0], note)
        try Self.check(maps[1], models[1], note)
    }

    @Test func readsOneOverlaysBlocksFromAnother() throws {
        var map = FrozenMap()
        let blocks = BlockMap()
        blocks.set(5..<9, to: .data)
        try map.lay(blocks.pages, of: Self.source(1))
        #expect(map.shows(1))
        map.replace(1, with: 2, try File("/dev/null", .readOnly))
        guard case .data(let source) = map.run(at: 6, limit: 1).entry else {
            Issue.record("the block is data")
            return
        }
        #expect(source.overlay == 2)
        #expect(!map.shows(1))
    }
}
