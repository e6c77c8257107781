import CCNx
import Failures
import Foundation
import Management
import Signing
import Store
import Templates
import TestSupport
import Testing

@Suite struct ManagementRequestTests {
    private typealias Scene = ManagementScene

    private static let operations: [ManagementRequest.Operation] = [
        .listTemplates, .tag(name: "stable", version: 3), .tag(name: "stable", version: nil),
        .withdraw(version: nil), .listNodes,
        .deploy(template: Scene.template.uri, version: 1, machines: ["a", "b"], size: 1 << 30),
        .snapshot(machine: "a", name: "before"), .deleteSnapshot(machine: "a", name: "before"),
        .listSnapshots(machine: nil),
        .republish(
            .init(machine: "a", snapshot: nil, template: Scene.template.uri, properties: ["k": "v"])
        ),
    ]

    @Test(arguments: operations)
    func isReadAsItIsWritten(_ operation: ManagementRequest.Operation) throws {
        let request = Scene.request(operation, to: Scene.node)
        let signed = try Scene.sign(request)
        let checked = try Scene.check(signed, to: Scene.node, Scene.trust([.manage, .operate]))
        #expect(checked.request == request)
        #expect(checked.target == Scene.node)
        #expect(checked.id == ObjectId(of: signed))
        #expect(checked.key == (try Scene.administrator.get().publicKey.keyId))
    }

    // MARK: Refusals

    @Test(arguments: operations)
    func needsItsRightAndNoOther(_ operation: ManagementRequest.Operation) throws {
        let signed = try Scene.sign(Scene.request(operation, to: Scene.node))
        let right = operation.right
        _ = try Scene.check(signed, to: Scene.node, Scene.trust(right))
        let others = TrustRights([.publish, .manage, .operate, .node]).subtracting(right)
        let refused = failureOf { try Scene.check(signed, to: Scene.node, Scene.trust(others)) }
        #expect(refused?.kind == .notPermitted)
        #expect(refused?.message.contains("no right \(right.names[0])") == true)
        #expect(refused?.hint?.contains("--right \(right.names[0])") == true)
    }

    @Test func isRefusedOfAKeyThatIsNotKnown() throws {
        let request = Scene.request(.tag(name: "stable", version: 1), to: Scene.template)
        let signed = try Scene.sign(request, with: Scene.stranger)
        let trust = try Scene.trust([.manage, .operate])
        #expect(kind { _ = try Scene.check(signed, to: Scene.template, trust) } == .untrusted)
    }

    @Test func isRefusedBesideThePrefixOfTheKey() throws {
        let signed = try Scene.sign(Scene.request(.withdraw(version: 1), to: Scene.template))
        let beside = Scene.namespace.appending(.name("app2"))
        let under = Scene.template.appending(.name("more"))
        for prefix in [beside, under] {
            let trust = try Scene.trust(.manage, for: prefix)
            #expect(
                kind { _ = try Scene.check(signed, to: Scene.template, trust) } == .notPermitted
            )
        }
    }

    /// Of a listing the key sees the part that it has the right for.
    @Test func aListingNeedsARightForSomethingAroundItsTarget() throws {
        for target in [
            Name(), Scene.namespace, Scene.template, Scene.template.appending(.name("x")),
        ] {
            let signed = try Scene.sign(Scene.request(.listTemplates, to: target))
            _ = try Scene.check(signed, to: target, Scene.trust(.manage, for: Scene.template))
        }
        let elsewhere = Name(segments: [.name("other.com")])
        let signed = try Scene.sign(Scene.request(.listTemplates, to: elsewhere))
        let trust = try Scene.trust(.manage)
        #expect(kind { _ = try Scene.check(signed, to: elsewhere, trust) } == .notPermitted)
    }

    @Test func isRefusedWithoutASignature() throws {
        let object = try Scene.request(.listTemplates, to: Scene.namespace).draft()
        let unsigned = try PacketEncoder().encode(.contentObject(object)).wire
        let trust = try Scene.trust(.manage)
        #expect(kind { _ = try Scene.check(unsigned, to: Scene.namespace, trust) } == .untrusted)
    }

    @Test func isRefusedWithTheSignatureOfSomethingElse() throws {
        let key = try Scene.administrator.get()
        let request = try Scene.request(.withdraw(version: 1), to: Scene.template).draft()
        let signed = try SignedContentObject.sign(
            request,
            with: key,
            signatureTimeMilliseconds: nil
        )
        let trust = try Scene.trust(.manage)
        // The version in the payload is another one now.
        let digit = try #require(signed.firstRange(of: Array("\"version\":1".utf8)))
        var changed = signed
        changed[digit.upperBound - 1] = UInt8(ascii: "2")
        #expect(kind { _ = try Scene.check(signed, to: Scene.template, trust) } == nil)
        #expect(kind { _ = try Scene.check(changed, to: Scene.template, trust) } == .untrusted)
    }

    @Test(arguments: [(-301, false), (-300, true), (0, true), (300, true), (301, false)])
    func isOfThisTime(_ difference: Int, _ isTaken: Bool) throws {
        let time = Scene.now + difference
        let signed = try Scene.sign(
            Scene.request(.listTemplates, to: Scene.namespace, time: time)
        )
        let trust = try Scene.trust(.manage)
        let refused = kind { _ = try Scene.check(signed, to: Scene.namespace, trust) }
        #expect(refused == (isTaken ? nil : .timedOut))
    }

    /// A time at either end of what a number can be must not end the node.
    @Test(arguments: [Int.min, Int.max])
    func isRefusedOfATimeThatCannotBe(_ time: Int) throws {
        let request = Scene.request(.listTemplates, to: Scene.namespace, time: time)
        let signed = try SignedContentObject.sign(
            try request.draft(),
            with: try Scene.administrator.get(),
            signatureTimeMilliseconds: nil
        )
        let trust = try Scene.trust(.manage)
        #expect(kind { _ = try Scene.check(signed, to: Scene.namespace, trust) } == .timedOut)
    }

    @Test func isOneToItsTargetOnly() throws {
        let signed = try Scene.sign(Scene.request(.withdraw(version: 1), to: Scene.template))
        let other = Scene.namespace.appending([.name("app1"), .name("other")])
        let trust = try Scene.trust(.manage)
        #expect(kind { _ = try Scene.check(signed, to: other, trust) } == .invalid)
    }

    @Test func isBoundedInSize() throws {
        let machines = (0..<600).map { "a-name-of-thirty-two-bytes-\($0)" }
        let request = Scene.request(
            .deploy(template: Scene.template.uri, version: nil, machines: machines, size: nil),
            to: Scene.node
        )
        let signed = try Scene.sign(request)
        let trust = try Scene.trust(.operate)
        #expect(signed.count > ManagementRequest.byteLimit)
        #expect(kind { _ = try Scene.check(signed, to: Scene.node, trust) } == .tooLarge)
    }

    @Test func isRefusedInANewerFormatAndInNone() throws {
        var request = Scene.request(.listTemplates, to: Scene.namespace)
        request.format = 2
        let trust = try Scene.trust(.manage)
        let newer = try Scene.sign(request)
        #expect(kind { _ = try Scene.check(newer, to: Scene.namespace, trust) } == .unsupported)
        for bytes in [[], [1, 2, 3], [UInt8](repeating: 0, count: 64)] as [[UInt8]] {
            #expect(kind { _ = try Scene.check(bytes, to: Scene.namespace, trust) } == .invalid)
        }
    }

    /// Nothing that comes from elsewhere names a file or directory of the node.
    @Test func namesNoPaths() throws {
        for operation in Self.operations {
            let json = String(
                decoding: try Scene.request(operation, to: Scene.node).draft().payload,
                as: UTF8.self
            )
            for word in ["path", "directory", "overlayPlace", "file"] {
                #expect(!json.contains("\"\(word)\""), "\(json)")
            }
        }
    }

    private func failureOf(_ body: () throws -> CheckedRequest) -> Failure? {
        do {
            _ = try body()
            return nil
        } catch { return error as? Failure }
    }
}
