import Disks
import Failures
import Foundation
import Profiles
import Store
import TestSupport
import Testing

/// What a disk must look like: an array, and what each block was since the last flush.
private struct DiskModel {
    static let blockSize = 4096
    private(set) var bytes: [UInt8]
    /// For blocks that changed since the last flush: all they were, the flushed first.
    private(set) var history: [Int: [ObjectId]] = [:]
    /// The least size since the last flush: a power cut may bring an old one back.
    private(set) var leastSize: Int

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        leastSize = bytes.count
    }

    var size: Int { bytes.count }

    private func block(_ block: Int) -> ObjectId {
        let start = min(block * Self.blockSize, bytes.count)
        let part = Array(bytes[start..<min(start + Self.blockSize, bytes.count)])
        return ObjectId(of: part + [UInt8](repeating: 0, count: Self.blockSize - part.count))
    }

    /// Notes what the blocks of `range` were and will be.
    private mutating func changing(_ range: Range<Int>, _ body: (inout [UInt8]) -> Void) {
        let blocks = range.lowerBound / Self.blockSize..<(range.upperBound - 1) / Self.blockSize + 1
        for number in blocks where history[number] == nil {
            let flushed = block(number)
            history[number] = [flushed]
        }
        body(&bytes)
        for number in blocks {
            let now = block(number)
            history[number]?.append(now)
        }
    }

    mutating func write(_ new: [UInt8], at offset: Int) {
        grow(to: offset + new.count)
        changing(offset..<offset + new.count) {
            $0.replaceSubrange(offset..<offset + new.count, with: new)
        }
    }

    mutating func resize(to size: Int) {
        if size >= bytes.count { return grow(to: size) }
        changing(size..<bytes.count) { $0.removeLast($0.count - size) }
        leastSize = min(leastSize, size)
    }

    private mutating func grow(to size: Int) {
        if size > bytes.count {
            bytes += [UInt8](repeating: 0, count: size - bytes.count)
        }
    }

    mutating func flushed() {
        history = [:]
        leastSize = bytes.count
    }

    /// Takes over what was found after a power cut.
    ///
    /// - Returns: the first block that is neither what was flushed nor anything it was since.
    mutating func adopt(afterPowerCut found: [UInt8]) -> Int? {
        let before = self
        bytes = found
        let count = (max(found.count, before.size) + Self.blockSize - 1) / Self.blockSize
        for number in 0..<count {
            let now = block(number)
            let permitted = before.history[number] ?? [before.block(number)]
            if !permitted.contains(now) { return number }
        }
        flushed()
        return nil
    }
}

@Suite struct DiskModelTests {
    private static let environment = ProcessInfo.processInfo.environment
    static let operationCount = environment["CCNFS_MODEL_OPERATIONS"].flatMap { Int($0) } ?? 240
    /// Past the first page of the block map, which ends at 16 MiB.
    private static let sizeLimit = 20 << 20

    private struct Template {
        let bytes: [UInt8]
        let descriptor: ContentDescriptor
    }

    private static func sparse(_ size: Int, _ random: inout SplitMix) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        for _ in 0..<12 {
            let start = Int.random(in: 0..<size, using: &random)
            let count = min(Int.random(in: 1...400_000, using: &random), size - start)
            bytes.replaceSubrange(start..<start + count, with: random.bytes(count))
        }
        return bytes
    }

    /// Where things go wrong: around ends of blocks, stripes, pages, templates and the disk.
    private static func offset(_ model: DiskModel, _ random: inout SplitMix) -> Int {
        let edges = [0, 4096, 1 << 20, 16 << 20, 5 << 20, model.size]
        let edge = edges.randomElement(using: &random) ?? 0
        let offset =
            switch Int.random(in: 0..<4, using: &random) {
            case 0: Int.random(in: 0..<sizeLimit, using: &random)
            case 1: Int.random(in: 0...model.size, using: &random)
            case 2: edge + Int.random(in: -5000...5000, using: &random)
            default: edge + Int.random(in: -8...8, using: &random) * 4096
            }
        return max(0, min(offset, sizeLimit - 1))
    }

    private static func count(_ random: inout SplitMix) -> Int {
        switch Int.random(in: 0..<20, using: &random) {
        case 0: Int.random(in: 1...1 << 20, using: &random)
        case 1..<6: Int.random(in: 1...10, using: &random) * 4096
        case 6..<12: Int.random(in: 1...512, using: &random)
        default: Int.random(in: 1...20_000, using: &random)
        }
    }

    @Test(arguments: 0..<2)
    func isAnArrayThatOutlivesProcessAndPower(_ run: Int) async throws {
        let seed = SplitMix.seed() &+ UInt64(run)
        var random = SplitMix(seed: seed)
        let scene = try DiskScene()
        var templates: [Template] = []
        for (size, segmentSize) in [((5 << 20) + 1024, 32768), (3 << 20, 4096)] {
            let bytes = Self.sparse(size, &random)
            let descriptor = try scene.template(bytes, segmentSize: segmentSize)
            templates.append(Template(bytes: bytes, descriptor: descriptor))
        }
        var model = DiskModel(templates[0].bytes)
        _ = try scene.deploy(templates[0].descriptor)
        var step = 0
        var what = "deployed"
        do {
            // The templates' bytes are not in the model's history: they were there from the start.
            try await scene.machines.flushQueue.flush(try scene.disk())
            for number in 0..<Self.operationCount {
                step = number
                what = try await Self.operate(scene, &model, templates, &random)
            }
            try await Self.compare(scene, model)
        } catch {
            Issue.record(
                "after \(what) (operation \(step)): \(error); repeat with CCNFS_SEED=\(seed - UInt64(run)), run \(run)"
            )
        }
    }

    private static func operate(
        _ scene: DiskScene,
        _ model: inout DiskModel,
        _ templates: [Template],
        _ random: inout SplitMix
    ) async throws -> String {
        let disk = try scene.disk()
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<55:
            let offset = offset(model, &random)
            let bytes = random.bytes(min(count(&random), sizeLimit - offset))
            try await disk.writeWaiting(bytes, at: offset)
            model.write(bytes, at: offset)
            return "write of \(bytes.count) at \(offset)"
        case 55..<72:
            let offset = offset(model, &random)
            try await compare(disk, model, offset..<offset + count(&random))
            return "read at \(offset)"
        case 72..<78:
            try await scene.machines.flushQueue.flush(disk)
            model.flushed()
            return "flush"
        case 78..<83:
            let size = offset(model, &random)
            try await disk.resizeWaiting(to: size)
            model.resize(to: size)
            return "resize to \(size)"
        case 83..<90:
            return try clone(scene, &model, templates, &random)
        case 90..<94:
            try scene.reopen()
            try await compare(scene, model)
            return "process death"
        case 94..<97:
            let least = model.leastSize
            try scene.reopen(bootId: "boot-\(random.next())")
            let disk = try scene.disk()
            guard disk.size >= least else {
                throw Failure(
                    .corrupt,
                    "size \(disk.size) after a power cut, \(least) were flushed"
                )
            }
            let found = try await disk.read(at: 0, byteCount: disk.size)
            if let block = model.adopt(afterPowerCut: found) {
                throw Failure(.corrupt, "block \(block) is neither old nor new after a power cut")
            }
            return "power cut"
        default:
            _ = try scene.store.evictAll()
            return "eviction"
        }
    }

    private static func clone(
        _ scene: DiskScene,
        _ model: inout DiskModel,
        _ templates: [Template],
        _ random: inout SplitMix
    ) throws -> String {
        let template = templates[Int.random(in: 0..<templates.count, using: &random)]
        let blocks = template.bytes.count / 4096
        let source = random.chance(1, in: 3) ? 0 : Int.random(in: 0..<blocks, using: &random)
        let start = offset(model, &random) / 4096 * 4096
        let most = min(blocks - source, (sizeLimit - start) / 4096)
        var byteCount = Int.random(in: 1...most, using: &random) * 4096
        // Now and then to its very end, where that is the disk's end too.
        if source * 4096 + byteCount + 4096 > template.bytes.count, start + byteCount >= model.size,
            start + template.bytes.count - source * 4096 <= sizeLimit
        {
            byteCount = template.bytes.count - source * 4096
        }
        let extent = Extent(
            start: start,
            byteCount: byteCount,
            content: scene.content(template.descriptor),
            sourceStart: source * 4096
        )
        try scene.disk().map(extent)
        model.write(Array(template.bytes[source * 4096..<source * 4096 + byteCount]), at: start)
        return "clone of \(byteCount) at \(start)"
    }

    private static func compare(_ scene: DiskScene, _ model: DiskModel) async throws {
        let disk = try scene.disk()
        guard disk.size == model.size else {
            throw Failure(.corrupt, "size \(disk.size), not \(model.size)")
        }
        for start in stride(from: 0, to: model.size, by: 1 << 20) {
            try await compare(disk, model, start..<start + (1 << 20))
        }
    }

    private static func compare(
        _ disk: Disk,
        _ model: DiskModel,
        _ range: Range<Int>
    ) async throws {
        let expected = Array(model.bytes[range.clamped(to: 0..<model.size)])
        for reader in ["resident", "waiting"] {
            let bytes: [UInt8]
            if reader == "resident" {
                guard
                    let found = try disk.residentBytes(
                        at: range.lowerBound,
                        byteCount: range.count
                    )
                else { continue }
                bytes = found
            } else {
                bytes = try await disk.read(at: range.lowerBound, byteCount: range.count)
            }
            if same(bytes, expected) { continue }
            guard bytes.count == expected.count else {
                throw Failure(
                    .corrupt,
                    "\(bytes.count) bytes of \(range) are \(reader), not \(expected.count)"
                )
            }
            let index = bytes.indices.first { bytes[$0] != expected[$0] } ?? 0
            throw Failure(
                .corrupt,
                "byte \(range.lowerBound + index) is \(bytes[index]), not \(expected[index]) (\(reader))"
            )
        }
    }
}
