import ArgumentParser
import Failures
import TestSupport
import Testing

@testable import Commands

struct HelpTests {
    /// Every command that does something, with the words that lead to it.
    private static let commands = leaves(of: CCNFS.self, [])

    private static func leaves(
        of command: any ParsableCommand.Type,
        _ words: [String]
    ) -> [(words: [String], command: any ParsableCommand.Type)] {
        // Those of groups included.
        let below = command.configuration.subcommands
        if below.isEmpty { return [(words, command)] }
        return below.flatMap { leaves(of: $0, words + [$0._commandName]) }
    }

    @Test func everyCommandShowsAnExample() {
        #expect(Self.commands.count > 20)
        for (words, command) in Self.commands {
            let help = CCNFS.helpMessage(for: command)
            #expect(help.contains("EXAMPLE"), "\(words)")
            #expect(
                help.contains("ccnfs \(words.joined(separator: " "))"),
                "the example of \(words)"
            )
            #expect(!command.configuration.abstract.isEmpty, "\(words)")
        }
    }

    @Test func whoAddsANeighbourIsToldOfEveryKindOfAddress() {
        let adding = Self.commands.filter { $0.words.last == "add" && $0.words.first != "trust" }
        #expect(adding.map(\.words.first) == ["face", "route", "peer"])
        for (words, command) in adding {
            let help = CCNFS.helpMessage(for: command)
            for kind in ["tcp:", "udp:", "unix:"] {
                #expect(help.contains(kind), "\(words) \(kind)")
            }
        }
    }

    @Test func theToolShowsExamplesAndItsExitStatus() {
        let help = CCNFS.helpMessage()
        #expect(help.contains("EXAMPLE"))
        #expect(help.contains("sysexits.h"))
    }

    @Test(arguments: [CompletionShell.bash, .zsh, .fish])
    func shellsCompleteEveryCommand(_ shell: CompletionShell) {
        let script = CCNFS.completionScript(for: shell)
        for (words, _) in Self.commands {
            #expect(script.contains(words.last ?? ""), "\(words)")
        }
    }

    @Test(
        arguments: [
            ["frobnicate"], ["deploy"], ["deploy", "x"], ["status", "--wrong"],
            ["verify", "--rebuild", "--disk", "x"], ["tag", "ccnx:/a/b", "stable"],
            ["tag", "ccnx:/a/b", "stable", "1", "--remove"], ["vms", "--key", "x"],
        ])
    func wrongWordsAreAUsageError(_ words: [String]) throws {
        let error = #expect(throws: (any Error).self) { _ = try CCNFS.parseAsRoot(words) }
        #expect(CCNFS.exitCode(for: try #require(error)).rawValue == 64)
    }
}
