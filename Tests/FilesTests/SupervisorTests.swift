import Failures
import Files
import TestSupport
import Testing

/// What arrives at a socket is looked at by `Tests/Acceptance/70-mounts.sh`.
struct SupervisorTests {
    private static let ready = Supervisor.Event.ready(status: "serving")

    @Test(arguments: [nil, ""])
    func nobodyIsToldWhereNobodyWantsToKnow(_ socket: String?) throws {
        try Supervisor(socket: socket).tell(Self.ready)
    }

    @Test(
        arguments: [
            ("vsock:2:1", .unsupported), ("run/notify", .unsupported),
            ("/" + String(repeating: "x", count: 107), .tooLarge),
            ("@" + String(repeating: "x", count: 108), .tooLarge),
            // Nobody listens, under names of the greatest length there is.
            ("/" + String(repeating: "x", count: 106), .notFound),
            ("@" + String(repeating: "x", count: 107), .unavailable),
        ] as [(String, Failure.Kind)]
    )
    func saysWhyItCannotTell(socket: String, why: Failure.Kind) {
        #expect(kind { try Supervisor(socket: socket).tell(Self.ready) } == why)
    }
}
