import Store
import TestSupport
import Testing

@testable import Repositories

struct RecentObjectsTests {
    private func id(_ number: UInt8) -> ObjectId { ObjectId(of: [number]) }
    private func bytes(_ number: UInt8, _ count: Int) -> [UInt8] {
        [UInt8](repeating: number, count: count)
    }

    @Test func forgetsWhatWasUsedLeastRecently() {
        let recent = RecentObjects(byteLimit: 100)
        for number in 1...3 { recent.insert(id(UInt8(number)), bytes(UInt8(number), 30)) }
        #expect(recent.bytes(of: id(1)) == bytes(1, 30))
        recent.insert(id(4), bytes(4, 30))
        #expect(recent.bytes(of: id(2)) == nil)
        for number in [1, 3, 4] { #expect(recent.bytes(of: id(UInt8(number))) != nil) }
        // One that takes the place of several.
        recent.insert(id(5), bytes(5, 95))
        #expect(recent.bytes(of: id(5)) == bytes(5, 95))
        for number in 1...4 { #expect(recent.bytes(of: id(UInt8(number))) == nil) }
    }

    @Test func keepsNothingThatIsTooLargeAndNotMoreThanSoMany() {
        let recent = RecentObjects(byteLimit: 100, countLimit: 2)
        recent.insert(id(1), bytes(1, 101))
        #expect(recent.bytes(of: id(1)) == nil)
        for number in 1...3 { recent.insert(id(UInt8(number)), [1]) }
        #expect(recent.bytes(of: id(1)) == nil)
        #expect(recent.bytes(of: id(2)) == [1] && recent.bytes(of: id(3)) == [1])
    }
}
