import CCNx
import Failures
import Forwarding
import Testing

/// A forwarder with four faces and short words for what happens to it. Faces 1 to 3 are neighbours,
/// face 9 is on this machine.
struct ForwarderScene {
    static let consumer = FaceId(1)
    static let other = FaceId(2)
    static let upstream = FaceId(3)
    static let local = FaceId(9)

    var forwarder: Forwarder
    var now: UInt64 = 1_000

    init(limits: ForwarderLimits = ForwarderLimits()) {
        // Not a hash: but different objects have different ones here, and every test can compute it.
        forwarder = Forwarder(limits: limits) { Self.hash($0) }
        for face in [Self.consumer, Self.other, Self.upstream] {
            forwarder.faceUp(face, scope: .remote)
        }
        forwarder.faceUp(Self.local, scope: .local)
    }

    /// With a way to the upstream neighbour.
    static func routed() throws -> ForwarderScene {
        var scene = ForwarderScene()
        try scene.route("ccnx:/mycorp.com", to: upstream)
        return scene
    }

    static func hash(_ packet: DecodedPacket) -> ContentObjectHash {
        let checksum = packet.withMessage { UInt64(CRC32C.checksum($0)) }
        return ContentObjectHash(SHA256Digest(word0: checksum, word1: 1, word2: 2, word3: 3))
    }

    static func interest(
        _ uri: String,
        hopLimit: UInt8 = 8,
        lifetime: UInt64? = nil,
        keyId: KeyId? = nil,
        hash: ContentObjectHash? = nil
    ) throws -> DecodedPacket {
        let interest = Interest(
            name: try Name(uri: uri),
            hopLimit: hopLimit,
            lifetimeMilliseconds: lifetime,
            keyIdRestriction: keyId,
            contentObjectHashRestriction: hash
        )
        return try PacketEncoder().encode(.interest(interest))
    }

    static func object(
        _ uri: String?,
        payload: String = "x",
        keyId: KeyId? = nil
    ) throws -> DecodedPacket {
        let name = try uri.map { try Name(uri: $0) }
        let object = ContentObject(name: name, payload: Array(payload.utf8))
        let validation = keyId.map { Validation(algorithm: .rsaSHA256, keyId: $0, payload: [1]) }
        return try PacketEncoder().encode(.contentObject(object), validation: validation)
    }

    mutating func route(_ uri: String, to face: FaceId, cost: UInt32 = 0) throws {
        try forwarder.addRoute(try Name(uri: uri), to: face, cost: cost)
    }

    /// Receives the packet; if the content store is asked, it has nothing.
    mutating func receive(_ packet: DecodedPacket, from face: FaceId) -> [ForwarderAction] {
        forwarder.receive(packet, from: face, now: now).flatMap { action -> [ForwarderAction] in
            guard case .lookUpContent(let token, _) = action else { return [action] }
            return forwarder.contentStoreAnswered(token, with: nil, now: now)
        }
    }

    /// The neighbour `face` gives back `packet`, which was sent to it.
    mutating func giveBack(
        _ packet: DecodedPacket,
        _ code: ReturnCode,
        from face: FaceId
    ) throws -> [ForwarderAction] {
        let returned = try PacketDecoder.decode(packet.interestReturnWire(code: code))
        return forwarder.receive(returned, from: face, now: now)
    }
}

extension [ForwarderAction] {
    var interestsTo: [FaceId] {
        compactMap { if case .sendInterest(_, _, let face) = $0 { face } else { nil } }
    }
    var objectsTo: [FaceId] {
        compactMap { if case .sendContentObject(_, let face) = $0 { face } else { nil } }
    }
    var returns: [ReturnCode] {
        compactMap { if case .sendInterestReturn(_, let code, _) = $0 { code } else { nil } }
    }
    var returnsTo: [FaceId] {
        compactMap { if case .sendInterestReturn(_, _, let face) = $0 { face } else { nil } }
    }
    var cachedCount: Int {
        count { if case .cache = $0 { true } else { false } }
    }
}

func keyId(_ number: UInt64) -> KeyId {
    KeyId(SHA256Digest(word0: number, word1: 0, word2: 0, word3: 0))
}
