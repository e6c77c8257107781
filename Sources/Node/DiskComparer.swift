internal import CCNx
internal import Control
internal import Disks
internal import Failures
internal import Profiles
internal import Store
internal import Templates

/// Says where two disks differ, by what their bytes come from: nothing is read.
///
/// Bytes are the same where both are zeros, where both are the same block of the same overlay, and where
/// both are segments with the same id. Everything else may differ.
enum DiskComparer {
    /// What a disk is made of, from its beginning to its end.
    struct Side: Sendable {
        let size: Int
        let pieces: [(range: Range<Int>, piece: DiskView.Piece)]

        init(_ disk: some ViewedDisk) throws(Failure) {
            (size, pieces) = try disk.withView { ($0.size, $0.pieces(in: 0..<$0.size)) }
        }

        init(_ content: SegmentedContent) {
            size = content.descriptor.size
            pieces = [(range: 0..<size, piece: .content(content, offset: 0))]
        }
    }

    /// The ranges that may differ, joined; behind the shorter one's end all does.
    static func differences(_ from: Side, _ to: Side) async throws(Failure) -> [Range<Int>] {
        var changed: [Range<Int>] = []
        func add(_ range: Range<Int>) {
            if range.isEmpty { return }
            if let last = changed.last, last.upperBound == range.lowerBound {
                changed[changed.count - 1] = last.lowerBound..<range.upperBound
            } else {
                changed.append(range)
            }
        }
        var (left, right) = (0, 0)
        var position = 0
        let end = min(from.size, to.size)
        while position < end {
            let (a, b) = (from.pieces[left], to.pieces[right])
            let range = position..<min(a.range.upperBound, b.range.upperBound, end)
            let places = (
                Place(a.piece, range.lowerBound - a.range.lowerBound),
                Place(b.piece, range.lowerBound - b.range.lowerBound)
            )
            for part in try await different(places.0, places.1, range) { add(part) }
            position = range.upperBound
            if position == a.range.upperBound { left += 1 }
            if position == b.range.upperBound { right += 1 }
        }
        add(end..<max(from.size, to.size))
        return changed
    }

    /// Where one byte comes from.
    private enum Place {
        case zeros
        case block(overlay: Int64, offset: Int)
        case content(SegmentedContent, offset: Int)

        init(_ piece: DiskView.Piece, _ distance: Int) {
            switch piece {
            case .hole, .zero: self = .zeros
            case .written(let blocks):
                self = .block(overlay: blocks.overlay, offset: blocks.offset + distance)
            case .content(let content, let offset):
                self = .content(content, offset: offset + distance)
            }
        }
    }

    private static func different(
        _ from: Place,
        _ to: Place,
        _ range: Range<Int>
    ) async throws(Failure) -> [Range<Int>] {
        switch (from, to) {
        case (.zeros, .zeros): return []
        case (.block(let left, let leftOffset), .block(let right, let rightOffset)):
            return left == right && leftOffset == rightOffset ? [] : [range]
        case (.content(let left, let leftOffset), .content(let right, let rightOffset)):
            if left.descriptor == right.descriptor, leftOffset == rightOffset { return [] }
            guard left.descriptor.segmentSize == right.descriptor.segmentSize,
                (leftOffset - rightOffset) % left.descriptor.segmentSize == 0
            else { return [range] }
            return try await different(left, leftOffset, right, rightOffset, range)
        case (.content(let content, let offset), .zeros),
            (.zeros, .content(let content, let offset)):
            let size = content.descriptor.segmentSize
            let source = offset..<offset + range.count
            return try await segments(content, source).keys.map { position in
                let segment = (position * size..<(position + 1) * size).clamped(to: source)
                let start = range.lowerBound + segment.lowerBound - offset
                return start..<start + segment.count
            }.sorted { $0.lowerBound < $1.lowerBound }
        case (.block, _), (_, .block): return [range]
        }
    }

    /// The ids of all segments that have bytes in a range; holes left out.
    private static func segments(
        _ content: SegmentedContent,
        _ range: Range<Int>
    ) async throws(Failure) -> [Int: ObjectId] {
        let size = content.descriptor.segmentSize
        let found = try await content.segments(
            in: range.lowerBound / size * size..<range.upperBound
        )
        return Dictionary(uniqueKeysWithValues: found.map { ($0.position, $0.id) })
    }

    private static func different(
        _ left: SegmentedContent,
        _ leftOffset: Int,
        _ right: SegmentedContent,
        _ rightOffset: Int,
        _ range: Range<Int>
    ) async throws(Failure) -> [Range<Int>] {
        let size = left.descriptor.segmentSize
        let leftIds = try await segments(left, leftOffset..<leftOffset + range.count)
        let rightIds = try await segments(right, rightOffset..<rightOffset + range.count)
        var changed: [Range<Int>] = []
        for position in leftOffset / size...(leftOffset + range.count - 1) / size {
            let other = position + (rightOffset - leftOffset) / size
            if leftIds[position] == rightIds[other] { continue }
            let segment = (position * size..<(position + 1) * size)
                .clamped(to: leftOffset..<leftOffset + range.count)
            let start = range.lowerBound + segment.lowerBound - leftOffset
            changed.append(start..<start + segment.count)
        }
        return changed
    }
}

extension NodeOperations {
    func compare(
        _ from: ControlRequest.DiskSet,
        _ to: ControlRequest.DiskSet
    ) async throws(Failure) -> Difference {
        let left = try sides(of: from)
        let right = try sides(of: to)
        var disks: [Difference.Disk] = []
        for name in Set(left.disks.keys).union(right.disks.keys).sorted() {
            let (a, b) = (left.disks[name], right.disks[name])
            var ranges: [Range<Int>] = []
            if let a, let b {
                ranges = try await DiskComparer.differences(a, b)
            } else if let size = a?.size ?? b?.size, size > 0 {
                ranges = [0..<size]
            }
            disks.append(
                Difference.Disk(
                    name: name,
                    fromSize: a?.size,
                    toSize: b?.size,
                    changedBytes: ranges.reduce(0) { $0 + $1.count },
                    ranges: ranges.map {
                        Difference.Range(start: $0.lowerBound, byteCount: $0.count)
                    }
                )
            )
        }
        return Difference(from: left.name, to: right.name, disks: disks)
    }

    private func sides(
        of set: ControlRequest.DiskSet
    ) throws(Failure) -> (name: String, disks: [String: DiskComparer.Side]) {
        var disks: [String: DiskComparer.Side] = [:]
        switch set {
        case .machine(let name):
            for (disk, value) in try homes.machines.existing(name).disks {
                disks[disk] = try DiskComparer.Side(value)
            }
            return (name, disks)
        case .snapshot(let machine, let name):
            for (disk, view) in try homes.machines.pinDisks(of: machine, snapshot: name) {
                disks[disk] = try DiskComparer.Side(view)
            }
            return ("\(machine)@\(name)", disks)
        case .origin(let name):
            guard let template = try homes.machines.existing(name).template else {
                throw Failure(
                    .usage,
                    "VM \(name) was not deployed from a template",
                    hint: "name what to compare it with"
                )
            }
            return try sides(
                of: .template(
                    template.uri,
                    version: homes.machines.existing(name).templateVersion
                )
            )
        case .template(let uri, let version):
            let name = try Name(uri: uri)
            let (served, record) = try homes.templates.served(name, version: version)
            for item in record.disks {
                disks[item.name] = DiskComparer.Side(
                    homes.templates.content(item.content, prefix: name)
                )
            }
            return ("\(name.uri)@\(served.number)", disks)
        }
    }
}
