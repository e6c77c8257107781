import CCNx
import Failures
import Repositories
import Signing
import TestSupport
import Testing

@Suite struct KeyNameTests {
    private static let prefix = Name(segments: [.name("mycorp.com"), .name("app1")])

    private let key: PublicKey

    init() throws { key = try PublishingScene.publisherKey.get().publicKey }

    private var name: KeyName { KeyName(key.keyId, under: Self.prefix) }

    @Test func isReadAsItIsWritten() {
        #expect(KeyName(name.name) == name)
        #expect(name.name.chunkNumber() == 0)
    }

    @Test func isNothingElse() {
        let segments = name.name.segments
        let others = [
            Self.prefix, Name(segments: Array(segments.suffix(3))),
            Name(segments: Array(segments.dropLast())), name.name.appending(.chunk(0)),
            Name(segments: segments.dropLast() + [.chunk(1)]),
            Self.prefix.appending([.name("@key"), .name("short"), .chunk(0)]),
            Self.prefix.appending([
                .name("@object"), .name(bytes: key.keyId.digest.bytes), .chunk(0),
            ]),
        ]
        for other in others { #expect(KeyName(other) == nil, "\(other)") }
    }

    @Test func takesTheKeyAndNoOther() async throws {
        let right = ContentObject(name: name.name, payloadType: .key, payload: key.derBytes)
        #expect(name.isRight(right))
        #expect(try name.key(in: right) == key)

        let stranger = try PublishingScene.strangerKey.get().publicKey
        let wrong = [
            ContentObject(name: name.name, payloadType: .key, payload: stranger.derBytes),
            ContentObject(name: name.name, payloadType: .key, payload: key.derBytes + [0]),
            ContentObject(name: name.name, payloadType: .key, payload: []),
            ContentObject(name: name.name, payload: key.derBytes),
        ]
        for object in wrong {
            #expect(!name.isRight(object))
            #expect(await failure { try name.key(in: object) }?.kind == .corrupt)
        }
    }

    @Test func aHashOfSomethingElseThanAKeyIsNoKey() async throws {
        let bytes: [UInt8] = Array("not a key".utf8)
        let name = KeyName(KeyId(SHA256.digest(of: bytes)), under: Self.prefix)
        let object = ContentObject(name: name.name, payloadType: .key, payload: bytes)
        #expect(name.isRight(object))
        #expect(await failure { try name.key(in: object) }?.kind == .invalid)
    }
}
