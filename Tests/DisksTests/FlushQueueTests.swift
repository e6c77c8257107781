import Disks
import Failures
import Profiles
import Store
import TestSupport
import Testing

@Suite struct FlushQueueTests {
    /// What the durable map says of `block`.
    private static func durableState(
        of block: Int,
        _ disk: Disk,
        _ database: StateDatabase
    ) throws(Failure) -> BlockState {
        BlockMap(pages: try database.mapPages(of: disk.overlayId)).run(at: block, limit: 1).state
    }

    @Test func commitsNothingBeforeAFlush() async throws {
        let scene = try DiskScene()
        let disk = try scene.blank()
        let other = try scene.machines.makeDisk(
            named: "disk1",
            in: "vm",
            attributes: DiskScene.attributes
        )
        try await disk.writeWaiting([1], at: 0)
        try await other.writeWaiting([1], at: 0)
        try await scene.machines.flushQueue.flush(other)
        #expect(try Self.durableState(of: 0, disk, scene.database) == .absent)
        #expect(try Self.durableState(of: 0, other, scene.database) == .data)
        try await scene.machines.flushQueue.flush(disk)
        #expect(try Self.durableState(of: 0, disk, scene.database) == .data)
    }

    @Test func answersOnlyWhenEverythingAnsweredBeforeIsDurable() async throws {
        let scene = try DiskScene()
        try scene.machines.make(named: "vm", attributes: DiskScene.attributes)
        let disks = try (0..<3).map { number in
            try scene.machines.makeDisk(
                named: "disk\(number)",
                in: "vm",
                attributes: DiskScene.attributes
            )
        }
        let database = scene.database
        let queue = scene.machines.flushQueue
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<60 {
                group.addTask {
                    let disk = disks[writer % 3]
                    for turn in 0..<5 {
                        let block = writer * 5 + turn
                        try await disk.writeWaiting([UInt8(writer)], at: block * 4096)
                        try await queue.flush(disk)
                        #expect(try Self.durableState(of: block, disk, database) == .data)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(!database.hasUndurableCommits)
    }

    @Test func makesCreationAndRenamingDurableToo() async throws {
        let scene = try DiskScene()
        let disk = try scene.blank()
        try scene.machines.rename("vm", to: "web")
        #expect(scene.database.hasUndurableCommits)
        try await scene.machines.flushQueue.flush(disk)
        #expect(!scene.database.hasUndurableCommits)
    }

    @Test func flushesAllDisksAtAnOrderlyEnd() async throws {
        let scene = try DiskScene()
        try scene.machines.make(named: "vm", attributes: DiskScene.attributes)
        for number in 0..<5 {
            let disk = try scene.machines.makeDisk(
                named: "disk\(number)",
                in: "vm",
                attributes: DiskScene.attributes
            )
            try await disk.writeWaiting([1], at: 5000)
        }
        #expect(await scene.machines.flushAll().isEmpty)
        for disk in scene.machines.all().flatMap({ Array($0.disks.values) }) {
            #expect(try Self.durableState(of: 1, disk, scene.database) == .data)
        }
    }
}
