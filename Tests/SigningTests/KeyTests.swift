import CCNx
import Failures
import Signing
import Testing

@Suite struct KeyTests {
    private func kind(_ body: () throws -> Void) -> Failure.Kind? {
        do {
            try body()
            return nil
        } catch { return (error as? Failure)?.kind }
    }

    private func pem(_ label: String, _ body: String = "AAAA") -> [UInt8] {
        Array("-----BEGIN \(label)-----\n\(body)\n-----END \(label)-----\n".utf8)
    }

    @Test func areReadAsTheyWereWritten() throws {
        for key in [try TestKeys.rsa.get(), try TestKeys.ec.get()] {
            let pem = try key.pem()
            let again = try PrivateKey(pem: pem)
            #expect(again.publicKey == key.publicKey)
            #expect(try PublicKey(pem: pem) == key.publicKey)
            #expect(try PublicKey(pem: key.publicKey.pem()) == key.publicKey)
            #expect(try PublicKey(der: key.publicKey.derBytes) == key.publicKey)
            #expect(String(decoding: pem, as: UTF8.self).hasPrefix("-----BEGIN PRIVATE KEY-----"))
        }
    }

    @Test func areNamedByTheHashOfTheirDER() throws {
        let key = try TestKeys.ec.get().publicKey
        #expect(key.keyId == KeyId(SHA256.digest(of: key.derBytes)))
        #expect(key.derBytes.count == 120)
        #expect(key.algorithm == .ecP384)
        #expect(try TestKeys.rsa.get().algorithm == .rsa(bits: 2_048))
    }

    @Test func signWhatOnlyTheyCanSign() throws {
        let keys = [try TestKeys.rsa.get(), try TestKeys.otherRSA.get(), try TestKeys.ec.get()]
        let message = Array("segment".utf8)
        for (index, key) in keys.enumerated() {
            let signature = try key.sign(message)
            for (other, candidate) in keys.enumerated() {
                #expect(candidate.publicKey.verify(signature, of: message) == (index == other))
            }
            #expect(!key.publicKey.verify(signature, of: message + [0]))
            #expect(!key.publicKey.verify([], of: message))
            #expect(!key.publicKey.verify(signature + [0], of: message))
            var damaged = signature
            damaged[damaged.count - 1] ^= 1
            #expect(!key.publicKey.verify(damaged, of: message))
        }
    }

    @Test func refuseTextThatIsNoKey() throws {
        #expect(kind { _ = try PrivateKey(pem: []) } == .invalid)
        #expect(kind { _ = try PrivateKey(pem: Array("garbage".utf8)) } == .invalid)
        #expect(kind { _ = try PrivateKey(pem: pem("PRIVATE KEY")) } == .invalid)
        #expect(kind { _ = try PrivateKey(pem: pem("CERTIFICATE")) } == .invalid)
        #expect(kind { _ = try PublicKey(pem: []) } == .invalid)
        #expect(kind { _ = try PublicKey(pem: pem("PUBLIC KEY")) } == .invalid)
        #expect(kind { _ = try PublicKey(pem: pem("CERTIFICATE")) } == .invalid)
        #expect(
            kind { _ = try PrivateKey(pem: [UInt8](repeating: 65, count: 70_000)) } == .tooLarge
        )
        let publicPEM = try TestKeys.ec.get().publicKey.pem()
        #expect(kind { _ = try PrivateKey(pem: publicPEM) } == .invalid)
        let cutShort = Array(try TestKeys.rsa.get().pem().dropLast(200))
        #expect(kind { _ = try PrivateKey(pem: cutShort) } == .invalid)
    }

    @Test func neverAskForAPassphrase() {
        #expect(kind { _ = try PrivateKey(pem: pem("ENCRYPTED PRIVATE KEY")) } == .unsupported)
        let traditional = pem(
            "RSA PRIVATE KEY",
            "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA"
        )
        #expect(kind { _ = try PrivateKey(pem: traditional) } == .unsupported)
        #expect(kind { _ = try PublicKey(pem: traditional) } == .unsupported)
    }

    /// Written by `openssl genpkey`.
    @Test func refuseWeakAndUnknownKinds() {
        let rsa1024 = """
            MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDpbto8nQPeC5e38HRC1FX4uWkw
            Wjpd4xcx7U5Mj/4rq2Rfs9xqnm9obxxfeYre82CcIXQBPptDmIPQSUFxZGVjRJX1
            APwR8YIc5I1BaT67uKl32OlFja2jZiFqtIkeffSTb/haznVVk8uzcVdbLed5OWo4
            v4O4MRIk5zrcOhrF5wIDAQAB
            """
        #expect(kind { _ = try PublicKey(pem: pem("PUBLIC KEY", rsa1024)) } == .unsupported)
        let p256 = """
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYHUj4iDiwyoJR2z5Uesi67o0bDnZ
            gUcqAxG7HjwnVWuAIg3W+ne5FLg0yN9lZUE3p4jdzw9lUItKqLhmqQBbuQ==
            """
        #expect(kind { _ = try PublicKey(pem: pem("PUBLIC KEY", p256)) } == .unsupported)
        let ed25519 = """
            MCowBQYDK2VwAyEAhHrQmxZzIec7RQqEezmb3MhqLrnadMhNWSryz9KLbY8=
            """
        #expect(kind { _ = try PublicKey(pem: pem("PUBLIC KEY", ed25519)) } == .unsupported)
        let explicit = """
            MIIBzDCCAWQGByqGSM49AgEwggFXAgEBMDwGByqGSM49AQECMQD/////////////
            /////////////////////////////v////8AAAAAAAAAAP////8wewQw////////
            //////////////////////////////////7/////AAAAAAAAAAD////8BDCzMS+n
            4j7n5JiOBWvj+C0ZGB2cbv6BQRIDFAiPUBOHWsZWOY2KLtGdKoXI7dPsKu8DFQCj
            NZJqoxmieh0AiWpnc6SCes2scwRhBKqHyiK+iwU3jrHHHvMgrXRuHTtii6ebmFn3
            QeCCVCo4VQLyXb9VKWw6VF44cnYKtzYX3kqWJixvXZ6Yv5KS3Cn49B29KJoUfOna
            MRO18LjACmCxzh1+gZ16Qx18kOoOXwIxAP//////////////////////////////
            /8djTYH0Ny3fWBoNskiwp3rs7BlqzMUpcwIBAQNiAARpUF+PiKWhx2utLpV0tIpC
            xJcol1nhwUrWJcPcJUFUWZ9QzPZI1FAH0/49JbJSXun3oKJQwCyQx4qBhx5yiLf1
            lRCXMwcO3yyxeexJ8dVWwm2uRVKExJHZQEkfr2l24a0=
            """
        #expect(kind { _ = try PublicKey(pem: pem("PUBLIC KEY", explicit)) } == .unsupported)
        #expect(kind { _ = try PrivateKey.generate(.rsa(bits: 1_024)) } == .unsupported)
        #expect(kind { _ = try PrivateKey.generate(.rsa(bits: 16_384)) } == .unsupported)
    }

    @Test func refuseDERThatIsNotExactlyTheKey() throws {
        let der = try TestKeys.ec.get().publicKey.derBytes
        #expect(kind { _ = try PublicKey(der: []) } == .invalid)
        #expect(kind { _ = try PublicKey(der: der + [0]) } == .invalid)
        #expect(kind { _ = try PublicKey(der: Array(der.dropLast())) } == .invalid)
        #expect(kind { _ = try PublicKey(der: [UInt8](repeating: 0x30, count: 100)) } == .invalid)
    }
}
