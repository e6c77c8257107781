import Disks
import Dispatch
import Failures
import Files
import Profiles
import Store
import TestSupport
import Testing

@Suite struct DiskTests {
    private static func pattern(_ count: Int, _ seed: UInt64 = 1) -> [UInt8] {
        var random = SplitMix(seed: seed)
        return random.bytes(count)
    }

    // MARK: Parts of blocks

    @Test func losesNothingWhenNeighbouringSectorsAreWrittenAtOnce() async throws {
        let scene = try DiskScene()
        let base = Self.pattern(64 * 4096)
        let disk = try scene.deploy(try scene.template(base))
        _ = try await disk.read(at: 0, byteCount: base.count)
        let failures = Counter()
        // Two of eight sectors of each block stay those of the base.
        await withTaskGroup { group in
            for sector in 0..<6 {
                group.addTask {
                    for block in 0..<64 {
                        let bytes = [UInt8](repeating: UInt8(sector + 1), count: 512)
                        let offset = block * 4096 + sector * 512
                        do throws(Failure) {
                            try await disk.writeWaiting(bytes, at: offset)
                        } catch {
                            failures.increment()
                        }
                    }
                }
            }
        }
        #expect(failures.value == 0)
        let found = try await disk.read(at: 0, byteCount: base.count)
        for block in 0..<64 {
            for sector in 0..<8 {
                let range = block * 4096 + sector * 512..<block * 4096 + (sector + 1) * 512
                let expected =
                    sector < 6
                    ? [UInt8](repeating: UInt8(sector + 1), count: 512) : Array(base[range])
                #expect(Array(found[range]) == expected)
            }
        }
    }

    @Test func fillsAPartOfABlockFromBelowOnceThatWasFetched() async throws {
        let scene = try DiskScene()
        let base = Self.pattern(40_000)
        let disk = try scene.deploy(try scene.template(base))
        let bytes = [UInt8](repeating: 1, count: 5000)
        guard case .missing = try disk.write(bytes.span, at: 6000) else {
            Issue.record("a write went ahead without what is below")
            return
        }
        #expect(disk.writtenByteCount == 0)
        let fills = try await disk.fills(forWriteAt: 6000, byteCount: 5000)
        guard case .complete = try disk.write(bytes.span, at: 6000, fills: fills) else {
            Issue.record("a write did not use what was fetched")
            return
        }
        #expect(disk.writtenByteCount == 2 * 4096)
        let expected = base[..<6000] + bytes + base[11_000...]
        #expect(same(try await disk.read(at: 0, byteCount: 50_000), expected))
    }

    @Test func fetchesNothingForAWholeBlock() async throws {
        let scene = try DiskScene()
        let disk = try scene.deploy(try scene.template(Self.pattern(40_000)))
        let bytes = [UInt8](repeating: 1, count: 8192)
        guard case .complete = try disk.write(bytes.span, at: 4096) else {
            Issue.record("a whole block needed what is below")
            return
        }
        #expect(scene.source.askedInAll == 0)
        #expect(try disk.residentBytes(at: 4096, byteCount: 8192) == bytes)
    }

    @Test func doesNotUseFillsOfAnotherBase() async throws {
        let scene = try DiskScene()
        let disk = try scene.deploy(try scene.template(Self.pattern(8192, 1)))
        let fills = try await disk.fills(forWriteAt: 100, byteCount: 1)
        let other = Self.pattern(8192, 2)
        try disk.map(
            Extent(
                start: 0,
                byteCount: 8192,
                content: scene.content(try scene.template(other)),
                sourceStart: 0
            )
        )
        guard case .missing = try disk.write([UInt8(7)].span, at: 100, fills: fills) else {
            Issue.record("a block was filled from a base that is gone")
            return
        }
        try await disk.writeWaiting([7], at: 100)
        #expect(
            same(try await disk.read(at: 0, byteCount: 8192), other[..<100] + [7] + other[101...])
        )
    }

    // MARK: Clones

    @Test func keepsAnAnsweredCloneThatEmptiedAPageOfTheMapWhenTheProcessDies() async throws {
        let scene = try DiskScene()
        let base = Self.pattern(64 * 4096)
        let content = try scene.template(base)
        let disk = try scene.deploy(content)
        try await disk.writeWaiting([1, 2, 3], at: 5000)
        // A block of the next page keeps the live map's file long.
        try await disk.writeWaiting([4, 5, 6], at: 16 << 20)
        try disk.map(
            Extent(
                start: 0,
                byteCount: base.count,
                content: scene.content(content),
                sourceStart: 0
            )
        )
        #expect(same(try await disk.read(at: 0, byteCount: base.count), base))
        try scene.reopen()
        let again = try scene.disk()
        #expect(same(try await again.read(at: 0, byteCount: base.count), base))
        #expect(try await again.read(at: 16 << 20, byteCount: 3) == [4, 5, 6])
    }

    @Test func makesACloneDurableWithTheNextFlushWhateverFlushCameBetween() async throws {
        let scene = try DiskScene()
        let base = Self.pattern(64 * 4096)
        let content = try scene.template(base)
        let disk = try scene.deploy(content)
        for block in 0..<64 { try await disk.writeWaiting([9], at: block * 4096) }
        // As a flush that took its pages before the clone and commits them after it.
        let page = BlockMap()
        page.set(0..<64, to: .data)
        let stale = page.takeDirtyPages()
        try disk.map(
            Extent(
                start: 0,
                byteCount: base.count,
                content: scene.content(content),
                sourceStart: 0
            )
        )
        try scene.database.commit(
            mapPages: [(overlay: disk.overlayId, pages: stale)],
            modified: []
        )
        try await scene.machines.flushQueue.flush(disk)
        try scene.reopen(bootId: "boot-2")
        #expect(same(try await scene.disk().read(at: 0, byteCount: base.count), base))
    }

    @Test func showsAReaderWhatWasThereOrWhatComesWhileItIsClonedOver() async throws {
        let scene = try DiskScene()
        let contents = try [1, 3].map { byte in
            scene.content(try scene.template([UInt8](repeating: byte, count: 16 * 4096)))
        }
        let (below, clone) = (contents[0], contents[1])
        let disk = try scene.deploy(below.descriptor)
        for content in contents {
            _ = try await content.read(at: 0, byteCount: 16 * 4096)
        }
        let rounds = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for reader in 0..<2 {
                group.addTask {
                    while rounds.value < 100 {
                        // The same odd number before and after: only the clone went on in between.
                        let round = rounds.value
                        let bytes = try disk.residentBytes(at: reader * 4096, byteCount: 1)
                        await Task.yield()
                        if round % 2 == 1, rounds.value == round {
                            #expect(bytes == [2] || bytes == [3])
                        }
                        // Two readers that never pause would leave no thread for the writer.
                        await Task.yield()
                    }
                }
            }
            group.addTask {
                defer { while rounds.value < 100 { rounds.increment() } }
                while rounds.value < 100 {
                    try disk.map(
                        Extent(
                            start: 0,
                            byteCount: 16 * 4096,
                            content: below,
                            sourceStart: 0
                        )
                    )
                    try await disk.writeWaiting(
                        [UInt8](repeating: 2, count: 16 * 4096),
                        at: 0
                    )
                    // From here on until the clone was made there are twos or threes, never ones.
                    rounds.increment()
                    try disk.map(
                        Extent(start: 0, byteCount: 16 * 4096, content: clone, sourceStart: 0)
                    )
                    rounds.increment()
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func refusesACloneThatSplitsABlock() throws {
        let scene = try DiskScene()
        let content = scene.content(try scene.template(Self.pattern(40_000)))
        let disk = try scene.deploy(content.descriptor)
        for (start, count) in [(512, 4096), (0, 512), (4096, 5000)] {
            let extent = Extent(start: start, byteCount: count, content: content, sourceStart: 0)
            #expect(kind { try disk.map(extent) } == .invalid)
        }
        let tail = Extent(start: 36_864, byteCount: 3136, content: content, sourceStart: 0)
        #expect(kind { try disk.map(tail) } == nil)
        let nothing = Extent(start: 1 << 20, byteCount: 0, content: content, sourceStart: 0)
        #expect(kind { try disk.map(nothing) } == nil)
        #expect(disk.size == 40_000)
    }

    // MARK: Sizes

    @Test func readsZerosWhereItShrankAndGrewAgain() async throws {
        let scene = try DiskScene()
        let base = Self.pattern(40_000)
        let disk = try scene.deploy(try scene.template(base))
        try await disk.writeWaiting([UInt8](repeating: 3, count: 9000), at: 10_000)
        _ = try disk.resize(to: 12_345)
        _ = try disk.resize(to: 60_000)
        let expected =
            base[..<10_000] + [UInt8](repeating: 3, count: 2345)
            + [UInt8](repeating: 0, count: 60_000 - 12_345)
        #expect(same(try await disk.read(at: 0, byteCount: 70_000), expected))
        for bootId in [nil, "boot-2"] {
            try scene.reopen(bootId: bootId)
            #expect(same(try await scene.disk().read(at: 0, byteCount: 70_000), expected))
        }
    }

    @Test func tellsDataFromHoles() async throws {
        let scene = try DiskScene()
        let zeros = [UInt8](repeating: 0, count: 16_384)
        let disk = try scene.deploy(try scene.template(zeros + Self.pattern(8192) + zeros))
        #expect(try await disk.next(data: true, from: 0) == 16_384)
        #expect(try await disk.next(data: false, from: 17_000) == 24_576)
        #expect(try await disk.next(data: true, from: 24_576) == nil)
        try await disk.writeWaiting([1], at: 30_000)
        #expect(try await disk.next(data: true, from: 24_576) == 28_672)
        #expect(try await disk.next(data: false, from: 28_672) == 32_768)
        #expect(try await disk.next(data: false, from: 40_959) == 40_959)
        #expect(try await disk.next(data: true, from: 99_999) == nil)
    }

    // MARK: A full disk

    /// Fills what is left, to the last page.
    private static func fill(_ directory: String) throws -> File {
        let filler = try File("\(directory)/filler", .create)
        let page = [UInt8](repeating: 1, count: 4096)
        var offset = try filler.size()
        while kind({ try filler.write(page.span, at: offset) }) == nil { offset += 4096 }
        return filler
    }

    @Test(.enabled(if: SmallFilesystem.isPossible))
    func losesNothingAnsweredWhenTheDiskBelowIsFull() async throws {
        let small = try SmallFilesystem(byteCount: 512 << 10)
        // Taken away at the end: after a power cut a new live map needs room.
        try FileTree.replace("\(small.path)/reserve", with: [UInt8](repeating: 1, count: 16_384))
        let scene = try DiskScene(overlays: "\(small.path)/overlays")
        let disk = try scene.deploy(try scene.template([UInt8](repeating: 0, count: 1 << 20)))
        var model = [UInt8](repeating: 0, count: 1 << 20)
        var refused = 0
        for number in 0..<200 {
            let offset = number * 5000
            let bytes = Self.pattern(3000, UInt64(number))
            let failure = await failure { try await disk.writeWaiting(bytes, at: offset) }
            if let failure {
                #expect(failure.kind == .noSpace)
                refused += 1
                // What of it was there before may be old or new; the rest of its blocks is as it was.
                model.replaceSubrange(
                    offset..<offset + 3000,
                    with: try await disk.read(at: offset, byteCount: 3000)
                )
            } else {
                model.replaceSubrange(offset..<offset + 3000, with: bytes)
            }
        }
        #expect(refused > 0)
        #expect(same(try await disk.read(at: 0, byteCount: 1 << 20), model))
        try await scene.machines.flushQueue.flush(disk)
        for bootId in [nil, "boot-2"] {
            if bootId != nil { try FileTree.remove("\(small.path)/reserve") }
            try scene.reopen(bootId: bootId)
            #expect(same(try await scene.disk().read(at: 0, byteCount: 1 << 20), model))
        }
    }

    @Test(.enabled(if: SmallFilesystem.isPossible))
    func takesAWriteBackWhoseMapHasNoRoom() async throws {
        let small = try SmallFilesystem(byteCount: 256 << 10)
        let scene = try DiskScene(overlays: "\(small.path)/overlays")
        let base = Self.pattern(4096)
        let disk = try scene.deploy(try scene.template(base))
        _ = try disk.resize(to: 1 << 30)
        try await disk.writeWaiting([7], at: 0)
        let filler = try Self.fill(small.path)
        try filler.truncate(to: try filler.size() / 4096 * 4096 - 4096)
        // One page is left: for the block, not for a page of the map so far behind.
        let block = [UInt8](repeating: 5, count: 4096)
        let failure = await failure { try await disk.writeWaiting(block, at: 1 << 29) }
        #expect(failure?.kind == .noSpace)
        #expect(try await disk.read(at: 1 << 29, byteCount: 10) == [UInt8](repeating: 0, count: 10))
        #expect(disk.writtenByteCount == 4096)
        #expect(same(try await disk.read(at: 0, byteCount: 4096), [7] + base[1...]))
        try filler.truncate(to: 0)
        try await disk.writeWaiting(block, at: 1 << 29)
        try scene.reopen()
        #expect(try await scene.disk().read(at: 1 << 29, byteCount: 4096) == block)
    }
}
