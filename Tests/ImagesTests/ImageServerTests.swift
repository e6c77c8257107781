import Failures
import Foundation
import Images
import Testing

@Suite(.enabled(if: TemporaryImages.hasTools), .timeLimit(.minutes(2)))
struct ImageServerTests {
    let images: TemporaryImages
    let path: String

    init() throws {
        images = try TemporaryImages()
        try images.makeDisk()
        path = try images.convert(to: .qcow2, as: "served.qcow2")
    }

    private func servers() throws -> [Int32] { try TemporaryImages.servers(of: path) }

    @Test func theServerIsGoneAfterClose() throws {
        let image = try ImageSources.open(path: path)
        #expect(try servers().count == 1)
        image.close()
        #expect(try servers() == [])
        image.close()
        let failure = #expect(throws: Failure.self) { _ = try read(image, at: 0, byteCount: 512) }
        #expect(failure?.kind == .cancelled)
    }

    @Test func theServerIsGoneWhenTheImageIs() throws {
        do {
            let image = try ImageSources.open(path: path)
            _ = try read(image, at: 0, byteCount: 512)
        }
        #expect(try servers() == [])
    }

    @Test func aServerThatCannotOpenItsImageLeavesNothingBehind() throws {
        try images.overwrite(path, at: 0, with: [0, 0, 0, 0])
        #expect(throws: Failure.self) { _ = try ImageSources.open(path: path, format: .qcow2) }
        #expect(try servers() == [])
    }

    @Test func aServerKilledUnderItsReadersGivesThemAFailureThatSaysSo() async throws {
        let image = try ImageSources.open(path: path)
        let readers = (0..<6).map { _ in
            Task.detached { () -> Failure? in
                do throws(Failure) {
                    while true { _ = try read(image, at: 0, byteCount: 3 << 20) }
                } catch {
                    return error
                }
            }
        }
        for id in try servers() { kill(id, SIGKILL) }
        for reader in readers {
            let failure = await reader.value
            #expect(failure?.kind == .io)
            #expect(failure?.description.contains("qemu-nbd ended with signal 9") == true)
            #expect(failure?.description.contains(path) == true)
        }
    }

    @Test func closingEndsAReadThatTheServerDoesNotAnswer() async throws {
        let image = try ImageSources.open(path: path)
        for id in try servers() { kill(id, SIGSTOP) }
        let reader = Task.detached { () -> Failure? in
            do throws(Failure) {
                _ = try read(image, at: 0, byteCount: 4096)
                return nil
            } catch {
                return error
            }
        }
        await Task.yield()
        image.close()
        #expect(await reader.value != nil)
    }

    @Test func theServerEndsWhenItsReaderIsKilled() async throws {
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let image = try ImageSources.open(path: path)
            _ = try read(image, at: 0, byteCount: 512)
            kill(getpid(), SIGKILL)
        }
        let deadline = ContinuousClock.now + .seconds(10)
        while try !servers().isEmpty, ContinuousClock.now < deadline { usleep(1000) }
        #expect(try servers() == [])
    }

    /// An image another program writes to is refused, and nobody can begin to write to ours.
    @Test func theImageIsLockedWhileItIsServed() throws {
        let image = try ImageSources.open(path: path)
        #expect(throws: ToolFailed.self) {
            try images.run("qemu-io", "-f", "qcow2", "-c", "write 0 64k", path)
        }
        image.close()
        try images.run("qemu-io", "-f", "qcow2", "-c", "write 0 64k", path)
    }

    @Test func nothingOfTheSocketIsLeftOnDisk() throws {
        let folder = NSTemporaryDirectory()
        let image = try ImageSources.open(path: path)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        // Other tests open images at this moment; a name that stays is one that lasts a second.
        let sockets = names.filter { $0.hasPrefix("ccnfs-") && $0.count == "ccnfs-XXXXXX".count }
        let deadline = ContinuousClock.now + .seconds(5)
        while sockets.contains(where: { FileManager.default.fileExists(atPath: folder + "/" + $0) }
        ),
            ContinuousClock.now < deadline
        {
            usleep(1000)
        }
        #expect(ContinuousClock.now < deadline)
        image.close()
    }
}
