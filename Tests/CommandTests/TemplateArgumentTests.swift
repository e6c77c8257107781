import ArgumentParser
import Failures
import TestSupport
import Testing

@testable import Commands

struct TemplateArgumentTests {
    @Test func aVersionStandsBehindTheNameOrIsAnOption() throws {
        for (text, option, version) in [
            ("ccnx:/a/b", nil, nil), ("ccnx:/a/b", 3, 3), ("ccnx:/a/b@3", nil, 3),
            ("ccnx:/a/b@3", 3, 3),
        ] as [(String, Int?, Int?)] {
            let read = try TemplateArgument.parse(text, version: option)
            #expect(read.template == "ccnx:/a/b")
            #expect(read.version == version)
        }
    }

    @Test(arguments: ["ccnx:/a/b@0", "ccnx:/a/b@", "ccnx:/a/b@x", "ccnx:/a/b@2"])
    func refusesAVersionThatIsNoneOrNotThatOfTheOption(_ text: String) async {
        let refused = await failure { try TemplateArgument.parse(text, version: 3) }
        #expect(refused?.kind == .usage)
    }

    @Test func aWholeTemplateHasNoVersionBehindItsName() async throws {
        #expect(try TemplateArgument.whole("ccnx:/a/b") == "ccnx:/a/b")
        #expect(try TemplateArgument.whole("ccnx:/a/b%402") == "ccnx:/a/b%402")
        let refused = await failure { try TemplateArgument.whole("ccnx:/a/b@2") }
        #expect(refused?.kind == .usage)
        #expect(refused?.hint?.contains("leave out @2") == true)
        // That says more of what is wrong with it.
        let reserved = await failure { try TemplateArgument.whole("ccnx:/a/@2") }
        #expect(reserved?.kind == .invalid)
    }

    @Test func aRepositorysKeyGoesWithItsAddress() async throws {
        for words in [["publish", "x", "ccnx:/a/b"], ["republish", "web-01"]] {
            let command = try CCNFS.parseAsRoot(words + ["--repository-key", "ab"])
            let destination =
                (command as? PublishCommand)?.destination
                ?? (command as? RepublishCommand)?.destination
            let read = try #require(destination)
            #expect(await failure { try read.address() }?.kind == .usage)
        }
    }
}
