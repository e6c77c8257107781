import Testing

@testable import Disks

@Suite struct OpenHandlesTests {
    @Test func countsEveryHandleUntilItIsReleased() {
        let handles = OpenHandles()
        #expect(!handles.isOpen)
        let reader = handles.open(forWriting: false)
        #expect(!handles.isInUseForWriting)
        let writer = handles.open(forWriting: true)
        #expect(handles.isInUseForWriting)
        #expect(!handles.close(writer))
        #expect(handles.close(reader))
        #expect(!handles.isOpen)
    }

    @Test func isNotClosedBesidesAHandleThatNobodyFlushed() {
        let handles = OpenHandles()
        let own = handles.open(forWriting: true)
        #expect(handles.areClosed(besides: own))
        _ = handles.open(forWriting: false)
        #expect(!handles.areClosed(besides: own))
    }

    @Test func waitsForTheReleaseOfOneThatWasFlushed() async {
        let handles = OpenHandles()
        let other = handles.open(forWriting: true)
        handles.noteFlush(other)
        #expect(!handles.isInUseForWriting)
        async let areClosed = Task.detached { handles.areClosed() }.value
        try? await Task.sleep(for: .milliseconds(50))
        _ = handles.close(other)
        #expect(await areClosed)
    }

    /// A FLUSH is also sent when a copy of a descriptor is closed.
    @Test func doesNotTakeAFlushForAClose() {
        let handles = OpenHandles()
        let other = handles.open(forWriting: true)
        handles.noteFlush(other)
        #expect(!handles.areClosed())
        handles.noteUse(other)
        #expect(handles.isInUseForWriting)
        #expect(!handles.areClosed())
    }
}
