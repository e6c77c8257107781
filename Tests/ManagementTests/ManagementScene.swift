import CCNx
import Failures
import Management
import Signing
import Store
import Templates

enum ManagementScene {
    static let administrator = Result { try PrivateKey.generate(.ecP384) }
    static let stranger = Result { try PrivateKey.generate(.ecP384) }
    static let namespace = Name(segments: [.name("mycorp.com")])
    static let template = namespace.appending([.name("app1"), .name("linuxvm")])
    static let node = namespace.appending([.name("nodes"), .name("host1")])
    static let otherNode = namespace.appending([.name("nodes"), .name("host2")])
    /// Seconds since 1970.
    static let now = 1_800_000_000

    static func trust(_ rights: TrustRights, for prefix: Name = namespace) throws -> TrustPolicy {
        let key = try administrator.get().publicKey
        return TrustPolicy([
            TrustEntry(
                prefix: prefix,
                publicKeyDER: key.derBytes,
                keyId: key.keyId,
                rights: rights
            )
        ])
    }

    static func sign(
        _ request: ManagementRequest,
        with key: Result<PrivateKey, any Error> = administrator
    ) throws -> [UInt8] {
        try SignedContentObject.sign(
            try request.draft(),
            with: try key.get(),
            signatureTimeMilliseconds: UInt64(request.time) * 1000
        )
    }

    static func request(
        _ operation: ManagementRequest.Operation,
        to target: Name,
        time: Int = now
    ) -> ManagementRequest {
        ManagementRequest(target: target, time: time, nonce: 7, operation: operation)
    }

    /// How a repository that trusts so judges a request.
    static func check(
        _ signed: [UInt8],
        to target: Name,
        _ trust: TrustPolicy,
        now: Int = now
    ) throws(Failure) -> CheckedRequest {
        try CheckedRequest(
            try ReceivedRequest(signed: signed, target: target),
            trust: trust,
            now: now
        )
    }

    static func machine(_ name: String, snapshots: Int = 0) -> Inventory.Machine {
        Inventory.Machine(
            name: name,
            template: template.uri,
            templateVersion: 3,
            disks: [.init(name: "disk0", size: 20 << 30, writtenBytes: 4096, problem: nil)],
            snapshots: (0..<snapshots).map { "snapshot-\($0)" },
            isMoved: false
        )
    }
}
