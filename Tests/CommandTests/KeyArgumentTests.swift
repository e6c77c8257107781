import Failures
import Files
import TestSupport
import Testing

@testable import Commands

@Suite struct KeyArgumentTests {
    private static let id = String(repeating: "3f", count: 32)

    @Test func allOfAnIdIsAnId() throws {
        #expect(try KeyArgument.id(Self.id) == Self.id)
        #expect(try KeyArgument.id(Self.id.uppercased()) == Self.id)
    }

    @Test(arguments: ["publisher.pub", "keys/3f2a.pub", "face", "/" + id, id + ".pub"])
    func anythingElseIsAFile(_ word: String) throws {
        #expect(try KeyArgument.id(word) == nil)
    }

    @Test(arguments: [16, 32, 63, 65, 128])
    func aPartOfAnIdIsRefused(_ count: Int) async {
        let word = String(repeating: "3", count: count)
        let refused = await failure { try KeyArgument.id(word) }
        #expect(refused?.kind == .usage)
        #expect(refused?.message.contains("64 digits") == true)
    }

    @Test func aFileOfThatNameIsAFile() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/\(Self.id)"
        try FileTree.replace(path, with: [1])
        #expect(try KeyArgument.id(path) == nil)
    }

    @Test(arguments: [
        ("repository.mycorp.com", "tcp:repository.mycorp.com:9695"), ("host:1", "tcp:host:1"),
        ("tcp:host", "tcp:host:9695"), ("unix:/run/a.sock", "unix:/run/a.sock"),
    ])
    func anAddressWithoutAKindIsOneOfTCP(_ word: String, _ address: String) throws {
        #expect(try AddressArgument.address(word) == address)
    }
}
