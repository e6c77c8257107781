import Disks
import Failures
import Foundation
import Profiles
import Store
import TestSupport
import Testing

/// VMs with snapshots and clones against plain blocks: whatever is done, in whatever order, through
/// deaths of the process and of the power.
@Suite struct MachineModelTests {
    private static let operationCount =
        ProcessInfo.processInfo.environment["CCNFS_MODEL_OPERATIONS"].flatMap { Int($0) } ?? 2500
    private static let runs =
        ProcessInfo.processInfo.environment["CCNFS_MODEL_RUN"].flatMap { Int($0) }.map {
            $0..<$0 + 1
        } ?? 0..<6

    @Test(arguments: runs)
    func isWhatPlainBlocksAre(_ run: Int) async throws {
        let seed = SplitMix.seed() &+ UInt64(run) &* 1000
        var trial = try Trial(seed: seed)
        do {
            for number in 0..<Self.operationCount {
                trial.step = number
                try await trial.operate()
            }
            try await trial.compareAll(isThorough: true)
        } catch {
            let log = trial.log.suffix(12).joined(separator: "\n  ")
            Issue.record(
                "operation \(trial.step): \(error)\n  \(log)\nrepeat with CCNFS_SEED=\(seed &- UInt64(run) &* 1000), run \(run)"
            )
        }
    }
}

/// One run: the real thing beside the model.
private struct Trial {
    let scene: DiskScene
    var random: SplitMix
    var step = 0
    var log: [String] = []

    private struct Machine {
        var disks: [String: DiskImage] = [:]
        var snapshots: [String: [String: DiskImage]] = [:]
    }

    private var machines: [String: Machine] = [:]
    private var templates: [(image: DiskImage, source: ContentDescriptor)] = []
    private var nextName = 0

    /// Around the end of the map's first page.
    private static let sizeLimit = 17 << 20
    private static let machineNames = ["a", "b", "c"]

    init(seed: UInt64) throws {
        scene = try DiskScene()
        random = SplitMix(seed: seed)
        for (size, segmentSize) in [((1 << 20) + 1024, 32768), (300_000, 4096)] {
            var bytes = [UInt8](repeating: 0, count: size)
            for _ in 0..<6 {
                let start = Int.random(in: 0..<size, using: &random)
                let count = min(Int.random(in: 1...100_000, using: &random), size - start)
                bytes.replaceSubrange(start..<start + count, with: random.bytes(count))
            }
            templates.append(
                (
                    image: DiskImage(bytes),
                    source: try scene.template(bytes, segmentSize: segmentSize)
                )
            )
        }
        for name in Self.machineNames {
            try scene.machines.make(named: name, attributes: DiskScene.attributes)
            machines[name] = Machine()
        }
    }

    // MARK: Drawing

    private mutating func number(_ range: Range<Int>) -> Int {
        Int.random(in: range, using: &random)
    }

    private mutating func offset(_ size: Int) -> Int {
        let edges = [0, 4096, 1 << 20, 16 << 20, 1 << 19, size]
        let edge = edges[number(0..<edges.count)]
        let offset =
            switch number(0..<4) {
            case 0: number(0..<max(1, min(size, 2 << 20)))
            case 1: edge + number(-5000..<5000)
            default: edge + number(-8..<8) * 4096
            }
        return max(0, min(offset, Self.sizeLimit - 300_000))
    }

    private mutating func count() -> Int {
        switch number(0..<12) {
        case 0: number(1..<200_000)
        case 1..<6: number(1..<8) * 4096
        default: number(1..<10_000)
        }
    }

    private mutating func name(_ prefix: String) -> String {
        nextName += 1
        return "\(prefix)\(nextName)"
    }

    private mutating func anyDisk() -> (machine: String, disk: String)? {
        let all = machines.flatMap { machine, value in
            value.disks.keys.map { (machine: machine, disk: $0) }
        }.sorted { ($0.machine, $0.disk) < ($1.machine, $1.disk) }
        return all.isEmpty ? nil : all[number(0..<all.count)]
    }

    private mutating func anySnapshot() -> (machine: String, snapshot: String)? {
        let all = machines.flatMap { machine, value in
            value.snapshots.keys.map { (machine: machine, snapshot: $0) }
        }.sorted { ($0.machine, $0.snapshot) < ($1.machine, $1.snapshot) }
        return all.isEmpty ? nil : all[number(0..<all.count)]
    }

    private mutating func note(_ text: String) { log.append("\(step) \(text)") }

    // MARK: Operations

    mutating func operate() async throws {
        switch number(0..<1000) {
        case 0..<380: try await write()
        case 380..<560: try await read()
        case 560..<640: try await zero()
        case 640..<680: try await resize()
        case 680..<750: try await flush()
        case 750..<800: try snapshot()
        case 800..<840: try deleteSnapshot()
        case 840..<910: try clone()
        case 910..<925: try rollBack()
        case 925..<940: try makeDisk()
        case 940..<955: try removeDisk()
        case 955..<965: try renameDisk()
        case 965..<980: try await die()
        case 980..<988: try await cutPower()
        case 988..<996: try reclaim()
        default:
            _ = try scene.store.evictAll()
            note("evict")
        }
    }

    private mutating func write() async throws {
        guard let (machine, disk) = anyDisk() else { return }
        let size = machines[machine]?.disks[disk]?.size ?? 0
        let offset = offset(size)
        let bytes = random.bytes(count())
        note("write \(machine)/\(disk) \(offset)+\(bytes.count)")
        try await scene.disk(disk, of: machine).writeWaiting(bytes, at: offset)
        machines[machine]?.disks[disk]?.write(bytes, at: offset)
    }

    private mutating func read() async throws {
        let offset = offset(1 << 20)
        let range = offset..<offset + count()
        if random.chance(1, in: 3), let (machine, name) = anySnapshot() {
            let snapshot = scene.machines.machine(named: machine)?.snapshot(named: name)
            for (disk, image) in machines[machine]?.snapshots[name] ?? [:] {
                guard let disk = snapshot?.disks[disk] else {
                    throw Failure(.notFound, "snapshot \(machine)@\(name) has no \(disk)")
                }
                try disk.open()
                defer { disk.close() }
                try await compare(disk, image, range, "\(machine)@\(name)")
            }
            return
        }
        guard let (machine, disk) = anyDisk(), let image = machines[machine]?.disks[disk] else {
            return
        }
        try await compare(scene.disk(disk, of: machine), image, range, "\(machine)/\(disk)")
    }

    private mutating func zero() async throws {
        guard let (machine, disk) = anyDisk() else { return }
        let offset = offset(machines[machine]?.disks[disk]?.size ?? 0)
        let range = offset..<offset + count() * (random.chance(1, in: 10) ? 50 : 1)
        note("zero \(machine)/\(disk) \(range)")
        try await scene.disk(disk, of: machine).zeroWaiting(range)
        machines[machine]?.disks[disk]?.zero(range)
    }

    private mutating func resize() async throws {
        guard let (machine, disk) = anyDisk() else { return }
        let size = offset(machines[machine]?.disks[disk]?.size ?? 0)
        note("resize \(machine)/\(disk) \(size)")
        try await scene.disk(disk, of: machine).resizeWaiting(to: size)
        machines[machine]?.disks[disk]?.resize(to: size)
    }

    private mutating func flush() async throws {
        guard let (machine, disk) = anyDisk() else { return }
        note("flush \(machine)/\(disk)")
        try await scene.machines.flushQueue.flush(scene.disk(disk, of: machine))
        machines[machine]?.disks[disk]?.flushed()
    }

    private mutating func snapshot() throws {
        let machine = Self.machineNames[number(0..<2)]
        guard machines[machine]?.snapshots.count ?? 0 < 12 else { return }
        let name = name("s")
        note("snapshot \(machine)@\(name)")
        try scene.machines.takeSnapshot(of: machine, named: name, now: step)
        for disk in machines[machine]?.disks.keys.sorted() ?? [] {
            machines[machine]?.disks[disk]?.flushed()
        }
        let disks = machines[machine]?.disks
        machines[machine]?.snapshots[name] = disks
    }

    private mutating func deleteSnapshot() throws {
        guard let (machine, name) = anySnapshot() else { return }
        note("delete \(machine)@\(name)")
        try scene.machines.deleteSnapshot(name, of: machine)
        machines[machine]?.snapshots[name] = nil
    }

    /// All or part of a template, a snapshot's disk or a disk, into a disk.
    private mutating func clone() throws {
        guard let (machine, disk) = anyDisk(), var target = machines[machine]?.disks[disk] else {
            return
        }
        let image: DiskImage
        let source: CloneSource
        var kept: PinnedView?
        let what: String
        switch number(0..<4) {
        case 0:
            let template = templates[number(0..<templates.count)]
            (image, source, what) = (
                template.image, CloneSource(scene.content(template.source)), "template"
            )
        case 1:
            guard let (from, name) = anySnapshot(),
                let disks = machines[from]?.snapshots[name],
                let first = disks.keys.sorted().first, let found = disks[first],
                let snapshot = scene.machines.machine(named: from)?.snapshot(named: name)?
                    .disks[first]
            else { return }
            let view = try scene.machines.pin(snapshot)
            kept = view
            (image, source, what) = (found, view.source, "\(from)@\(name)/\(first)")
        default:
            guard let (from, name) = anyDisk(), let found = machines[from]?.disks[name] else {
                return
            }
            let view = try scene.machines.pin(scene.disk(name, of: from))
            kept = view
            (image, source, what) = (found, view.source, "\(from)/\(name)")
        }
        defer { withExtendedLifetime(kept) {} }
        let blocks = image.size / 4096
        guard blocks > 0 else { return }
        let start = random.chance(1, in: 2) ? 0 : number(0..<blocks)
        let at =
            random.chance(1, in: 2) ? start * 4096 : offset(target.size) / 4096 * 4096
        var byteCount = number(1..<blocks - start + 1) * 4096
        if random.chance(1, in: 2), at + image.size - start * 4096 >= target.size {
            byteCount = image.size - start * 4096
        }
        guard at + byteCount <= Self.sizeLimit else { return }
        note("clone \(what) \(start * 4096)+\(byteCount) to \(machine)/\(disk) at \(at)")
        try scene.disk(disk, of: machine).map(
            at..<at + byteCount,
            to: source,
            from: start * 4096
        )
        target.clone(image, start * 4096..<start * 4096 + byteCount, at: at)
        machines[machine]?.disks[disk] = target
    }

    private mutating func rollBack() throws {
        guard let (machine, name) = anySnapshot() else { return }
        note("roll back \(machine) to \(name)")
        _ = try scene.machines.rollBack(machine, to: name)
        for (disk, image) in machines[machine]?.snapshots[name] ?? [:] {
            machines[machine]?.disks[disk] = image.durable
        }
    }

    private mutating func makeDisk() throws {
        let machine = Self.machineNames[number(0..<3)]
        guard machines[machine]?.disks.count ?? 0 < 3 else { return }
        let name = name("d")
        note("make \(machine)/\(name)")
        _ = try scene.machines.makeDisk(
            named: name,
            in: machine,
            attributes: DiskScene.attributes
        )
        machines[machine]?.disks[name] = DiskImage()
    }

    private mutating func removeDisk() throws {
        guard let (machine, disk) = anyDisk() else { return }
        let hasSnapshots = machines[machine]?.snapshots.isEmpty == false
        note("remove \(machine)/\(disk)")
        let failure = kind { try scene.machines.removeDisk(disk, of: machine) }
        guard failure == (hasSnapshots ? .busy : nil) else {
            throw Failure(.invalid, "removing a disk gave \(failure.map { "\($0)" } ?? "nothing")")
        }
        if !hasSnapshots { machines[machine]?.disks[disk] = nil }
    }

    private mutating func renameDisk() throws {
        guard let (machine, disk) = anyDisk() else { return }
        let name = name("d")
        note("rename \(machine)/\(disk) \(name)")
        try scene.machines.renameDisk(disk, of: machine, to: name, of: machine)
        let image = machines[machine]?.disks.removeValue(forKey: disk)
        machines[machine]?.disks[name] = image
    }

    private mutating func reclaim() throws {
        note("reclaim")
        try scene.machines.reclaimOverlays()
    }

    private mutating func die() async throws {
        note("process death")
        try scene.reopen()
        try await compareAll()
    }

    private mutating func cutPower() async throws {
        note("power cut")
        // Names and clones are durable with any later commit; here all of them shall be there.
        try scene.machines.synchronizeNames()
        try scene.reopen(bootId: "boot-\(random.next())")
        for (machine, value) in machines {
            for (name, image) in value.disks {
                let disk = try scene.disk(name, of: machine)
                guard disk.size >= image.leastSize else {
                    throw Failure(.corrupt, "\(machine)/\(name) has \(disk.size) bytes")
                }
                var found = image
                found.adopt(size: disk.size)
                for number in image.interesting {
                    let bytes = try await Self.block(disk, number)
                    guard image.permits(bytes, at: number) else {
                        throw Failure(
                            .corrupt,
                            "block \(number) of \(machine)/\(name) is neither old nor new"
                        )
                    }
                    found.adopt(bytes, at: number)
                }
                machines[machine]?.disks[name] = found.durable
            }
        }
        try await compareAll()
    }

    // MARK: Comparing

    private static let zeros = [1 << 20: zeroId(1 << 20)]

    private static func zeroId(_ count: Int) -> ObjectId {
        ObjectId(of: [UInt8](repeating: 0, count: count))
    }

    private static func block(
        _ disk: some ViewedDisk,
        _ number: Int
    ) async throws -> [UInt8] {
        let bytes = try await disk.read(at: number * 4096, byteCount: 4096)
        return bytes + [UInt8](repeating: 0, count: 4096 - bytes.count)
    }

    /// - Parameter isThorough: every snapshot and every hole; else some of them, as it takes its time.
    mutating func compareAll(isThorough: Bool = false) async throws {
        for (machine, value) in machines {
            let real = try scene.machines.existing(machine)
            guard Set(real.disks.keys) == Set(value.disks.keys),
                Set(real.snapshots.map(\.name)) == Set(value.snapshots.keys)
            else {
                throw Failure(
                    .corrupt,
                    "\(machine) has \(real.disks.keys.sorted()) and \(real.snapshots.map(\.name))"
                )
            }
            for (name, image) in value.disks {
                try await compare(
                    try scene.disk(name, of: machine),
                    image,
                    "\(machine)/\(name)",
                    isThorough: isThorough
                )
            }
            for snapshot in real.snapshots where isThorough || random.chance(1, in: 4) {
                for (name, image) in value.snapshots[snapshot.name] ?? [:] {
                    guard let disk = snapshot.disks[name] else {
                        throw Failure(.corrupt, "\(machine)@\(snapshot.name) has no \(name)")
                    }
                    try disk.open()
                    defer { disk.close() }
                    try await compare(
                        disk,
                        image,
                        "\(machine)@\(snapshot.name)/\(name)",
                        isThorough: isThorough
                    )
                }
            }
        }
    }

    private mutating func compare(
        _ disk: some ViewedDisk,
        _ image: DiskImage,
        _ what: String,
        isThorough: Bool
    ) async throws {
        let size = try disk.withView(\.size)
        guard size == image.size else {
            throw Failure(.corrupt, "\(what) has \(size) bytes, not \(image.size)")
        }
        for number in image.interesting where number * 4096 < size {
            try await compare(disk, image, number * 4096..<(number + 1) * 4096, what)
        }
        // Nothing where nothing was ever written.
        for start in stride(from: 0, to: size, by: 1 << 20) {
            let blocks = start / 4096..<(start + (1 << 20)) / 4096
            guard isThorough || random.chance(1, in: 16),
                blocks.allSatisfy({ image.blocks[$0] == nil })
            else { continue }
            let bytes = try await disk.read(at: start, byteCount: 1 << 20)
            guard ObjectId(of: bytes) == Self.zeros[bytes.count, default: Self.zeroId(bytes.count)]
            else {
                throw Failure(.corrupt, "\(what) is not zeros after \(start)")
            }
        }
    }

    private func compare(
        _ disk: some ViewedDisk,
        _ image: DiskImage,
        _ range: Range<Int>,
        _ what: String
    ) async throws {
        let expected = image.bytes(range)
        let found = try await disk.read(at: range.lowerBound, byteCount: range.count)
        if same(found, expected) { return }
        guard found.count == expected.count else {
            throw Failure(
                .corrupt,
                "\(what): \(found.count) bytes at \(range), not \(expected.count)"
            )
        }
        let index = found.indices.first { found[$0] != expected[$0] } ?? 0
        throw Failure(
            .corrupt,
            "\(what): byte \(range.lowerBound + index) is \(found[index]), not \(expected[index])"
        )
    }
}
