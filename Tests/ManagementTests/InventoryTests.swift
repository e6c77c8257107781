import CCNx
import Failures
import Management
import Signing
import Store
import Templates
import TestSupport
import Testing

@Suite struct InventoryTests {
    private typealias Scene = ManagementScene

    private func parts(
        _ machines: [Inventory.Machine],
        node: Name = Scene.node,
        serial: UInt64 = 5,
        now: Int = Scene.now,
        with key: Result<PrivateKey, any Error> = Scene.administrator
    ) throws -> [[UInt8]] {
        try Inventory.signedParts(
            of: machines,
            node: node,
            serial: serial,
            now: now,
            with: try key.get()
        )
    }

    private func check(_ part: [UInt8], _ trust: TrustPolicy) throws -> Inventory {
        try Inventory.checked(
            part,
            key: try Scene.administrator.get().publicKey.keyId,
            trust: trust,
            now: Scene.now
        ).part
    }

    @Test(arguments: [0, 1, 4_096])
    func comesInPartsThatFitAPacket(_ count: Int) throws {
        let machines = (0..<count).map { Scene.machine("web-\($0)", snapshots: $0 % 3) }
        let parts = try parts(machines)
        let trust = try Scene.trust(.node, for: Scene.node)
        #expect(parts.allSatisfy { $0.count <= Inventory.partByteLimit })
        #expect((1...Inventory.partLimit).contains(parts.count))
        var found: [Inventory.Machine] = []
        for (number, part) in parts.enumerated() {
            let read = try check(part, trust)
            #expect(read.part == number)
            #expect(read.partCount == parts.count)
            found += read.machines
        }
        #expect(found == machines)
    }

    @Test func isRefusedWhereItDoesNotFit() throws {
        let large = Scene.machine("web", snapshots: 4_000)
        #expect(kind { _ = try parts([large]) } == .tooLarge)
        let many = (0..<100).map { Scene.machine("web-\($0)", snapshots: 2_000) }
        #expect(kind { _ = try parts(many) } == .tooLarge)
    }

    @Test func isRefusedOfAKeyThatMayNotBeThatNode() throws {
        let part = try #require(try parts([]).first)
        let others = [
            try Scene.trust([.publish, .manage, .operate]),
            try Scene.trust(.node, for: Scene.otherNode),
        ]
        for trust in others {
            #expect(kind { _ = try check(part, trust) } == .notPermitted)
        }
        #expect(kind { _ = try check(part, TrustPolicy([])) } == .untrusted)
        let foreign = try #require(try parts([], with: Scene.stranger).first)
        #expect(kind { _ = try check(foreign, Scene.trust(.node)) } == .invalid)
    }

    @Test func isRefusedWithTheSignatureOfSomethingElse() throws {
        let part = try #require(try parts([Scene.machine("web-01")]).first)
        let place = try #require(part.firstRange(of: Array("web-01".utf8)))
        var changed = part
        changed[place.upperBound - 1] = UInt8(ascii: "2")
        #expect(kind { _ = try check(part, Scene.trust(.node)) } == nil)
        #expect(kind { _ = try check(changed, Scene.trust(.node)) } == .untrusted)
    }

    @Test(arguments: [-301, 301])
    func isRefusedOfAnotherTime(_ difference: Int) throws {
        let part = try #require(try parts([], now: Scene.now + difference).first)
        #expect(kind { _ = try check(part, Scene.trust(.node)) } == .timedOut)
    }

    @Test func isRefusedOfANodeWithoutAProperName() throws {
        for node in [Scene.namespace, Scene.namespace.appending(.name("@catalog"))] {
            let part = try #require(try parts([], node: node).first)
            #expect(kind { _ = try check(part, Scene.trust(.node)) } == .invalid)
        }
    }

    @Test(arguments: [0, .max, Inventory.highestSerial(now: Scene.now) + 1] as [UInt64])
    func isRefusedWithASerialThatLeavesNoneBehindIt(_ serial: UInt64) throws {
        let part = try #require(try parts([], serial: serial).first)
        #expect(kind { _ = try check(part, Scene.trust(.node)) } == .invalid)
    }
}
