import CCNx
import Profiles
import Store
import TestSupport
import Testing

@Suite struct ProfileTests {
    private static func content(_ number: UInt8, size: Int, _ scene: StoreScene) -> SegmentedContent
    {
        let descriptor = ContentDescriptor(
            root: ObjectId(of: [number]),
            size: size,
            segmentSize: 4096,
            levels: 1
        )
        return SegmentedContent(descriptor, prefix: BuiltContent.prefix, store: scene.store)
    }

    /// What a byte of a disk maps to.
    private struct Target: Equatable {
        let content: Int
        let offset: Int
    }

    @Test func isAnArrayOfTargets() throws {
        let seed = SplitMix.seed()
        let note: Comment = "CCNFS_SEED=\(seed)"
        var random = SplitMix(seed: seed)
        let scene = try StoreScene()
        let contents = (0..<3).map { Self.content(UInt8($0), size: 4096, scene) }
        let size = 300
        for _ in 0..<40 {
            var profile = Profile()
            var model = [Target?](repeating: nil, count: size)
            for _ in 0..<30 {
                let start = Int.random(in: 0..<size, using: &random)
                let range = start..<start + Int.random(in: 1...size - start, using: &random)
                switch Int.random(in: 0..<8, using: &random) {
                case 0:
                    profile.remove(range)
                    for byte in range { model[byte] = nil }
                case 1:
                    profile.clip(to: start)
                    for byte in start..<size { model[byte] = nil }
                default:
                    let number = Int.random(in: 0..<3, using: &random)
                    // Often the same place of the content, so that neighbours go on.
                    let source =
                        random.chance(2, in: 3) ? start : Int.random(in: 0..<1000, using: &random)
                    profile.map(
                        Extent(
                            start: start,
                            byteCount: range.count,
                            content: contents[number],
                            sourceStart: source
                        )
                    )
                    for byte in range {
                        model[byte] = Target(content: number, offset: source + byte - start)
                    }
                }
                try check(profile, model, contents, note)
            }
        }
    }

    private func check(
        _ profile: Profile,
        _ model: [Target?],
        _ contents: [SegmentedContent],
        _ note: Comment
    ) throws {
        var expected: [(start: Int, end: Int, target: Target)] = []
        for (byte, target) in model.enumerated() {
            guard let target else { continue }
            if let last = expected.last, last.end == byte, last.target.content == target.content,
                target.offset == last.target.offset + byte - last.start
            {
                expected[expected.count - 1].end = byte + 1
            } else {
                expected.append((start: byte, end: byte + 1, target: target))
            }
        }
        let extents = profile.extents
        try #require(extents.count == expected.count, note)
        for (extent, run) in zip(extents, expected) {
            #expect(extent.range == run.start..<run.end, note)
            #expect(extent.sourceStart == run.target.offset, note)
            #expect(extent.content === contents[run.target.content], note)
        }
        for offset in stride(from: 0, to: model.count, by: 7) {
            let run = profile.run(at: offset, limit: 50)
            let covering = expected.first { $0.start <= offset && offset < $0.end }
            let next = expected.first { $0.start > offset }?.start ?? Int.max
            #expect(run.extent?.start == covering?.start, note)
            #expect(run.byteCount == min(50, (covering?.end ?? next) - offset), note)
        }
    }

    @Test(arguments: [false, true])
    func isOneExtentWhenALargeCopyComesInPieces(_ isBackwards: Bool) throws {
        let scene = try StoreScene()
        let size = 100 << 30
        let content = Self.content(1, size: size, scene)
        // Another reader of the same content is as good.
        let other = Self.content(1, size: size, scene)
        var profile = Profile()
        let piece = (4 << 30) - 4096
        var starts = Array(stride(from: 0, to: size, by: piece))
        #expect(starts.count == 26)
        if isBackwards { starts.reverse() }
        for start in starts {
            profile.map(
                Extent(
                    start: start,
                    byteCount: min(piece, size - start),
                    content: start == piece ? other : content,
                    sourceStart: start
                )
            )
        }
        #expect(profile.extents.count == 1)
        #expect(profile.extents[0].range == 0..<size)
        #expect(profile.extents[0].sourceStart == 0)
    }

    @Test func keepsNeighboursApartThatDoNotGoOn() throws {
        let scene = try StoreScene()
        let contents = [Self.content(1, size: 9999, scene), Self.content(2, size: 9999, scene)]
        func count(_ extents: [Extent]) -> Int {
            var profile = Profile()
            for extent in extents { profile.map(extent) }
            return profile.extents.count
        }
        let first = Extent(start: 0, byteCount: 10, content: contents[0], sourceStart: 5)
        func next(_ start: Int, _ content: Int, _ source: Int) -> Extent {
            Extent(start: start, byteCount: 10, content: contents[content], sourceStart: source)
        }
        #expect(count([first, next(10, 0, 15)]) == 1)
        #expect(count([first, next(10, 0, 16)]) == 2)
        #expect(count([first, next(11, 0, 16)]) == 2)
        #expect(count([first, next(10, 1, 15)]) == 2)
        let elsewhere = SegmentedContent(
            contents[0].descriptor,
            prefix: BuiltContent.prefix.appending(.name("x")),
            store: scene.store
        )
        let foreign = Extent(start: 10, byteCount: 10, content: elsewhere, sourceStart: 15)
        #expect(count([first, foreign]) == 2)
    }
}
