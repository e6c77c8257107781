import CCNx
import Failures
import Management
import TestSupport
import Testing

@Suite struct InventoryBookTests {
    private typealias Scene = ManagementScene

    private static let key = KeyId(SHA256Digest(word0: 1, word1: 2, word2: 3, word3: 4))
    private static let otherKey = KeyId(SHA256Digest(word0: 5, word1: 6, word2: 7, word3: 8))
    private static let face = FaceId(7)
    private static let otherFace = FaceId(8)

    private func part(
        _ machines: [String],
        serial: UInt64,
        part: Int = 0,
        of count: Int = 1
    ) -> Inventory {
        Inventory(
            node: Scene.node,
            serial: serial,
            time: 0,
            part: part,
            partCount: count,
            machines: machines.map { Scene.machine($0) }
        )
    }

    @discardableResult
    private func take(
        _ book: inout InventoryBook,
        _ part: Inventory,
        of node: Name = Scene.node,
        key: KeyId = Self.key,
        bytes: Int = 1_000,
        from face: FaceId = Self.face,
        now: Int = Scene.now
    ) throws(Failure) -> [InventoryBook.RouteChange]? {
        switch try book.take(part, of: node, key: key, byteCount: bytes, from: face, now: now) {
        case .taken(let changes): changes
        case .older: nil
        }
    }

    private func machines(_ book: InventoryBook) -> [String] {
        book.all.flatMap { $0.machines.map(\.name) }
    }

    @Test func keepsTheNewestAndLeadsToItsNode() throws {
        var book = InventoryBook()
        #expect(try take(&book, part(["a"], serial: 5)) == [.add(Scene.node, Self.face)])
        #expect(machines(book) == ["a"])
        #expect(book.face(of: Scene.node, now: Scene.now) == Self.face)
        #expect(book.face(of: Scene.otherNode, now: Scene.now) == nil)
        #expect(try take(&book, part(["b"], serial: 6)) == [.add(Scene.node, Self.face)])
        #expect(machines(book) == ["b"])
        // An old one, whoever sends it.
        #expect(try take(&book, part(["c"], serial: 5), from: Self.otherFace) == nil)
        #expect(machines(book) == ["b"])
        #expect(book.face(of: Scene.node, now: Scene.now) == Self.face)
    }

    @Test func aCopyThatSomebodyElseSendsLeadsNowhere() throws {
        var book = InventoryBook()
        try take(&book, part(["a"], serial: 5))
        #expect(try take(&book, part(["a"], serial: 5)) == [])
        #expect(try take(&book, part(["a"], serial: 5), from: Self.otherFace) == nil)
        #expect(try take(&book, part(["a"], serial: 5), key: Self.otherKey) == nil)
        #expect(book.face(of: Scene.node, now: Scene.now) == Self.face)
    }

    @Test func followsANodeToItsNewFace() throws {
        var book = InventoryBook()
        try take(&book, part(["a"], serial: 5))
        let changes = try take(&book, part(["a"], serial: 6), from: Self.otherFace)
        #expect(changes == [.remove(Scene.node, Self.face), .add(Scene.node, Self.otherFace)])
    }

    @Test func showsAReportOnceAllItsPartsAreThere() throws {
        var book = InventoryBook()
        try take(&book, part(["old"], serial: 4))
        try take(&book, part(["c"], serial: 5, part: 2, of: 3))
        try take(&book, part(["a"], serial: 5, part: 0, of: 3))
        try take(&book, part(["a"], serial: 5, part: 0, of: 3))
        #expect(machines(book) == ["old"])
        try take(&book, part(["b"], serial: 5, part: 1, of: 3))
        #expect(machines(book) == ["a", "b", "c"])
        // The rest of one that a later one has overtaken.
        try take(&book, part(["x"], serial: 7, part: 0, of: 2))
        #expect(try take(&book, part(["y"], serial: 6, part: 1, of: 2)) == nil)
        #expect(machines(book) == ["a", "b", "c"])
    }

    @Test func endsTheRouteToANodeThatIsLateAndForgetsItADayLater() throws {
        var book = InventoryBook()
        try take(&book, part(["a"], serial: 5))
        let end = Scene.now + Inventory.lifetime
        #expect(book.expire(now: end - 1).isEmpty)
        #expect(book.face(of: Scene.node, now: end) == nil)
        #expect(book.expire(now: end) == [.remove(Scene.node, Self.face)])
        #expect(book.expire(now: end).isEmpty)
        #expect(book.all.map { $0.isLate(at: end) } == [true])
        #expect(machines(book) == ["a"])
        // It is back.
        #expect(
            try take(&book, part(["a"], serial: 6), now: end) == [.add(Scene.node, Self.face)]
        )
        #expect(book.face(of: Scene.node, now: end) == Self.face)
        _ = book.expire(now: end + InventoryBook.memory)
        #expect(book.all.isEmpty)
    }

    @Test func isBoundedAndLateNodesMakeRoom() throws {
        var book = InventoryBook(nodeLimit: 2, byteLimit: 2_500)
        try take(&book, part([], serial: 1))
        let later = Scene.now + Inventory.lifetime
        try take(&book, part([], serial: 1), of: Scene.otherNode, now: later)
        let third = Scene.namespace.appending([.name("nodes"), .name("host3")])
        // The first is late.
        _ = book.expire(now: later)
        try take(&book, part([], serial: 1), of: third, now: later)
        #expect(book.all.map(\.node) == [Scene.otherNode, third])
        #expect(kind { try take(&book, part([], serial: 1), now: later) } == .busy)
        // A node that is known may grow as far as there is room.
        #expect(
            kind { try take(&book, part([], serial: 2), of: third, bytes: 600, now: later) }
                == .busy
        )
        try take(&book, part([], serial: 2), of: third, bytes: 500, now: later)
        try take(&book, part([], serial: 3), of: third, bytes: 500, now: later)
        try take(&book, part([], serial: 4), of: third, bytes: 1_000, now: later)
    }
}
