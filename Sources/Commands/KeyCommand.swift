internal import ArgumentParser
internal import CCNx
internal import Failures
internal import Files
internal import Signing

struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Make and look at publishers' keys.",
        subcommands: [Generate.self, Show.self]
    )

    struct Generate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key pair to sign templates with.",
            discussion: """
                The private key goes to FILE.pem with mode 0600, the public one beside it to FILE.pub.
                Without --out that is keys/publisher.pem in the state directory.

                EXAMPLE
                  ccnfs key generate --out ~/mycorp.pem
                """
        )

        @OptionGroup var global: GlobalOptions
        @Option(
            help: ArgumentHelp("Where the private key goes.", valueName: "file"),
            completion: .file()
        )
        var out: String?
        @Option(help: "rsa-2048, rsa-3072, rsa-4096 or ec-p384.")
        var algorithm = "rsa-3072"

        func run() async throws {
            let path = out.map(FileTree.absolute) ?? KeyFiles.defaultPath(global)
            let key = try PrivateKey.generate(try Self.algorithm(algorithm))
            try KeyFiles.write(key, to: path)
            if global.json {
                try Output.json(
                    KeyInfo(
                        privateKey: path,
                        publicKey: KeyFiles.publicPath(path),
                        keyId: key.publicKey.keyId.digest.hex,
                        algorithm: "\(key.algorithm)"
                    )
                )
            } else {
                Output.line("private key  \(path)")
                Output.line("public key   \(KeyFiles.publicPath(path))")
                Output.line("key id       \(key.publicKey.keyId)")
            }
        }

        private static func algorithm(_ name: String) throws(Failure) -> KeyAlgorithm {
            switch name {
            case "rsa-2048": .rsa(bits: 2048)
            case "rsa-3072": .rsa(bits: 3072)
            case "rsa-4096": .rsa(bits: 4096)
            case "ec-p384": .ecP384
            default:
                throw Failure(
                    .usage,
                    "there is no key algorithm \(name)",
                    hint: "write rsa-2048, rsa-3072, rsa-4096 or ec-p384"
                )
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say the id of a key, private or public.",
            discussion: """
                EXAMPLE
                  ccnfs key show /var/lib/ccnfs/keys/publisher.pub
                """
        )

        @OptionGroup var global: GlobalOptions
        @Argument(help: "A key in PEM form.", completion: .file()) var file: String

        func run() async throws {
            let key = try KeyFiles.publicKey(file)
            if global.json {
                try Output.json(
                    KeyInfo(
                        privateKey: nil,
                        publicKey: file,
                        keyId: key.keyId.digest.hex,
                        algorithm: "\(key.algorithm)"
                    )
                )
            } else {
                Output.line("\(key.keyId)  \(key.algorithm)")
            }
        }
    }

    private struct KeyInfo: Encodable {
        let privateKey: String?
        let publicKey: String
        let keyId: String
        let algorithm: String
    }
}

/// Key files and where they are by default.
enum KeyFiles {
    static func defaultPath(_ global: GlobalOptions) -> String {
        "\(global.stateDirectory)/keys/publisher.pem"
    }

    static func publicPath(_ path: String) -> String {
        path.hasSuffix(".pem") ? "\(path.dropLast(4)).pub" : "\(path).pub"
    }

    static func write(_ key: PrivateKey, to path: String) throws(Failure) {
        for path in [path, publicPath(path)] where FileTree.exists(path) {
            throw Failure(
                .exists,
                "\(path) is there already",
                hint: "name another place with --out"
            )
        }
        if let directory = FileTree.parent(of: path) {
            try FileTree.makeDirectory(directory, permissions: 0o700)
        }
        try FileTree.replace(path, with: try key.pem(), permissions: 0o600)
        try FileTree.replace(publicPath(path), with: try key.publicKey.pem(), permissions: 0o644)
    }

    static func privateKey(_ path: String) throws(Failure) -> PrivateKey {
        do throws(Failure) {
            return try PrivateKey(pem: try FileTree.bytes(of: path))
        } catch  where error.kind == .notFound {
            throw error.wrapped(
                "there is no key at \(path)",
                hint: "make one: ccnfs key generate --out \(path)"
            )
        } catch {
            throw error.wrapped("the key \(path) cannot be used")
        }
    }

    static func publicKey(_ path: String) throws(Failure) -> PublicKey {
        do throws(Failure) {
            return try PublicKey(pem: try FileTree.bytes(of: path))
        } catch {
            throw error.wrapped("the key \(path) cannot be used")
        }
    }
}
