internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Signing

struct TrustCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust",
        abstract: "Say which keys may speak for which names on this node.",
        subcommands: [Add.self, Remove.self, List.self],
        defaultSubcommand: List.self
    )

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Believe what a key signs under a prefix.",
            discussion: """
                EXAMPLE
                  ccnfs trust add ccnx:/mycorp.com /var/lib/ccnfs/keys/publisher.pub
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "Names that begin with this, such as ccnx:/mycorp.com.") var prefix: String
        @Argument(help: "The public key in PEM form.") var key: String

        func run() async throws {
            let key = try KeyFiles.publicKey(key)
            let prefix = try Name(uri: prefix)
            let pem = String(decoding: try key.pem(), as: UTF8.self)
            _ = try await global.perform(.addTrust(prefix: prefix.uri, publicKeyPEM: pem))
            if !global.json { Output.line("key \(key.keyId) may speak for \(prefix)") }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Believe a key no more; what it signed is not served from then on.",
            discussion: """
                EXAMPLE
                  ccnfs trust remove ccnx:/mycorp.com 3f2a90
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The prefix it was trusted for.") var prefix: String
        @Argument(help: "The key's id, or its beginning.") var keyId: String

        func run() async throws {
            let prefix = try Name(uri: prefix)
            _ = try await global.perform(.removeTrust(prefix: prefix.uri, keyId: keyId))
            if !global.json { Output.line("key \(keyId) may speak for \(prefix) no more") }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List trusted keys.",
            discussion: """
                EXAMPLE
                  ccnfs trust list
                """
        )

        @OptionGroup var global: GlobalOptions

        func run() async throws {
            let entries = try await global.perform(.trustEntries) { (response) -> [TrustSummary]? in
                if case .trust(let entries) = response { entries } else { nil }
            }
            if global.json { return try Output.json(entries) }
            Output.table(
                ["PREFIX", "KEY", "ALGORITHM"],
                entries.map { [$0.prefix, $0.keyId, $0.algorithm] }
            )
        }
    }
}
