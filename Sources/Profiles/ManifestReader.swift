package import CCNx
package import Failures
package import Store
internal import Synchronization

/// Walks the manifest of one content; nodes are fetched when first needed.
///
/// Concurrency: any thread; `nodes` guards the interior nodes kept.
package final class ManifestReader: Sendable {
    package let descriptor: ContentDescriptor
    package let prefix: Name
    private let source: any ContentSource
    private let nodes = Mutex<[NodeKey: [ObjectId]]>([:])

    private struct NodeKey: Hashable {
        let level: Int
        let index: Int
    }

    /// Interior nodes kept; 256 of level 2 span 8 TiB at 32 KiB segments.
    private static let nodeLimit = 512

    package init(_ descriptor: ContentDescriptor, prefix: Name, source: any ContentSource) {
        self.descriptor = descriptor
        self.prefix = prefix
        self.source = source
    }

    package var leafCount: Int {
        (descriptor.segmentCount + ManifestNode.fanout - 1) / ManifestNode.fanout
    }

    /// The ids of segments `index * 1024 …`, trailing holes left out; empty for a hole.
    package func leaf(_ index: Int) async throws(Failure) -> [ObjectId] {
        guard !descriptor.root.isHole else { return [] }
        if descriptor.levels == 0 { return [descriptor.root] }
        let ids = try await node(level: 1, index: index)
        guard index * ManifestNode.fanout + ids.count <= descriptor.segmentCount else {
            throw Failure(.corrupt, "the manifest of \(prefix) goes on behind the content's end")
        }
        return ids
    }

    /// Gets leaves into the store, some at once.
    ///
    /// - Returns: false if one cannot be had.
    package func fetchLeaves(_ indices: Range<Int>, atOnce count: Int) async -> Bool {
        for start in stride(from: indices.lowerBound, to: indices.upperBound, by: count) {
            let isComplete = await withTaskGroup { group in
                for index in start..<min(start + count, indices.upperBound) {
                    group.addTask { (try? await self.leaf(index)) != nil }
                }
                return await group.allSatisfy(\.self)
            }
            if !isComplete { return false }
        }
        return true
    }

    /// The id of the node of segments `index * 1024 …`; the node itself is not fetched.
    ///
    /// Only where there are such nodes: `levels` is at least 1.
    package func leafId(_ index: Int) async throws(Failure) -> ObjectId {
        precondition(descriptor.levels > 0, "a single segment has no node")
        if descriptor.root.isHole { return .hole }
        return try await nodeId(level: 1, index: index)
    }

    private func nodeId(level: Int, index: Int) async throws(Failure) -> ObjectId {
        if level == descriptor.levels { return descriptor.root }
        let parent = try await node(level: level + 1, index: index / ManifestNode.fanout)
        let entry = index % ManifestNode.fanout
        return entry < parent.count ? parent[entry] : .hole
    }

    private func node(level: Int, index: Int) async throws(Failure) -> [ObjectId] {
        let key = NodeKey(level: level, index: index)
        if let known = nodes.withLock({ $0[key] }) { return known }
        let id = try await nodeId(level: level, index: index)
        if id.isHole { return [] }
        let bytes: [UInt8]
        do throws(Failure) {
            bytes = try await source.object(ObjectRequest(id, under: prefix))
        } catch {
            throw error.wrapped("manifest node \(id) of \(prefix) cannot be had")
        }
        let ids = try ManifestNode.decode(bytes)
        // Leaves are kept by those who read segments.
        if level > 1 {
            nodes.withLock { nodes in
                if nodes.count >= Self.nodeLimit { nodes.removeAll() }
                nodes[key] = ids
            }
        }
        return ids
    }

    /// Every object of the tree: nodes and segments, each once a mention.
    package func forEachObject(
        _ body: (_ id: ObjectId, _ isSegment: Bool) throws(Failure) -> Void
    ) async throws(Failure) {
        try await walk(descriptor.root, level: descriptor.levels, body)
    }

    private func walk(
        _ id: ObjectId,
        level: Int,
        _ body: (_ id: ObjectId, _ isSegment: Bool) throws(Failure) -> Void
    ) async throws(Failure) {
        if id.isHole { return }
        try body(id, level == 0)
        if level == 0 { return }
        let bytes = try await source.object(ObjectRequest(id, under: prefix))
        for child in try ManifestNode.decode(bytes) {
            try await walk(child, level: level - 1, body)
        }
    }
}
