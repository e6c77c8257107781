/// When to look at what: a binary heap, earliest first. Who takes an item looks whether it still counts.
package struct TimerHeap: Sendable {
    package struct Item: Sendable {
        package let time: UInt64
        package let serial: UInt64

        package init(time: UInt64, serial: UInt64) {
            self.time = time
            self.serial = serial
        }
    }

    private var items: [Item] = []

    package init() {}

    /// Takes linear time.
    package init(_ items: [Item]) {
        self.items = items
        for index in stride(from: items.count / 2 - 1, through: 0, by: -1) { siftDown(index) }
    }

    package var count: Int { items.count }
    package var first: Item? { items.first }

    package mutating func insert(_ item: Item) {
        items.append(item)
        var child = items.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard items[child].time < items[parent].time else { return }
            items.swapAt(child, parent)
            child = parent
        }
    }

    package mutating func popFirst() -> Item? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        if !items.isEmpty {
            items[0] = last
            siftDown(0)
        }
        return first
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        while true {
            var smallest = parent
            for child in (2 * parent + 1)...(2 * parent + 2) where child < items.count {
                if items[child].time < items[smallest].time { smallest = child }
            }
            guard smallest != parent else { return }
            items.swapAt(parent, smallest)
            parent = smallest
        }
    }
}
