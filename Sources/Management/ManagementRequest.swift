package import CCNx
package import Failures
internal import Signing
package import Store
package import Templates

/// What somebody elsewhere wants done, signed by them.
///
/// Nothing in it names a file or directory of the node that carries it out.
package struct ManagementRequest: Codable, Sendable, Equatable {
    package static let format = 1
    /// Bytes of a signed request.
    package static let byteLimit = 16 << 10
    /// Seconds by which the clocks of the two may differ, on either side.
    package static let clockTolerance = 300
    /// Seconds for which a request that was carried out is remembered: a copy of it is too old after that.
    package static let memory = 2 * clockTolerance + 1
    /// Requests that are remembered at once.
    package static let memoryLimit = 4_096

    package var format: Int
    /// URI of the node, the template or the prefix that it is about.
    package var target: String
    /// Seconds since 1970.
    package var time: Int
    /// Tells two equal requests of one second apart.
    package var nonce: String
    package var operation: Operation

    package enum Operation: Codable, Sendable, Equatable {
        // Of templates: the target is the template; of a listing a prefix
        case listTemplates
        case tag(name: String, version: Int?)
        case withdraw(version: Int?)
        // Of VMs: the target is a prefix of nodes' names
        case listNodes
        // Of VMs: the target is the node
        case deploy(template: String, version: Int?, machines: [String], size: Int?)
        case snapshot(machine: String, name: String)
        case deleteSnapshot(machine: String, name: String)
        case listSnapshots(machine: String?)
        case republish(Republication)

        package struct Republication: Codable, Sendable, Equatable {
            package var machine: String
            /// Nil: as it is now.
            package var snapshot: String?
            package var template: String
            package var properties: [String: String]

            package init(
                machine: String,
                snapshot: String?,
                template: String,
                properties: [String: String]
            ) {
                self.machine = machine
                self.snapshot = snapshot
                self.template = template
                self.properties = properties
            }
        }
    }

    package init(target: Name, time: Int, nonce: UInt64, operation: Operation) {
        format = Self.format
        self.target = target.uri
        self.time = time
        self.nonce = String(nonce, radix: 16)
        self.operation = operation
    }

    /// What its sender signs.
    package func draft() throws(Failure) -> ContentObject {
        try SignedJSON.draft(self, name: try Self.name(for: Name(uri: target)))
    }

    fileprivate static func name(for target: Name) -> Name {
        target.appending([.name("@manage"), .chunk(0)])
    }
}

extension ManagementRequest.Operation {
    /// The right that its key needs for the target.
    package var right: TrustRights {
        switch self {
        case .listTemplates, .tag, .withdraw: .manage
        case .listNodes, .deploy, .snapshot, .deleteSnapshot, .listSnapshots, .republish: .operate
        }
    }

    /// It is answered with what the key has the right for, which may be part of what there is.
    package var isListing: Bool {
        switch self {
        case .listTemplates, .listNodes: true
        case .tag, .withdraw, .deploy, .snapshot, .deleteSnapshot, .listSnapshots, .republish: false
        }
    }

    /// Only the node that the target names can do it.
    package var isOfNode: Bool {
        switch self {
        case .listTemplates, .tag, .withdraw, .listNodes: false
        case .deploy, .snapshot, .deleteSnapshot, .listSnapshots, .republish: true
        }
    }
}

/// A request as it came: it is one to its target, and nothing else was looked at.
package struct ReceivedRequest: Sendable {
    package let request: ManagementRequest
    package let target: Name
    /// Of the signed packet.
    package let id: ObjectId
    fileprivate let packet: DecodedPacket

    /// - Parameter target: that of the Interest's name.
    package init(signed: [UInt8], target: Name) throws(Failure) {
        guard signed.count <= ManagementRequest.byteLimit else {
            throw Failure(
                .tooLarge,
                "a request may have \(ManagementRequest.byteLimit) bytes, this one has \(signed.count)"
            )
        }
        packet = try PacketDecoder.decode(signed)
        request = try SignedJSON.payload(of: packet, what: "request")
        guard request.format <= ManagementRequest.format else {
            throw Failure(
                .unsupported,
                "the request has format \(request.format)",
                hint: "a newer ccnfs takes it"
            )
        }
        guard case .contentObject(let object) = packet.packet,
            object.name == ManagementRequest.name(for: target), request.target == target.uri
        else { throw Failure(.invalid, "the request is one to \(request.target), not \(target)") }
        self.target = target
        id = ObjectId(of: signed)
    }
}

/// A request whose signature, time and right are good. Whether it was received before is not looked at.
package struct CheckedRequest: Sendable {
    package let request: ManagementRequest
    package let target: Name
    package let key: KeyId
    package let id: ObjectId

    /// - Parameter now: seconds since 1970.
    /// - Throws: `.untrusted` for a key that is not known or did not sign it, `.notPermitted` for one without
    ///   the right, `.timedOut` for a request of another time.
    package init(
        _ received: ReceivedRequest,
        trust: TrustPolicy,
        now: Int
    ) throws(Failure) {
        request = received.request
        target = received.target
        id = received.id
        key = try Self.check(received.packet, request.operation, target, trust)
        try Self.check(time: request.time, now: now)
    }

    private static func check(
        _ packet: DecodedPacket,
        _ operation: ManagementRequest.Operation,
        _ target: Name,
        _ trust: TrustPolicy
    ) throws(Failure) -> KeyId {
        guard let keyId = packet.validation?.keyId else {
            throw Failure(.untrusted, "the request is not signed")
        }
        let right = operation.right
        let key =
            operation.isListing
            ? try trust.key(keyId, with: right, around: target)
            : try trust.key(keyId, with: right, for: target)
        guard let key else {
            let name = right.names.joined(separator: ", ")
            throw Failure(
                trust.knows(keyId) ? .notPermitted : .untrusted,
                trust.knows(keyId)
                    ? "key \(keyId) has no right \(name) for \(target)"
                    : "key \(keyId) is not trusted there",
                hint:
                    "if it should be, there: ccnfs trust add \(target.isEmpty ? "PREFIX" : target.uri) "
                    + "PUBLIC-KEY-FILE --right \(name)"
            )
        }
        try ValidationCheck.verify(packet, expecting: key)
        return keyId
    }

    private static func check(time: Int, now: Int) throws(Failure) {
        let tolerance = ManagementRequest.clockTolerance
        guard (now - tolerance...now + tolerance).contains(time) else {
            throw Failure(
                .timedOut,
                "the request is of another time than this node's, by more than \(tolerance) s",
                hint: "are both clocks right?"
            )
        }
    }
}
