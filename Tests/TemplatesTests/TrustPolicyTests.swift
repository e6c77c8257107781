import CCNx
import Failures
import Signing
import Store
import Templates
import TestSupport
import Testing

@Suite struct TrustPolicyTests {
    private func name(_ uri: String) throws -> Name { try Name(uri: uri) }

    @Test func isForEverythingUnderAPrefixAndNothingElse() throws {
        let key = try TestKeys.publisher.get().publicKey
        let policy = TrustPolicy([TemplatesScene.entry(key, try name("ccnx:/mycorp.com/app1"))])
        for uri in [
            "ccnx:/mycorp.com/app1", "ccnx:/mycorp.com/app1/vm", "ccnx:/mycorp.com/app1/a/b",
        ] {
            #expect(try policy.key(key.keyId, speakingFor: try name(uri)) == key)
        }
        for uri in [
            "ccnx:/mycorp.com", "ccnx:/mycorp.com/app2", "ccnx:/mycorp.com/app11",
            "ccnx:/mycorp.com/app", "ccnx:/other.com/app1", "ccnx:/mycorp.com.au/app1", "ccnx:/",
        ] {
            #expect(try policy.key(key.keyId, speakingFor: try name(uri)) == nil)
        }
        let other = try TestKeys.stranger.get().publicKey
        #expect(try policy.key(other.keyId, speakingFor: try name("ccnx:/mycorp.com/app1")) == nil)
        #expect(try TrustPolicy([]).key(key.keyId, speakingFor: TemplatesScene.name) == nil)
    }

    @Test func takesAKeyThatIsTrustedForSeveralPrefixes() throws {
        let key = try TestKeys.publisher.get().publicKey
        let policy = TrustPolicy([
            TemplatesScene.entry(key, try name("ccnx:/a")),
            TemplatesScene.entry(key, try name("ccnx:/b/c")),
        ])
        #expect(try policy.key(key.keyId, speakingFor: try name("ccnx:/b/c/d")) == key)
        #expect(try policy.key(key.keyId, speakingFor: try name("ccnx:/b/d")) == nil)
    }

    @Test func aKeyHasTheRightsThatTheSettingsAndCommandsGaveIt() throws {
        let key = try TestKeys.publisher.get().publicKey
        let other = try TestKeys.stranger.get().publicKey
        func entry(_ uri: String, _ key: PublicKey, _ rights: TrustRights) throws -> TrustEntry {
            TrustEntry(
                prefix: try name(uri),
                publicKeyDER: key.derBytes,
                keyId: key.keyId,
                rights: rights
            )
        }
        let policy = TrustPolicy(
            configured: [
                try entry("ccnx:/b", key, .manage), try entry("ccnx:/b", key, .operate),
                try entry("ccnx:/a", other, .node),
            ],
            added: [try entry("ccnx:/b", key, .publish), try entry("ccnx:/b/c", key, .node)]
        )
        #expect(policy.entries.map(\.prefix.uri) == ["ccnx:/a", "ccnx:/b", "ccnx:/b/c"])
        #expect(policy.entries.map(\.rights) == [.node, [.publish, .manage, .operate], .node])
        #expect(policy.entries.map(\.keyId) == [other.keyId, key.keyId, key.keyId])
        let both: TrustRights = [.publish, .manage]
        #expect(try policy.key(key.keyId, with: both, for: try name("ccnx:/b/d")) == key)
        #expect(TrustPolicy(configured: [], added: []).entries.isEmpty)
    }

    @Test func aKeyMayDoWhatItsRightsSay() throws {
        let key = try TestKeys.publisher.get().publicKey
        func entry(_ uri: String, _ rights: TrustRights) throws -> TrustEntry {
            TrustEntry(
                prefix: try name(uri),
                publicKeyDER: key.derBytes,
                keyId: key.keyId,
                rights: rights
            )
        }
        let policy = TrustPolicy([
            try entry("ccnx:/a", .manage), try entry("ccnx:/a/b", [.publish, .operate]),
        ])
        // Only who may publish speaks for a name.
        #expect(try policy.key(key.keyId, speakingFor: try name("ccnx:/a/c")) == nil)
        #expect(try policy.key(key.keyId, speakingFor: try name("ccnx:/a/b/c")) == key)
        #expect(try policy.key(key.keyId, with: .manage, for: try name("ccnx:/a/b/c")) == key)
        #expect(try policy.key(key.keyId, with: .operate, for: try name("ccnx:/a")) == nil)
        #expect(try policy.key(key.keyId, with: .operate, around: try name("ccnx:/a")) == key)
        #expect(try policy.key(key.keyId, with: .operate, around: try name("ccnx:/a/c")) == nil)
        #expect(try policy.key(key.keyId, with: .node, around: Name()) == nil)
        #expect(policy.knows(key.keyId))
        #expect(!policy.knows(try TestKeys.stranger.get().publicKey.keyId))
        let signed = try PacketDecoder.decode(
            TemplatesScene.sign([1], with: try TestKeys.publisher.get())
        )
        let manager = TrustPolicy([try entry(TemplatesScene.namespace.uri, .manage)])
        #expect(kind { try manager.check(signed, speaksFor: TemplatesScene.name) } == .untrusted)
    }

    @Test func refusesPacketsThatDoNotSpeakForAName() throws {
        let key = try TestKeys.publisher.get()
        let policy = TrustPolicy([TemplatesScene.entry(key.publicKey, TemplatesScene.namespace)])
        let signed = try PacketDecoder.decode(TemplatesScene.sign([1, 2, 3], with: key))
        try policy.check(signed, speaksFor: TemplatesScene.name)
        let elsewhere = try name("ccnx:/other.com/vm")
        #expect(kind { try policy.check(signed, speaksFor: elsewhere) } == .untrusted)
        let foreign = try PacketDecoder.decode(
            TemplatesScene.sign([1, 2, 3], with: try TestKeys.stranger.get())
        )
        do throws(Failure) {
            try policy.check(foreign, speaksFor: TemplatesScene.name)
            Issue.record("a stranger spoke for \(TemplatesScene.name)")
        } catch {
            #expect(error.kind == .untrusted)
            #expect(error.firstHint?.contains("trust add ccnx:/mycorp.com ") == true)
        }
        let object = ContentObject(name: TemplatesScene.name, payload: [1])
        let unsigned = try PacketEncoder().encode(.contentObject(object))
        #expect(kind { try policy.check(unsigned, speaksFor: TemplatesScene.name) } == .untrusted)
    }

    @Test func refusesAKeyIdThatIsTrustedWithTheKeyOfAnother() throws {
        let key = try TestKeys.publisher.get()
        let stranger = try TestKeys.stranger.get()
        // As a database that was tampered with would have it.
        let policy = TrustPolicy([
            TrustEntry(
                prefix: TemplatesScene.namespace,
                publicKeyDER: stranger.publicKey.derBytes,
                keyId: key.publicKey.keyId
            )
        ])
        let signed = try PacketDecoder.decode(TemplatesScene.sign([1], with: key))
        #expect(kind { try policy.check(signed, speaksFor: TemplatesScene.name) } == .untrusted)
    }
}
