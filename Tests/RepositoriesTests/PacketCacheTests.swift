import CCNx
import Repositories
import Signing
import TestSupport
import Testing

/// The rules of RFC 8569 sections 2.4.3 and 4.
struct PacketCacheTests {
    private static let now: UInt64 = 1_700_000_000_000
    private static let face = FaceId(1)
    private let name = Name(segments: [.name("elsewhere.org"), .name("a"), .chunk(0)])

    private func packet(
        _ name: Name?,
        payload: [UInt8] = [1],
        expires: UInt64? = nil,
        lowValueFrom: UInt64? = nil
    ) throws -> DecodedPacket {
        let object = ContentObject(
            name: name,
            payload: payload,
            expiryTimeMilliseconds: expires,
            recommendedCacheTimeMilliseconds: lowValueFrom
        )
        return try PacketEncoder().encode(.contentObject(object))
    }

    private func signed(_ key: PrivateKey, payload: [UInt8] = [1]) throws -> DecodedPacket {
        try PacketDecoder.decode(
            try SignedContentObject.sign(
                ContentObject(name: name, payload: payload),
                with: key,
                signatureTimeMilliseconds: nil
            )
        )
    }

    // MARK: Times

    @Test func answersTheExactNameForAMinute() throws {
        let cache = PacketCache()
        let object = try packet(name)
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now) == nil)
        #expect(cache.insert(object, now: Self.now))
        let last = Self.now + PacketCache.lifetime - 1
        #expect(cache.answer(Interest(name: name), from: Self.face, now: last) == object)
        #expect(cache.answer(Interest(name: name.prefix(2)), from: Self.face, now: last) == nil)
        #expect(
            cache.answer(Interest(name: name.appending(.chunk(0))), from: Self.face, now: last)
                == nil
        )
        #expect(cache.answer(Interest(name: name), from: Self.face, now: last + 1) == nil)
        #expect(cache.packetCount == 0)
        #expect(cache.byteCount == 0)
    }

    @Test func neverAnswersPastTheExpiryTime() throws {
        let cache = PacketCache()
        for expiry in [0, Self.now - 1, Self.now] {
            #expect(!cache.insert(try packet(name, expires: expiry), now: Self.now))
        }
        #expect(cache.insert(try packet(name, expires: Self.now + 5), now: Self.now))
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now + 4) != nil)
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now + 5) == nil)
    }

    @Test func keepsNothingPastTheRecommendedCacheTime() throws {
        let cache = PacketCache()
        #expect(!cache.insert(try packet(name, lowValueFrom: Self.now), now: Self.now))
        let object = try packet(name, expires: Self.now + 50, lowValueFrom: Self.now + 5)
        #expect(cache.insert(object, now: Self.now))
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now + 4) == object)
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now + 5) == nil)
    }

    @Test func keepsWhatComesAgainForLonger() throws {
        let cache = PacketCache()
        cache.insert(try packet(name, lowValueFrom: Self.now + 5), now: Self.now)
        // The time is in the header: the same object, to the bit, of which one is kept.
        cache.insert(try packet(name, lowValueFrom: Self.now + 500), now: Self.now)
        #expect(cache.packetCount == 1)
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now + 499) != nil)
    }

    // MARK: Parts of objects

    @Test func aPartAnswersThoseWhoReadAtTheSameTime() throws {
        let cache = PacketCache()
        let part = try packet(name)
        let interest = Interest(name: name)
        #expect(cache.insert(part, isPart: true, now: Self.now))
        let last = Self.now + PacketCache.partLifetime - 1
        for face in 1..<50 {
            #expect(cache.answer(interest, from: FaceId(UInt64(face)), now: last) == part)
        }
        #expect(cache.answer(interest, from: FaceId(50), now: last + 1) == nil)
        #expect(cache.byteCount == 0)
    }

    @Test func whoAsksAgainForAPartGetsWhatTheSourceSaysNow() throws {
        let cache = PacketCache()
        let interest = Interest(name: name)
        let (forged, right) = (try packet(name, payload: [6]), try packet(name, payload: [1]))
        cache.insert(forged, isPart: true, now: Self.now)
        #expect(cache.answer(interest, from: Self.face, now: Self.now) == forged)
        #expect(cache.answer(interest, from: Self.face, now: Self.now) == nil)
        // It is gone for others too.
        #expect(cache.answer(interest, from: FaceId(2), now: Self.now) == nil)
        #expect(cache.packetCount == 0)
        cache.insert(right, isPart: true, now: Self.now)
        #expect(cache.answer(interest, from: Self.face, now: Self.now) == right)
        // What is no part answers as often as it is asked for.
        cache.insert(right, now: Self.now)
        for _ in 0..<3 { #expect(cache.answer(interest, from: Self.face, now: Self.now) == right) }
    }

    @Test func aPartIsGivenUpWhenManyHadIt() throws {
        let cache = PacketCache()
        cache.insert(try packet(name), isPart: true, now: Self.now)
        let answers = (0..<1_000).map { face in
            cache.answer(Interest(name: name), from: FaceId(face), now: Self.now) != nil
        }
        #expect(answers == (0..<1_000).map { $0 < 64 })
        #expect(cache.packetCount == 0)
    }

    // MARK: Restrictions

    @Test func answersAHashRestrictionWithThatHashOnly() throws {
        let cache = PacketCache()
        let wanted = try packet(name, payload: [1])
        cache.insert(wanted, now: Self.now)
        cache.insert(try packet(name, payload: [2]), now: Self.now)
        var interest = Interest(name: name)
        interest.contentObjectHashRestriction = wanted.contentObjectHash
        #expect(cache.answer(interest, from: Self.face, now: Self.now) == wanted)
        interest.contentObjectHashRestriction = ContentObjectHash(SHA256.digest(of: [3]))
        #expect(cache.answer(interest, from: Self.face, now: Self.now) == nil)
    }

    @Test func answersWithANamelessObjectByItsHashUnderAnyName() throws {
        let cache = PacketCache()
        let nameless = try packet(nil)
        cache.insert(nameless, now: Self.now)
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now) == nil)
        var interest = Interest(name: name)
        interest.contentObjectHashRestriction = nameless.contentObjectHash
        #expect(cache.answer(interest, from: Self.face, now: Self.now) == nameless)
        interest.keyIdRestriction = try PublishingScene.nodeKey.get().publicKey.keyId
        #expect(cache.answer(interest, from: Self.face, now: Self.now) == nil)
    }

    @Test func answersAKeyIdRestrictionOnlyWithASignatureItVerified() throws {
        let key = try PublishingScene.nodeKey.get()
        let stranger = try PublishingScene.strangerKey.get()
        var interest = Interest(name: name)
        interest.keyIdRestriction = key.publicKey.keyId

        let good = try signed(key)
        var forgedWire = try signed(key, payload: [9, 9]).wire
        forgedWire[forgedWire.count - 1] ^= 1
        let forged = try PacketDecoder.decode(forgedWire)
        // It says the KeyId, and has no key to check it by.
        let bare = try PacketEncoder().encode(
            .contentObject(ContentObject(name: name, payload: [7])),
            validation: Validation(
                algorithm: .ecSecp384R1,
                keyId: key.publicKey.keyId,
                payload: [1, 2, 3]
            )
        )
        // It says the KeyId of one, and carries the key of another.
        let borrowed = try PacketEncoder().encode(
            .contentObject(ContentObject(name: name, payload: [8])),
            validation: Validation(
                algorithm: .ecSecp384R1,
                keyId: key.publicKey.keyId,
                publicKeyDER: stranger.publicKey.derBytes,
                payload: [1, 2, 3]
            )
        )
        for wrong in [forged, bare, borrowed, try signed(stranger), try packet(name)] {
            let cache = PacketCache()
            cache.insert(wrong, now: Self.now)
            for _ in 0..<2 {
                #expect(cache.answer(interest, from: Self.face, now: Self.now) == nil)
            }
            // Who wants no certain key gets what there is.
            #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now) == wrong)
            cache.insert(good, now: Self.now)
            for _ in 0..<2 {
                #expect(cache.answer(interest, from: Self.face, now: Self.now) == good)
            }
        }
    }

    // MARK: Bounds

    @Test func boundsItsBytesAndGivesUpTheOldestFirst() throws {
        let limit = 64 << 10
        let cache = PacketCache(byteLimit: limit)
        let names = (0..<500).map { name.prefix(2).appending(.chunk(UInt64($0))) }
        for name in names {
            cache.insert(try packet(name, payload: [1, 2, 3]), now: Self.now)
            #expect(cache.byteCount <= limit)
        }
        let here = names.indices.filter {
            cache.answer(Interest(name: names[$0]), from: Self.face, now: Self.now) != nil
        }
        #expect(here.count == cache.packetCount)
        #expect(here.count > 20)
        #expect(here == Array(names.indices.suffix(here.count)))
    }

    @Test func refusesWhatIsLargerThanItIs() throws {
        let cache = PacketCache(byteLimit: 4_096)
        let large = try packet(name, payload: [UInt8](repeating: 1, count: 4_000))
        #expect(!cache.insert(large, now: Self.now))
        #expect(cache.byteCount == 0)
    }

    @Test func keepsAFewPacketsOfOneName() throws {
        let cache = PacketCache()
        for payload in 0..<100 {
            cache.insert(try packet(name, payload: [UInt8(payload)]), now: Self.now)
        }
        #expect(cache.packetCount == 4)
        let newest = try packet(name, payload: [99])
        #expect(cache.answer(Interest(name: name), from: Self.face, now: Self.now) == newest)
    }

    @Test func keepsContentObjectsOnly() throws {
        let interest = try PacketEncoder().encode(.interest(Interest(name: name)))
        #expect(!PacketCache().insert(interest, now: Self.now))
    }
}
