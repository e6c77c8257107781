internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Signing
internal import Store

struct TrustCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust",
        abstract: "Say which keys may do what under which names on this node.",
        subcommands: [Add.self, Remove.self, List.self],
        defaultSubcommand: List.self
    )

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Believe what a key signs under a prefix.",
            discussion: """
                A key that is named by its id, all 64 digits, is fetched from the repositories on the way
                to the prefix, or from the one that --from names, and is that key whoever sends it. Have
                the id from somebody you believe.

                Rights: publish (templates; the default), manage (list, tag and withdraw templates from
                elsewhere), operate (list, deploy, snapshot and republish VMs from elsewhere), node (report the
                VMs of the node of that name). They are added to those that the key has for the prefix.

                EXAMPLES
                  ccnfs trust add ccnx:/mycorp.com /var/lib/ccnfs/keys/publisher.pub
                  ccnfs trust add ccnx:/mycorp.com f13b9a2c57de… --from repository.mycorp.com
                  ccnfs trust add ccnx:/mycorp.com admin.pub --right manage --right operate
                  ccnfs trust add ccnx:/mycorp.com/nodes/host1 host1.pub --right node
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "Names that begin with this, such as ccnx:/mycorp.com.") var prefix: String
        @Argument(help: "The public key: a file in PEM form, or its id.", completion: .file())
        var key: String
        @Option(
            help: ArgumentHelp("Ask this node for the key with that id.", valueName: "address")
        )
        var from: String?
        @Option(
            help: ArgumentHelp(
                "publish (default), manage, operate or node; may be given again.",
                valueName: "right"
            )
        )
        var right: [String] = []

        func run() async throws {
            let prefix = try Name(uri: prefix)
            if let id = try KeyArgument.id(key) { return try await fetch(id, prefix) }
            guard from == nil else {
                throw Failure(.usage, "--from goes with a key that is named by its id")
            }
            let key = try KeyFiles.publicKey(key)
            let pem = String(decoding: try key.pem(), as: UTF8.self)
            let rights = try rights
            _ = try await global.perform(
                .addTrust(prefix: prefix.uri, publicKeyPEM: pem, rights: rights.names)
            )
            if global.json { return }
            Output.line(line(key.keyId.digest.hex, prefix))
        }

        private var rights: TrustRights {
            get throws(Failure) {
                right.isEmpty ? TrustRights.publish : try TrustRights(names: right)
            }
        }

        private func line(_ keyId: String, _ prefix: Name) -> String {
            right.isEmpty
                ? "key \(keyId) may speak for \(prefix)"
                : "key \(keyId) has for \(prefix) the rights \(right.joined(separator: ", "))"
        }

        private func fetch(_ id: String, _ prefix: Name) async throws {
            let request = ControlRequest.addTrustOfKey(
                prefix: prefix.uri,
                keyId: id,
                source: try from.map { (text) throws(Failure) in
                    try AddressArgument.address(text)
                },
                rights: try rights.names
            )
            let added = try await global.perform(request) { (response) -> TrustSummary? in
                if case .trust(let entries) = response { entries.first } else { nil }
            }
            if global.json { return try Output.json(added) }
            Output.line("\(added.algorithm) key \(added.keyId) came")
            Output.line(line(added.keyId, prefix))
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Believe a key no more; what it signed is not served from then on.",
            discussion: """
                What the settings file of the node that runs says, it has to be taken out of there.

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
                FROM says command for what ccnfs trust add added, settings for what the settings file of the
                node that runs says; that is known while it runs.

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
                ["PREFIX", "KEY", "ALGORITHM", "FROM", "RIGHTS"],
                entries.map { entry in
                    [
                        entry.prefix, entry.keyId, entry.algorithm,
                        entry.isConfigured ? "settings" : "command",
                        entry.rights.joined(separator: ","),
                    ]
                }
            )
        }
    }
}

/// A key as a word of a command: a file, or the key's id.
enum KeyArgument {
    private static let digitCount = 64
    /// Shorter ones may be the name of a file that is not there.
    private static let leastDigits = 16

    /// - Returns: nil for a file.
    /// - Throws: `.usage` for what can only be a part of an id: keys are fetched by all of it.
    static func id(_ word: String) throws(Failure) -> String? {
        guard word.count >= leastDigits, word.allSatisfy(\.isHexDigit), !FileTree.exists(word)
        else { return nil }
        guard word.count == digitCount else {
            throw Failure(
                .usage,
                "a key's id has \(digitCount) digits, and \(word) has \(word.count)",
                hint: "ccnfs key show FILE says all of it; a part could be made to fit another key"
            )
        }
        return word.lowercased()
    }
}
