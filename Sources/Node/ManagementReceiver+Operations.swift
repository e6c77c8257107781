internal import CCNx
internal import Control
internal import Faces
internal import Failures
internal import Management
internal import Signing
internal import Store
internal import Templates

/// What each operation is on this node. None of them names a file or directory.
extension ManagementReceiver {
    func carryOut(
        _ checked: CheckedRequest,
        _ session: ManagementSession
    ) async throws(Failure) -> ControlResponse {
        let operation = checked.request.operation
        switch operation {
        case .listTemplates:
            guard case .templates(let found) = try await perform(.listTemplates, session) else {
                throw Failure(.unsupported, "the templates cannot be listed")
            }
            var listed: [TemplateSummary] = []
            for template in found where try mayList(try Name(uri: template.name), checked) {
                listed.append(template)
            }
            return .templates(listed)
        case .listNodes:
            var listed = try await ownNode(checked, session)
            for entry in book.entries where try mayList(entry.node, checked) {
                listed.append(.init(entry, now: book.now))
            }
            return .nodes(NodeList(nodes: listed))
        case .republish(let republication):
            var request = try republication.request(key: key(checked))
            let template = try Name(uri: republication.template)
            if !isPublishedHere(template.prefix(1)) {
                request.repository = exchange.repositories(of: template).first?.description
            }
            return try await perform(.republish(request), session)
        case .deploy, .snapshot, .deleteSnapshot, .listSnapshots, .tag, .withdraw:
            let request = try operation.request(for: checked.target, key: key(checked))
            return try await perform(request, session).withoutPaths
        }
    }

    /// This node with its VMs, if it has a name that the key has the right for; else none.
    private func ownNode(
        _ checked: CheckedRequest,
        _ session: ManagementSession
    ) async throws(Failure) -> [NodeList.Node] {
        guard let nodeName, try mayList(nodeName, checked),
            case .machines(let machines) = try await perform(.listMachines, session)
        else { return [] }
        return [NodeList.Node(nodeName, nodeKey.publicKey.keyId, machines.map(\.asReported))]
    }

    /// Listings show what the key has the right for.
    private func mayList(_ name: Name, _ checked: CheckedRequest) throws(Failure) -> Bool {
        let right = checked.request.operation.right
        guard name.hasPrefix(checked.target) else { return false }
        return try templates.trust.key(checked.key, with: right, for: name) != nil
    }

    /// The key in PEM, as requests of this machine have it.
    private func key(_ checked: CheckedRequest) throws(Failure) -> String {
        let right = checked.request.operation.right
        guard let key = try templates.trust.key(checked.key, with: right, for: checked.target)
        else { throw Failure(.untrusted, "key \(checked.key) is not trusted any more") }
        return String(decoding: try key.pem(), as: UTF8.self)
    }
}

extension ManagementRequest.Operation {
    /// For the log.
    var title: String {
        switch self {
        case .listTemplates: "list templates"
        case .tag: "tag"
        case .withdraw: "withdraw"
        case .listNodes: "list nodes"
        case .deploy: "deploy"
        case .snapshot: "snapshot"
        case .deleteSnapshot: "delete snapshot"
        case .listSnapshots: "list snapshots"
        case .republish: "republish"
        }
    }

    /// The same, asked on the node's own machine.
    ///
    /// - Parameter key: of who asks, in PEM.
    func request(for target: Name, key: String) throws(Failure) -> ControlRequest {
        switch self {
        case .listTemplates: .listTemplates
        case .listNodes: .listNodes(prefix: target.uri, repositories: [], publicKeyPEM: key)
        case .tag(let tag, let version):
            .tag(template: try target.validatedAsTemplateName().uri, tag: tag, version: version)
        case .withdraw(let version):
            .delete(template: try target.validatedAsTemplateName().uri, version: version)
        case .deploy(let template, let version, let machines, let size):
            .deploy(
                .init(
                    template: try Name.templateName(uri: template).uri,
                    version: version,
                    machines: machines,
                    size: size,
                    overlayPlace: nil
                )
            )
        case .snapshot(let machine, let name): .snapshot(machine: machine, name: name)
        case .deleteSnapshot(let machine, let name): .deleteSnapshot(machine: machine, name: name)
        case .listSnapshots(let machine): .listSnapshots(machine: machine)
        case .republish(let republication):
            .republish(try republication.request(key: key))
        }
    }
}

extension ManagementRequest.Operation.Republication {
    func request(key: String) throws(Failure) -> ControlRequest.Republication {
        ControlRequest.Republication(
            machine: machine,
            snapshot: snapshot,
            template: try Name.templateName(uri: template).uri,
            properties: properties,
            isRebasing: false,
            publicKeyPEM: key
        )
    }
}

extension ControlResponse {
    /// Directories of this machine are nobody else's business.
    fileprivate var withoutPaths: ControlResponse {
        guard case .machines(var machines) = self else { return self }
        for index in machines.indices { machines[index].overlayDirectory = nil }
        return .machines(machines)
    }
}

extension NodeList.Node {
    /// The node that says so itself.
    init(_ name: Name, _ key: KeyId, _ machines: [Inventory.Machine]) {
        self.init(
            name: name.uri,
            keyId: key.digest.hex,
            machines: machines,
            ageSeconds: 0,
            isLate: false
        )
    }

    /// - Parameter now: of the book that has the entry.
    init(_ entry: InventoryBook.Entry, now: Int) {
        self.init(
            name: entry.node.uri,
            keyId: entry.key.digest.hex,
            machines: entry.machines,
            ageSeconds: max(0, now - entry.heard),
            isLate: entry.isLate(at: now)
        )
    }
}
