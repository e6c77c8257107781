package import CCNx
package import Failures

/// What a repository knows of the nodes that report to it: the newest whole report of each, and the face that
/// leads to it. In memory only; nodes report again.
///
/// A node that does not report any more loses its route when its last report is over, and is remembered as late
/// for a day. No I/O, no clock: `now` is seconds of the caller's monotonic clock.
package struct InventoryBook: Sendable {
    package struct Entry: Sendable {
        package let node: Name
        package var key: KeyId
        /// Of the newest whole report.
        package var serial: UInt64 = 0
        package var machines: [Inventory.Machine] = []
        /// When the last part of any report came.
        package var heard: Int
        /// Leads to the node while it is not late.
        package var face: FaceId?
        fileprivate var newestSerial: UInt64
        /// Of the report that is coming in, by number.
        fileprivate var parts: [Int: [Inventory.Machine]] = [:]
        fileprivate var partBytes: [Int: Int] = [:]
        fileprivate var byteCount = 0

        fileprivate var totalByteCount: Int { byteCount + partBytes.values.reduce(0, +) }
        /// No part of any report came for longer than it is good.
        package func isLate(at now: Int) -> Bool { now >= heard + Inventory.lifetime }
    }

    /// A route that is to be made or taken away.
    package enum RouteChange: Hashable, Sendable {
        case add(Name, FaceId)
        case remove(Name, FaceId)
    }

    package enum Outcome: Sendable {
        case taken([RouteChange])
        case older(than: UInt64)
    }

    private var entries: [Name: Entry] = [:]
    private var byteCount = 0
    private let nodeLimit: Int
    private let byteLimit: Int

    /// Seconds for which a late node is remembered.
    package static let memory = 24 * 3600

    package init(nodeLimit: Int = 4_096, byteLimit: Int = 64 << 20) {
        self.nodeLimit = nodeLimit
        self.byteLimit = byteLimit
    }

    /// By name.
    package var all: [Entry] { entries.values.sorted { $0.node < $1.node } }

    /// Nil if there is no such node, or it is late.
    package func face(of node: Name, now: Int) -> FaceId? {
        guard let entry = entries[node], !entry.isLate(at: now) else { return nil }
        return entry.face
    }

    /// Takes a part whose signature was checked. What is over should have been ended before: ``expire(now:)``.
    ///
    /// - Parameter byteCount: of the part as it came.
    /// - Throws: `.busy` if there is no room for it.
    package mutating func take(
        _ part: Inventory,
        of node: Name,
        key: KeyId,
        byteCount partByteCount: Int,
        from face: FaceId,
        now: Int
    ) throws(Failure) -> Outcome {
        let known = entries[node]
        if let known, part.serial < known.newestSerial { return .older(than: known.newestSerial) }
        var entry = known ?? Entry(node: node, key: key, heard: now, newestSerial: part.serial)
        // One that was whole already, or a part that came already: its answer was lost.
        let isAgain =
            known != nil && part.serial == entry.newestSerial
            && (entry.serial == part.serial || entry.parts[part.part] != nil)
        if isAgain {
            // A copy that somebody else sends is no way to the node.
            guard entry.face == face, entry.key == key else {
                return .older(than: entry.newestSerial)
            }
            return .taken([])
        }
        if part.serial > entry.newestSerial {
            (entry.parts, entry.partBytes) = ([:], [:])
            entry.newestSerial = part.serial
        }
        try checkRoom(for: partByteCount, of: node)
        entry.parts[part.part] = part.machines
        entry.partBytes[part.part] = partByteCount
        entry.key = key
        entry.heard = now
        var changes: [RouteChange] = []
        if entry.face != face {
            if let before = entry.face { changes.append(.remove(node, before)) }
            entry.face = face
        }
        // Each time: the face may have lost its routes since.
        changes.append(.add(node, face))
        if entry.parts.count == part.partCount { entry.complete(part.serial) }
        byteCount += entry.totalByteCount - (known?.totalByteCount ?? 0)
        entries[node] = entry
        return .taken(changes)
    }

    /// Ends the routes of nodes that are late, and forgets those that are for long.
    package mutating func expire(now: Int) -> [RouteChange] {
        var changes: [RouteChange] = []
        for (node, entry) in entries where entry.isLate(at: now) {
            if let face = entry.face {
                changes.append(.remove(node, face))
                entries[node]?.face = nil
            }
            if now >= entry.heard + Self.memory { forget(node) }
        }
        return changes
    }

    private mutating func forget(_ node: Name) {
        guard let entry = entries.removeValue(forKey: node) else { return }
        byteCount -= entry.totalByteCount
    }

    /// Late nodes make room, those first that are so for the longest.
    private mutating func checkRoom(for more: Int, of node: Name) throws(Failure) {
        let isNew = entries[node] == nil
        while byteCount + more > byteLimit || isNew && entries.count >= nodeLimit {
            let late = entries.values.filter { $0.face == nil && $0.node != node }
                .min { $0.heard < $1.heard }
            guard let late else {
                throw Failure(
                    .busy,
                    "this node knows \(entries.count) nodes with \(byteCount) bytes and takes no more"
                )
            }
            forget(late.node)
        }
    }
}

extension InventoryBook.Entry {
    fileprivate mutating func complete(_ serial: UInt64) {
        machines = parts.sorted { $0.key < $1.key }.flatMap(\.value)
        byteCount = partBytes.values.reduce(0, +)
        self.serial = serial
        (parts, partBytes) = ([:], [:])
    }
}
