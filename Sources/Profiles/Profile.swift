/// What an extent of a disk shows.
package enum ExtentSource: Sendable, Equatable {
    case content(SegmentedContent)
    /// A frozen overlay, by its id, with everything below it.
    case overlay(Int64)

    package static func == (left: ExtentSource, right: ExtentSource) -> Bool {
        switch (left, right) {
        case (.content(let left), .content(let right)):
            left.descriptor == right.descriptor && left.prefix == right.prefix
        case (.overlay(let left), .overlay(let right)): left == right
        default: false
        }
    }
}

/// A run of a disk and what it maps to. Bytes everywhere.
package struct Extent: Sendable {
    package let start: Int
    package let byteCount: Int
    package let source: ExtentSource
    package let sourceStart: Int

    package var end: Int { start + byteCount }
    package var range: Range<Int> { start..<end }
    package var sourceRange: Range<Int> { sourceStart..<sourceStart + byteCount }

    package init(start: Int, byteCount: Int, source: ExtentSource, sourceStart: Int) {
        self.start = start
        self.byteCount = byteCount
        self.source = source
        self.sourceStart = sourceStart
    }

    package init(start: Int, byteCount: Int, content: SegmentedContent, sourceStart: Int) {
        self.init(
            start: start,
            byteCount: byteCount,
            source: .content(content),
            sourceStart: sourceStart
        )
    }

    package var content: SegmentedContent? {
        if case .content(let content) = source { content } else { nil }
    }

    /// The part of it inside `range`; nil if there is none.
    package func clamped(to range: Range<Int>) -> Extent? {
        let part = self.range.clamped(to: range)
        guard !part.isEmpty else { return nil }
        return Extent(
            start: part.lowerBound,
            byteCount: part.count,
            source: source,
            sourceStart: sourceStart + part.lowerBound - start
        )
    }

    /// The same at another place of the disk.
    package func moved(by distance: Int) -> Extent {
        Extent(
            start: start + distance,
            byteCount: byteCount,
            source: source,
            sourceStart: sourceStart
        )
    }

    /// Both as one, if `next` goes on where this ends, on the disk and in the same source.
    func joined(with next: Extent) -> Extent? {
        guard next.start == end, next.sourceStart == sourceStart + byteCount,
            next.source == source
        else { return nil }
        return Extent(
            start: start,
            byteCount: byteCount + next.byteCount,
            source: source,
            sourceStart: sourceStart
        )
    }
}

/// A disk's mapping from sectors to content: extents in order, apart from each other; what none
/// covers reads as zeros. Usually one extent, all of the disk to one template version's disk, or to
/// the overlay that its last snapshot froze.
package struct Profile: Sendable {
    package private(set) var extents: [Extent]

    /// Extents of a disk at most: its rows are written anew with each change.
    package static let extentLimit = 1024

    package init(extents: [Extent] = []) { self.extents = extents }

    /// The extent at `offset`, nil for a hole, and the bytes from `offset` to where that changes,
    /// at most `limit`.
    package func run(at offset: Int, limit: Int) -> (extent: Extent?, byteCount: Int) {
        // The first extent that ends behind the offset.
        var low = 0
        var high = extents.count
        while low < high {
            let middle = (low + high) / 2
            if extents[middle].end <= offset { low = middle + 1 } else { high = middle }
        }
        guard low < extents.count else { return (nil, limit) }
        let extent = extents[low]
        if extent.start > offset { return (nil, min(limit, extent.start - offset)) }
        return (extent, min(limit, extent.end - offset))
    }

    /// Maps `extent.range` to the content of `extent`, whatever was there; neighbours are joined.
    package mutating func map(_ extent: Extent) {
        if extent.byteCount == 0 { return }
        remove(extent.range)
        let index = extents.firstIndex { $0.start > extent.start } ?? extents.count
        extents.insert(extent, at: index)
        if index + 1 < extents.count, let joined = extents[index].joined(with: extents[index + 1]) {
            extents.replaceSubrange(index...index + 1, with: [joined])
        }
        if index > 0, let joined = extents[index - 1].joined(with: extents[index]) {
            extents.replaceSubrange(index - 1...index, with: [joined])
        }
    }

    /// Makes `range` a hole.
    package mutating func remove(_ range: Range<Int>) {
        extents = extents.flatMap { extent in
            [
                extent.clamped(to: 0..<range.lowerBound),
                extent.clamped(to: range.upperBound..<Int.max),
            ].compactMap(\.self)
        }
    }

    /// The extents inside `range`, cut to it.
    package func extents(in range: Range<Int>) -> [Extent] {
        extents.compactMap { $0.clamped(to: range) }
    }

    /// Cuts off what lies behind `size`.
    package mutating func clip(to size: Int) { remove(size..<Int.max) }
}
