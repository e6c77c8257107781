import CCNx
import Failures
import Profiles
import Signing
import Store
import Templates
import TestSupport
import Testing

@Suite struct CatalogTests {
    private static let namespace = TemplatesScene.namespace
    private static let other = Name(segments: [.name("other.com")])

    private let owner: PrivateKey
    private let stranger: PrivateKey
    private let repository: PrivateKey
    private let trust: TrustPolicy

    init() throws {
        owner = try TestKeys.publisher.get()
        stranger = try TestKeys.stranger.get()
        repository = try TestKeys.repository.get()
        trust = TrustPolicy([TemplatesScene.entry(owner.publicKey, Self.namespace)])
    }

    private func catalog(
        _ namespace: Name = namespace,
        serial: Int = 7,
        delegation: [UInt8]? = nil
    ) -> Catalog {
        Catalog(
            namespace: namespace,
            serial: serial,
            expires: TemplatesScene.now + 100,
            listing: ContentDescriptor(
                root: ObjectId(of: [3]),
                size: 50_000,
                segmentSize: 32768,
                levels: 1
            ),
            delegation: delegation
        )
    }

    private func sign(_ catalog: Catalog, with key: PrivateKey) throws(Failure) -> [UInt8] {
        try catalog.signed(with: key, now: TemplatesScene.now)
    }

    private func read(
        _ bytes: [UInt8],
        _ namespace: Name = namespace,
        ownKey: PublicKey? = nil
    ) throws(Failure) -> Catalog {
        try Catalog(signed: bytes, namespace: namespace, trust: trust, ownKey: ownKey)
    }

    private func delegation(
        to key: PublicKey,
        by signer: PrivateKey,
        in namespace: Name = namespace
    ) throws(Failure) -> [UInt8] {
        try SignedContentObject.sign(
            try Delegation.draft(to: key, namespace: namespace),
            with: signer,
            signatureTimeMilliseconds: nil
        )
    }

    // MARK: Who may sign

    @Test func isBelievedWhenATrustedKeySignedIt() throws {
        let found = try read(try sign(catalog(), with: owner))
        #expect(found.serial == 7)
        #expect(found.expires == TemplatesScene.now + 100)
        #expect(found.namespace == Self.namespace)
        #expect(found.listing == catalog().listing)
        #expect(found.delegation == nil)
    }

    @Test func isBelievedWhenTheNodeSignedItItself() throws {
        let bytes = try sign(catalog(Self.other), with: repository)
        #expect(kind { _ = try read(bytes, Self.other) } == .untrusted)
        #expect(try read(bytes, Self.other, ownKey: repository.publicKey).serial == 7)
        // Not everything that carries the node's own key id is the node's.
        var altered = bytes
        altered[altered.count - 1] ^= 1
        #expect(
            kind { _ = try read(altered, Self.other, ownKey: repository.publicKey) } == .untrusted
        )
    }

    @Test func isBelievedWhenItWasDelegatedToItsKey() throws {
        let delegation = try delegation(to: repository.publicKey, by: owner)
        let bytes = try sign(catalog(delegation: delegation), with: repository)
        #expect(try read(bytes).delegation == delegation)
        let found = try Delegation(signed: delegation, namespace: Self.namespace, trust: trust)
        #expect(found.key == repository.publicKey)
    }

    @Test func isNotBelievedOfAStranger() throws {
        do throws(Failure) {
            _ = try read(try sign(catalog(), with: stranger))
            Issue.record("a stranger's catalog was believed")
        } catch {
            #expect(error.kind == .untrusted)
            #expect(error.firstHint != nil)
        }
    }

    @Test func isNotBelievedWhenItWasDelegatedToAnother() throws {
        let delegation = try delegation(to: repository.publicKey, by: owner)
        let bytes = try sign(catalog(delegation: delegation), with: stranger)
        #expect(kind { _ = try read(bytes) } == .untrusted)
    }

    @Test func isNotBelievedWhenAStrangerDelegatedIt() throws {
        let delegation = try delegation(to: repository.publicKey, by: stranger)
        let bytes = try sign(catalog(delegation: delegation), with: repository)
        #expect(kind { _ = try read(bytes) } == .untrusted)
        let toItself = try self.delegation(to: stranger.publicKey, by: stranger)
        #expect(
            kind { _ = try read(try sign(catalog(delegation: toItself), with: stranger)) }
                == .untrusted
        )
    }

    @Test func isNotBelievedWhenAnotherNamespaceWasDelegated() throws {
        let delegation = try delegation(to: repository.publicKey, by: owner, in: Self.other)
        let bytes = try sign(catalog(delegation: delegation), with: repository)
        #expect(kind { _ = try read(bytes) } == .untrusted)
    }

    @Test func isNotBelievedWhenTheKeyThatDelegatedItIsTrustedNoMore() throws {
        let delegation = try delegation(to: repository.publicKey, by: owner)
        let bytes = try sign(catalog(delegation: delegation), with: repository)
        #expect(
            kind {
                _ = try Catalog(
                    signed: bytes,
                    namespace: Self.namespace,
                    trust: TrustPolicy([]),
                    ownKey: nil
                )
            } == .untrusted
        )
    }

    @Test func isNotBelievedOfAKeyThatIsTrustedForAPartOnly() throws {
        let part = TrustPolicy([TemplatesScene.entry(owner.publicKey, TemplatesScene.name)])
        let bytes = try sign(catalog(), with: owner)
        #expect(
            kind {
                _ = try Catalog(signed: bytes, namespace: Self.namespace, trust: part, ownKey: nil)
            } == .untrusted
        )
    }

    // MARK: What it may say

    @Test func isNotThatOfAnotherNamespace() throws {
        let bytes = try sign(catalog(), with: owner)
        #expect(kind { _ = try read(bytes, Self.other) } == .corrupt)
        #expect(kind { _ = try read(bytes, TemplatesScene.name) } == .corrupt)
    }

    @Test(arguments: [0, -1])
    func hasASerialAboveZero(_ serial: Int) throws {
        let bytes = try sign(catalog(serial: serial), with: owner)
        #expect(kind { _ = try read(bytes) } == .invalid)
    }

    @Test func hasAListingThatCanBe() throws {
        for (size, segmentSize, levels) in [(-1, 4096, 0), (50_000, 4096, 0), (50_000, 5000, 1)] {
            var catalog = catalog()
            catalog.listing = ContentDescriptor(
                root: ObjectId(of: [3]),
                size: size,
                segmentSize: segmentSize,
                levels: levels
            )
            let bytes = try sign(catalog, with: owner)
            #expect(kind { _ = try read(bytes) } == .invalid)
        }
    }

    @Test func isRefusedWhenItIsAltered() throws {
        let bytes = try sign(catalog(), with: owner)
        let serial = Array("\"serial\":7".utf8)
        let start = try #require(bytes.indices.first { bytes[$0...].starts(with: serial) })
        var altered = bytes
        altered[start + serial.count - 1] = UInt8(ascii: "9")
        #expect(kind { _ = try read(altered) } == .untrusted)
        for count in [0, 1, 8, bytes.count / 2, bytes.count - 1] {
            #expect(kind { _ = try read(Array(bytes.prefix(count))) } != nil)
        }
        #expect(kind { _ = try read(bytes + [0]) } != nil)
    }

    @Test func isNoOtherSignedThing() throws {
        let record = try TemplatesScene.record(by: owner).json()
        #expect(kind { _ = try read(try TemplatesScene.sign(record, with: owner)) } == .invalid)
        let delegation = try delegation(to: repository.publicKey, by: owner)
        #expect(kind { _ = try read(delegation) } == .invalid)
        let catalog = try sign(catalog(), with: owner)
        #expect(
            kind {
                _ = try Delegation(signed: catalog, namespace: Self.namespace, trust: trust)
            } == .invalid
        )
    }

    @Test func hasTheNameThatAllAskFor() {
        #expect(Catalog.name(in: Self.namespace).uri == "ccnx:/mycorp.com/%40catalog/Chunk=0x00")
    }
}
