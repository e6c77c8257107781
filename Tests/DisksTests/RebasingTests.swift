import Disks
import Failures
import Profiles
import Store
import TestSupport
import Testing

/// A disk that moves onto content with the bytes it has shows the same bytes, whatever is reclaimed then.
@Suite struct RebasingTests {
    /// The overlay that the disk moves away from has no block itself: only the size changed since the one
    /// below it was frozen for a clone.
    @Test func readsNothingOfOverlaysThatNobodyRefersToAnyMore() async throws {
        var random = SplitMix(seed: 7)
        let scene = try DiskScene()
        let base = random.bytes(1 << 20)
        let disk = try scene.deploy(try scene.template(base))
        let written = random.bytes(256 << 10)
        try await disk.writeWaiting(written, at: 0)
        try await scene.machines.flushQueue.flush(disk)

        try scene.machines.make(named: "other", attributes: DiskScene.attributes)
        let clone = try scene.machines.makeDisk(
            named: "disk0",
            in: "other",
            attributes: DiskScene.attributes
        )
        do {
            let pin = try scene.machines.pin(disk)
            try clone.map(0..<1 << 20, to: pin.source, from: 0)
        }
        try await clone.writeWaiting(random.bytes(256 << 10), at: 0)
        try await scene.machines.flushQueue.flush(clone)

        try await disk.resizeWaiting(to: (1 << 20) + 8192)
        let expected =
            written + base[written.count...] + [UInt8](repeating: 0, count: 8192)
        // Held on to for as long as it is published, and no longer: then the space goes.
        do {
            let view = try #require(try scene.machines.pinDisks(of: "vm")["disk0"])
            try await scene.machines.flushQueue.flush(disk)
            let content = scene.content(try scene.template(Array(expected)))
            try scene.machines.rebase(view, onto: content)
        }
        scene.machines.finishBackgroundWork()
        try scene.machines.reclaimOverlays()

        #expect(same(try await disk.read(at: 0, byteCount: 2 << 20), expected))
        try scene.reopen()
        #expect(same(try await scene.disk().read(at: 0, byteCount: 2 << 20), expected))
    }
}
