internal import CCNx
internal import Files

/// Inodes the kernel knows, by number.
///
/// A number is made from the node's identity, so it stays the same over restarts, and different
/// content never gets the number of other content. The kernel's references are counted: `lookup` adds
/// one, `forget` takes them back.
///
/// Concurrency: any thread; one lock, held for a table access.
final class InodeTable: Sendable {
    static let root: UInt64 = 1

    private struct Entry {
        let node: TreeNode
        let identity: String
        var lookupCount: UInt64
    }

    private let entries = Guarded<[UInt64: Entry]>([:])

    func node(_ inode: UInt64) -> TreeNode? {
        if inode == Self.root { return .directory(.init()) }
        return entries.withLock { $0[inode]?.node }
    }

    /// The number of a node, with one more reference by the kernel if `isLookup`.
    func inode(of node: TreeNode, identity: String, isLookup: Bool) -> UInt64 {
        if case .directory(let name) = node, name.isEmpty { return Self.root }
        return entries.withLock { entries in
            var inode = Self.hash(identity)
            while let other = entries[inode], other.identity != identity { inode &+= 1 }
            guard isLookup else { return inode }
            entries[inode, default: Entry(node: node, identity: identity, lookupCount: 0)]
                .lookupCount += 1
            return inode
        }
    }

    func forget(_ inode: UInt64, count: UInt64) {
        entries.withLock { entries in
            guard var entry = entries[inode] else { return }
            entry.lookupCount -= min(count, entry.lookupCount)
            entries[inode] = entry.lookupCount == 0 ? nil : entry
        }
    }

    /// Inodes the kernel has, the root not counted.
    var count: Int { entries.withLock(\.count) }

    /// FNV-1a; never 0 or the root's number.
    private static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 {
            hash ^= UInt64(byte)
            hash &*= 0x100_0000_01b3
        }
        return hash < 16 ? hash + 16 : hash
    }
}
