import Failures
import Profiles
import Store
import TestSupport
import Testing

@Suite struct ManifestTests {
    static let shapes = [4096, 8192, 16384, 32768].flatMap { size in
        (0...3).map { (segmentSize: size, levels: $0) }
    }

    private func id(_ number: Int) -> ObjectId { ObjectId(of: Array("\(number)".utf8)) }

    // MARK: Round trip

    @Test(arguments: shapes)
    func readsBackWhatWasBuilt(_ segmentSize: Int, _ levels: Int) async throws {
        let seed = SplitMix.seed()
        var random = SplitMix(seed: seed)
        let span = (0..<levels).reduce(1) { count, _ in count * 1024 }
        let least = levels == 0 ? 1 : span / 1024 + 1
        // The third level is spared its millions of holes.
        let most = min(span, least * 3)
        for _ in 0..<3 {
            let count = Int.random(in: least...most, using: &random)
            let size = (count - 1) * segmentSize + Int.random(in: 1...segmentSize, using: &random)
            #expect(ManifestNode.levels(size: size, segmentSize: segmentSize) == levels)
            var model: [Int: ObjectId] = [:]
            for position in [0, count - 1] where random.chance(1, in: 2) {
                model[position] = id(position)
            }
            for _ in 0..<40 {
                let start = Int.random(in: 0..<count, using: &random)
                for position in start..<min(start + 5, count) { model[position] = id(position) }
            }
            let source = FakeSource()
            var builder = ManifestBuilder()
            for position in model.keys.sorted() {
                try builder.append(id(position), at: position) { #expect(source.add($1) == $0) }
            }
            let descriptor = try builder.finish(size: size, segmentSize: segmentSize) {
                #expect(source.add($1) == $0)
            }
            #expect(descriptor.levels == levels)
            #expect(descriptor.segmentCount == count)

            let reader = ManifestReader(descriptor, prefix: BuiltContent.prefix, source: source)
            #expect(reader.leafCount == (count + 1023) / 1024)
            var leaves = Set(model.keys.map { $0 / 1024 })
            for _ in 0..<20 { leaves.insert(Int.random(in: 0..<reader.leafCount, using: &random)) }
            for leaf in leaves {
                let ids = try await reader.leaf(leaf)
                #expect(ids.count <= 1024)
                #expect(ids.last?.isHole != true)
                for (entry, id) in ids.enumerated() {
                    let wanted = model[leaf * 1024 + entry] ?? .hole
                    #expect(id == wanted, "seed \(seed)")
                }
                let behind = model.keys.contains { $0 / 1024 == leaf && $0 % 1024 >= ids.count }
                #expect(!behind, "seed \(seed)")
            }
            var segments: [ObjectId] = []
            try await reader.forEachObject { id, isSegment in
                if isSegment { segments.append(id) }
            }
            let inOrder = model.keys.sorted().compactMap { model[$0] }
            #expect(segments == inOrder, "seed \(seed)")
        }
    }

    @Test(arguments: [
        (0, 4096, 0), (1, 4096, 0), (4096, 4096, 0), (4097, 4096, 1), (4 << 20, 4096, 1),
        ((4 << 20) + 1, 4096, 2), (32 << 20, 32768, 1), (32 << 30, 32768, 2),
        ((32 << 30) + 1, 32768, 3), (8 << 40, 32768, 3), (4 << 30, 4096, 2), (4 << 40, 4096, 3),
        (8 << 40, 4096, 4),
    ])
    func hasAsFewLevelsAsSpanTheSize(_ size: Int, _ segmentSize: Int, _ levels: Int) {
        #expect(ManifestNode.levels(size: size, segmentSize: segmentSize) == levels)
    }

    // MARK: One form

    @Test func hasOneRootHoweverHolesWereWritten() throws {
        for count in [1, 2, 1024, 1025, 5000] {
            let data = [0, 3, 1023, 1030, 4000].filter { $0 < count }
            var roots: Set<ObjectId> = []
            var emitted: Set<Set<ObjectId>> = []
            for way in 0..<3 {
                var builder = ManifestBuilder()
                var nodes: Set<ObjectId> = []
                for position in 0..<count {
                    let isData = data.contains(position)
                    // Left out; all written; some written.
                    let isWritten = isData || way == 1 || way == 2 && position % 7 == 0
                    guard isWritten else { continue }
                    try builder.append(isData ? id(position) : .hole, at: position) { id, _ in
                        nodes.insert(id)
                    }
                }
                let descriptor = try builder.finish(size: count * 4096, segmentSize: 4096) {
                    id,
                    _ in nodes.insert(id)
                }
                roots.insert(descriptor.root)
                emitted.insert(nodes)
            }
            #expect(roots.count == 1)
            #expect(emitted.count == 1)
        }
    }

    @Test(arguments: [0, 1, 1024, 1025, 3000])
    func isAHoleWhenAllIsHoles(_ count: Int) async throws {
        var builder = ManifestBuilder()
        for position in stride(from: 0, to: count, by: 100) {
            try builder.append(.hole, at: position) { _, _ in Issue.record("a node of holes") }
        }
        let descriptor = try builder.finish(size: count * 4096, segmentSize: 4096) { _, _ in
            Issue.record("a node of holes")
        }
        #expect(descriptor.root.isHole)
        let reader = ManifestReader(
            descriptor,
            prefix: BuiltContent.prefix,
            source: NoSource()
        )
        for leaf in 0..<reader.leafCount { #expect(try await reader.leaf(leaf).isEmpty) }
        try await reader.forEachObject { _, _ in Issue.record("holes are no objects") }
    }

    @Test func leavesTrailingHolesOut() throws {
        #expect(ManifestNode.encode([id(1), .hole, id(2), .hole, .hole]).count == 3 * 32)
        #expect(ManifestNode.encode([.hole, .hole]).isEmpty)
        #expect(ManifestNode.encode([ObjectId]()).isEmpty)
    }

    // MARK: Nodes from outside

    @Test(arguments: [
        [1], [1, 2], [0, 1], [0, 0, 0, 7], [1, 0, 2], Array(1...1024),
        Array(repeating: 0, count: 1023) + [1],
    ])
    func decodesTheCanonicalForm(_ numbers: [Int]) throws {
        let ids = numbers.map { $0 == 0 ? ObjectId.hole : id($0) }
        #expect(try ManifestNode.decode(ManifestNode.encode(ids)) == ids)
    }

    static let malformed: [[UInt8]] = {
        let one = ObjectId(of: [1]).bytes
        let hole = [UInt8](repeating: 0, count: 32)
        return [
            [], [0], Array(one.dropLast()), one + [0], hole, one + hole, one + one + hole + hole,
            Array(repeating: one, count: 1025).flatMap(\.self),
            Array(repeating: one, count: 1024).flatMap(\.self) + [1],
        ]
    }()

    @Test(arguments: malformed)
    func refusesEveryOtherForm(_ bytes: [UInt8]) async throws {
        #expect(kind { _ = try ManifestNode.decode(bytes) } == .corrupt)
        // Also where its id is right: a publisher can sign anything.
        let source = FakeSource([bytes])
        let descriptor = ContentDescriptor(
            root: ObjectId(of: bytes),
            size: 5 * 4096,
            segmentSize: 4096,
            levels: 1
        )
        let reader = ManifestReader(descriptor, prefix: BuiltContent.prefix, source: source)
        #expect(await failure { try await reader.leaf(0) }?.kind == .corrupt)
        #expect(await failure { try await reader.forEachObject { _, _ in } }?.kind == .corrupt)
    }

    @Test func saysWhichNodeCannotBeHad() async throws {
        let root = id(1)
        let descriptor = ContentDescriptor(
            root: root,
            size: 5 * 4096,
            segmentSize: 4096,
            levels: 1
        )
        let reader = ManifestReader(
            descriptor,
            prefix: BuiltContent.prefix,
            source: FakeSource()
        )
        let failure = await failure { try await reader.leaf(0) }
        #expect(failure?.kind == .noSource)
        #expect(failure?.message.contains(root.hex) == true)
        #expect(failure?.cause != nil)
    }

    @Test func fetchesInteriorNodesOnce() async throws {
        let source = FakeSource()
        var builder = ManifestBuilder()
        for position in stride(from: 0, to: 3000, by: 10) {
            try builder.append(id(position), at: position) { source.add($1) }
        }
        let descriptor = try builder.finish(size: 3000 * 4096, segmentSize: 4096) {
            source.add($1)
        }
        let reader = ManifestReader(descriptor, prefix: BuiltContent.prefix, source: source)
        for leaf in [0, 1, 2, 0, 2] { _ = try await reader.leaf(leaf) }
        #expect(source.asked(for: descriptor.root) == 1)
    }
}
