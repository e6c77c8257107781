package import CCNx
package import Failures

/// Whom to ask for what: name prefixes and, for each, faces in order of cost (RFC 8569 section 2.4.4).
///
/// A tree with one level a segment, so that finding the longest prefix takes time linear in the name.
package struct FIB: Sendable {
    package struct NextHop: Hashable, Sendable {
        package let face: FaceId
        /// Lower is asked first.
        package let cost: UInt32
    }

    private struct Node {
        var children: [NameSegment: Node] = [:]
        /// By cost, then by face.
        var nextHops: [NextHop] = []
    }

    package private(set) var routeCount = 0
    private var root = Node()
    private var prefixes: [FaceId: Set<Name>] = [:]
    private let limits: ForwarderLimits

    package init(limits: ForwarderLimits = ForwarderLimits()) {
        self.limits = limits
    }

    /// Adds a route, or changes its cost if it is there.
    package mutating func addRoute(
        _ prefix: Name,
        to face: FaceId,
        cost: UInt32
    ) throws(Failure) {
        guard prefix.segments.count <= limits.prefixSegmentCount else {
            throw Failure(
                .tooLarge,
                "\(prefix) has more than \(limits.prefixSegmentCount) segments to be routed"
            )
        }
        let isNew = prefixes[face]?.contains(prefix) != true
        guard !isNew || routeCount < limits.routeCount else {
            throw Failure(.tooLarge, "there are \(limits.routeCount) routes already")
        }
        if isNew { routeCount += 1 }
        prefixes[face, default: []].insert(prefix)
        Self.update(&root, prefix.segments[...]) { nextHops in
            nextHops.removeAll { $0.face == face }
            nextHops.append(NextHop(face: face, cost: cost))
            nextHops.sort { ($0.cost, $0.face) < ($1.cost, $1.face) }
        }
    }

    /// Does nothing if there is no such route.
    package mutating func removeRoute(_ prefix: Name, to face: FaceId) {
        guard prefixes[face]?.remove(prefix) != nil else { return }
        if prefixes[face]?.isEmpty == true { prefixes[face] = nil }
        routeCount -= 1
        Self.update(&root, prefix.segments[...]) { $0.removeAll { $0.face == face } }
    }

    package mutating func removeRoutes(to face: FaceId) {
        for prefix in prefixes[face] ?? [] { removeRoute(prefix, to: face) }
    }

    /// The next hops of the longest prefix of `name` that has any; empty if none has.
    package func nextHops(for name: Name) -> [NextHop] {
        var node = root
        var longest = node.nextHops
        for segment in name.segments {
            guard let child = node.children[segment] else { break }
            node = child
            if !node.nextHops.isEmpty { longest = node.nextHops }
        }
        return longest
    }

    private static func update(
        _ node: inout Node,
        _ rest: ArraySlice<NameSegment>,
        _ change: (inout [NextHop]) -> Void
    ) {
        guard let segment = rest.first else { return change(&node.nextHops) }
        update(&node.children[segment, default: Node()], rest.dropFirst(), change)
        if let child = node.children[segment], child.nextHops.isEmpty, child.children.isEmpty {
            node.children[segment] = nil
        }
    }
}
