import Failures
import Foundation
import Images
import Testing

struct StreamImageTests {
    /// What `stream` gives, in pieces of `piece` bytes.
    private func readAll(_ bytes: [UInt8], piece: Int, format: ImageFormat? = nil) throws -> [UInt8]
    {
        let pipe = Pipe()
        let writer = Thread {
            try? pipe.fileHandleForWriting.write(contentsOf: Data(bytes))
            try? pipe.fileHandleForWriting.close()
        }
        writer.start()
        let number = pipe.fileHandleForReading.fileDescriptor
        var stream = try StreamImage(descriptor: number, name: "the stream", format: format)
        var result: [UInt8] = []
        while !stream.isAtEnd {
            var readCount = 0
            let part = try ImagesTests.bytes(capacity: piece) { (span) throws(Failure) in
                readCount = try stream.readNext(into: &span)
            }
            #expect(part.count == readCount)
            #expect(part.count == piece || stream.isAtEnd)
            result += part
        }
        #expect(stream.byteCount == result.count)
        // Keeps the pipe open until the last read.
        try pipe.fileHandleForReading.close()
        return result
    }

    @Test(arguments: [512, 1000, 65_536, 300_000])
    func readsAPipeToItsEnd(_ piece: Int) throws {
        let bytes = (0..<204_800).map { UInt8(truncatingIfNeeded: $0 / 7) }
        #expect(try readAll(bytes, piece: piece) == bytes)
    }

    @Test func refusesAStreamOfAnotherFormat() throws {
        let bytes: [UInt8] =
            [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3] + [UInt8](repeating: 0, count: 504)
        let failure = #expect(throws: Failure.self) { _ = try readAll(bytes, piece: 4096) }
        #expect(failure?.kind == .unsupported)
        #expect(failure?.message.contains("qcow2") == true)
        #expect(try readAll(bytes, piece: 4096, format: .raw) == bytes)
        #expect(throws: Failure.self) { _ = try readAll(bytes, piece: 4096, format: .vdi) }
    }

    @Test func refusesAnEmptyStreamAndOneThatEndsInsideASector() throws {
        for byteCount in [0, 700] {
            let failure = #expect(throws: Failure.self) {
                _ = try readAll([UInt8](repeating: 0, count: byteCount), piece: 512)
            }
            #expect(failure?.kind == .invalid)
        }
    }
}
