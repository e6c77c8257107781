package import Failures
package import Store

/// Builds a manifest from segment ids that come in order of position, holes left out.
///
/// Keeps one node and 32 bytes for each finished one; finished nodes go to `emit`.
package struct ManifestBuilder {
    package typealias Emit = (_ id: ObjectId, _ bytes: [UInt8]) throws(Failure) -> Void

    private var open: [ObjectId] = []
    private var openIndex = 0
    private var finished: [ObjectId] = []

    package init() {}

    /// - Parameter position: higher than all before.
    package mutating func append(
        _ id: ObjectId,
        at position: Int,
        emit: Emit
    ) throws(Failure) {
        let index = position / ManifestNode.fanout
        if index != openIndex { try close(next: index, emit) }
        let entry = position % ManifestNode.fanout
        precondition(entry >= open.count, "segments come in order of position")
        open.append(contentsOf: repeatElement(.hole, count: entry - open.count))
        open.append(id)
    }

    /// Takes over a whole node of segments `index * 1024 …` that another tree has.
    package mutating func append(leaf id: ObjectId, at index: Int, emit: Emit) throws(Failure) {
        precondition(index >= openIndex, "nodes come in order of position")
        if index != openIndex { try close(next: index, emit) }
        precondition(open.isEmpty, "a node is taken over whole")
        finished.append(id)
        openIndex = index + 1
    }

    /// Finishes the tree over `size` bytes.
    package mutating func finish(
        size: Int,
        segmentSize: Int,
        emit: Emit
    ) throws(Failure) -> ContentDescriptor {
        let levels = ManifestNode.levels(size: size, segmentSize: segmentSize)
        let root: ObjectId
        if levels == 0 {
            root = open.first ?? .hole
        } else {
            if !open.isEmpty || finished.isEmpty { try close(next: openIndex + 1, emit) }
            var nodes = finished
            for _ in 1..<levels {
                var above: [ObjectId] = []
                for start in stride(from: 0, to: nodes.count, by: ManifestNode.fanout) {
                    let end = min(start + ManifestNode.fanout, nodes.count)
                    above.append(try Self.node(nodes[start..<end], emit))
                }
                nodes = above
            }
            precondition(nodes.count <= 1, "the levels span the size")
            root = nodes.first ?? .hole
        }
        return ContentDescriptor(
            root: root,
            size: size,
            segmentSize: segmentSize,
            levels: levels
        )
    }

    private mutating func close(next index: Int, _ emit: Emit) throws(Failure) {
        finished.append(try Self.node(open[...], emit))
        finished.append(contentsOf: repeatElement(.hole, count: index - openIndex - 1))
        open.removeAll(keepingCapacity: true)
        openIndex = index
    }

    private static func node(_ entries: ArraySlice<ObjectId>, _ emit: Emit) throws(Failure)
        -> ObjectId
    {
        let bytes = ManifestNode.encode(entries)
        if bytes.isEmpty { return .hole }
        let id = ObjectId(of: bytes)
        try emit(id, bytes)
        return id
    }
}
