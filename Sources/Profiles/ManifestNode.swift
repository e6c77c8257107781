package import Failures
package import Store

/// The positional radix tree over a content's segments.
///
/// ```
///   level 2              [ id  id  hole  id … ]          up to 1,024 entries of 32 bytes
///                          |   |         |
///   level 1     [ id hole id … ] [ … ]  [ … ]
///                 |       |
///   segments    32 KiB  32 KiB                           entry i of level 1 node n: segment n * 1024 + i
/// ```
/// A hole (32 zero bytes) stands for zeros of whatever size is below it. One form for one content:
/// trailing holes are left out, and a node of nothing but holes is itself a hole.
package enum ManifestNode {
    package static let fanout = 1024

    /// Levels of the tree over `size` bytes: the least that spans them.
    package static func levels(size: Int, segmentSize: Int) -> Int {
        var levels = 0
        var span = segmentSize
        while span < size {
            span *= fanout
            levels += 1
        }
        return levels
    }

    /// - Returns: empty when all entries are holes.
    package static func encode(_ entries: some BidirectionalCollection<ObjectId>) -> [UInt8] {
        guard let last = entries.lastIndex(where: { !$0.isHole }) else { return [] }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(fanout * ObjectId.byteCount)
        for id in entries[...last] { bytes.append(contentsOf: id.bytes) }
        return bytes
    }

    /// - Throws: `.corrupt` for anything but the one canonical form.
    package static func decode(_ bytes: [UInt8]) throws(Failure) -> [ObjectId] {
        let count = bytes.count / ObjectId.byteCount
        guard count > 0, count <= fanout, bytes.count == count * ObjectId.byteCount else {
            throw Failure(.corrupt, "a manifest node cannot have \(bytes.count) bytes")
        }
        var ids: [ObjectId] = []
        ids.reserveCapacity(count)
        for start in stride(from: 0, to: bytes.count, by: ObjectId.byteCount) {
            guard let id = ObjectId(bytes: Array(bytes[start..<start + ObjectId.byteCount])) else {
                throw Failure(.corrupt, "a manifest node has an entry that is no id")
            }
            ids.append(id)
        }
        guard ids.last?.isHole == false else {
            throw Failure(.corrupt, "a manifest node ends in holes")
        }
        return ids
    }
}
