import Failures
import TestSupport
import Testing

@testable import Commands

struct RemoteMachineTests {
    @Test(
        arguments: [
            ("ccnx:/mycorp.com/nodes/host1:web-01", "ccnx:/mycorp.com/nodes/host1", "web-01"),
            ("ccnx:/mycorp.com/host1:web-01@before", "ccnx:/mycorp.com/host1", "web-01@before"),
        ])
    func aWholeNameIsAlwaysOne(text: String, node: String, machine: String) throws {
        for isElsewhere in [false, true] {
            let read = try #require(try RemoteMachine(text, isElsewhere: isElsewhere))
            #expect(read.node == node)
            #expect(read.machine == machine)
        }
    }

    /// A VM of this node may have a colon in its name.
    @Test func aShortNameIsOneIfSomethingElseSaysSo() throws {
        #expect(try RemoteMachine("host1:web-01", isElsewhere: false) == nil)
        #expect(try RemoteMachine("web-01", isElsewhere: false) == nil)
        let read = try #require(try RemoteMachine("host1:web-01", isElsewhere: true))
        #expect(read.node == "host1")
        #expect(read.machine == "web-01")
    }

    @Test(
        arguments: [
            "web-01", ":web-01", "host1:", "ccnx:/mycorp.com/host1", "ccnx:/mycorp.com/host1:",
            "ccnx:web-01",
        ])
    func refusesWhatIsNone(_ text: String) async {
        let refused = await failure { try RemoteMachine(text, isElsewhere: true) }
        #expect(refused?.kind == .usage)
    }

    @Test func severalAreOnOneNode() async throws {
        let host1 = "ccnx:/mycorp.com/nodes/host1"
        let all = try RemoteMachine.all(["\(host1):a", "\(host1):b"], isElsewhere: false)
        #expect(all?.node == host1)
        #expect(all?.machines == ["a", "b"])
        #expect(try RemoteMachine.all(["a", "b"], isElsewhere: false) == nil)
        for words in [["\(host1):a", "b"], ["\(host1):a", "ccnx:/mycorp.com/nodes/host2:a"]] {
            let refused = await failure { try RemoteMachine.all(words, isElsewhere: false) }
            #expect(refused?.kind == .usage)
        }
    }
}
