internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Management
internal import Signing

/// What has another node do something.
struct ErrandOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Do it there: repository.mycorp.com:9695, or a name that this node has routes for.",
            valueName: "place"
        )
    )
    var at: String?

    @Option(
        help: ArgumentHelp(
            "Do it elsewhere, and sign that with this private key (default: the publisher's).",
            valueName: "file"
        ),
        completion: .file()
    )
    var key: String?

    var isElsewhere: Bool { at != nil || key != nil }

    /// - Parameter target: a node, a template or a prefix of their names.
    func perform<Answer>(
        _ operation: ManagementRequest.Operation,
        to target: String,
        _ global: GlobalOptions,
        _ pick: (ControlResponse) -> Answer?
    ) async throws(Failure) -> Answer {
        let key = try SigningKey(key, global)
        return try await global.perform(operation, to: target, at: at, signedBy: key, pick)
    }
}

extension GlobalOptions {
    /// Has another node do something.
    ///
    /// - Parameters:
    ///   - target: a node, a template or a prefix of their names.
    ///   - place: whom to ask; nil: whom this node's routes lead to.
    func perform<Answer>(
        _ operation: ManagementRequest.Operation,
        to target: String,
        at place: String?,
        signedBy key: SigningKey,
        _ pick: (ControlResponse) -> Answer?
    ) async throws(Failure) -> Answer {
        let errand = ControlRequest.Errand(
            target: target,
            operation: operation,
            place: try place.map { (text) throws(Failure) in
                text.hasPrefix("ccnx:")
                    ? try Name(uri: text).uri : try AddressArgument.address(text)
            },
            publicKeyPEM: key.publicPEM
        )
        let session = CommandSession(key: key.privateKey)
        defer { session.endProgress() }
        return try await perform(.manage(errand), session: session, pick)
    }
}

/// The key that a command signs with.
struct SigningKey {
    let privateKey: PrivateKey
    let publicPEM: String

    /// - Parameter path: nil for the publisher's.
    init(_ path: String?, _ global: GlobalOptions) throws(Failure) {
        privateKey = try KeyFiles.privateKey(path ?? KeyFiles.defaultPath(global))
        publicPEM = String(decoding: try privateKey.publicKey.pem(), as: UTF8.self)
    }
}

/// `NODE:VM`, a VM of another node.
struct RemoteMachine: Equatable {
    /// URI, or its last segment.
    let node: String
    let machine: String

    /// VMs of this node cannot be taken for one that begins with `ccnx:`; a short name is one of another node
    /// if something else on the command line says so.
    ///
    /// - Returns: nil for a VM of this node.
    init?(_ text: String, isElsewhere: Bool) throws(Failure) {
        guard text.hasPrefix("ccnx:") || isElsewhere else { return nil }
        let rest = text.hasPrefix("ccnx:") ? text.dropFirst("ccnx:".count) : text[...]
        guard let colon = rest.lastIndex(of: ":"), colon != rest.startIndex,
            rest.index(after: colon) != rest.endIndex
        else {
            throw Failure(
                .usage,
                "\(text) is not of the form NODE:VM",
                hint: "write it as ccnx:/mycorp.com/nodes/host1:web-01, or host1:web-01"
            )
        }
        let node = String(text[..<colon])
        self.node = text.hasPrefix("ccnx:") ? try Name.nodeName(uri: node).uri : node
        machine = String(text[text.index(after: colon)...])
    }

    /// Several VMs, of one node.
    ///
    /// - Returns: nil for VMs of this node.
    static func all(
        _ words: [String],
        isElsewhere: Bool
    ) throws(Failure) -> (node: String, machines: [String])? {
        var found: [RemoteMachine] = []
        for word in words {
            if let machine = try RemoteMachine(word, isElsewhere: isElsewhere) {
                found.append(machine)
            }
        }
        guard let first = found.first else { return nil }
        guard found.count == words.count, found.allSatisfy({ $0.node == first.node }) else {
            throw Failure(
                .usage,
                "the VMs are to be on one node",
                hint: "one command for each node"
            )
        }
        return (first.node, found.map(\.machine))
    }
}
