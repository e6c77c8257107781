import Failures
import Files
import Store
import TestSupport
import Testing

@Suite struct SpaceReserveTests {
    @Test func leavesAloneWhatSucceedsOrFailsForAnotherReason() throws {
        let folder = try TemporaryFolder()
        let reserve = SpaceReserve(directory: folder.path)
        var runs = 0
        let value = try reserve.lend { () throws(Failure) in
            runs += 1
            return 5
        }
        #expect(value == 5)
        #expect(runs == 1)
        #expect(
            kind {
                try reserve.lend { () throws(Failure) in
                    runs += 1
                    throw Failure(.io, "the disk is broken")
                }
            } == .io
        )
        #expect(runs == 2)
    }

    @Test(.enabled(if: SmallFilesystem.isPossible))
    func givesUpItsSpaceForOneWhoFreesSome() throws {
        let small = try SmallFilesystem(byteCount: 6 << 20)
        let reserve = SpaceReserve(directory: small.path)
        let filler = try File("\(small.path)/filler", .create)
        let page = [UInt8](repeating: 1, count: 4096)
        var offset = 0
        while kind({ try filler.write(page.span, at: offset) }) == nil { offset += 4096 }
        #expect(offset < 3 << 20)
        for _ in 0..<2 {
            let log = try File("\(small.path)/log", .create)
            try reserve.lend { () throws(Failure) in
                for index in 0..<100 { try log.write(page.span, at: index * 4096) }
            }
            // What was freed goes to the reserve again.
            try FileTree.remove("\(small.path)/log")
            try reserve.lend { () throws(Failure) in () }
        }
        #expect(
            kind {
                try reserve.lend { () throws(Failure) in
                    throw Failure(.noSpace, "still none")
                }
            } == .noSpace
        )
        #expect(FileTree.exists("\(small.path)/reserve"))
    }
}
