import Failures
import TestSupport
import Testing

@testable import Commands

struct ExitStatusTests {
    @Test(arguments: Failure.Kind.allCases)
    func isOneOfSysexits(_ kind: Failure.Kind) {
        #expect((64...78).contains(kind.exitStatus))
    }

    @Test(
        arguments: [
            (.usage, 64), (.invalid, 65), (.corrupt, 65), (.notFound, 66), (.noSource, 69),
            (.unavailable, 69), (.exists, 73), (.notEmpty, 73), (.noSpace, 74), (.io, 74),
            (.busy, 75), (.timedOut, 75), (.untrusted, 77), (.readOnly, 77), (.configuration, 78),
        ] as [(Failure.Kind, Int32)]
    )
    func isWhatTheHelpPromises(_ kind: Failure.Kind, status: Int32) {
        #expect(kind.exitStatus == status)
    }
}
