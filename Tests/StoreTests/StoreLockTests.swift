import Failures
import Files
import Store
import TestSupport
import Testing

@Suite struct StoreLockTests {
    @Test func refusesASecondOwnerAndNamesTheFirst() throws {
        let folder = try TemporaryFolder()
        let first = try StoreLock(home: folder.path, purpose: "ccnfs node")
        withExtendedLifetime(first) {
            do throws(Failure) {
                _ = try StoreLock(home: folder.path, purpose: "ccnfs verify")
                Issue.record("a home had two owners")
            } catch {
                #expect(error.kind == .busy)
                #expect(error.message.contains("(ccnfs node)"))
                #expect(error.message.contains("process "))
            }
            #expect(StoreLock.holder(of: folder.path)?.hasSuffix("(ccnfs node)") == true)
        }
    }

    @Test func letsTheNextOneInWhenTheOwnerIsGone() throws {
        let folder = try TemporaryFolder()
        do { _ = try StoreLock(home: folder.path, purpose: "with a long name, the first") }
        let second = try StoreLock(home: folder.path, purpose: "second")
        withExtendedLifetime(second) {
            #expect(StoreLock.holder(of: folder.path)?.hasSuffix("(second)") == true)
        }
    }

    @Test func hasNoHolderWhereNobodyWas() throws {
        let folder = try TemporaryFolder()
        #expect(StoreLock.holder(of: folder.path) == nil)
        #expect(StoreLock.holder(of: "\(folder.path)/absent") == nil)
        #expect(
            kind { _ = try StoreLock(home: "\(folder.path)/absent", purpose: "x") } == .notFound
        )
    }
}
