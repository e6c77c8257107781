/// What `stat` shows of a node. Times are nanoseconds since 1970, sizes bytes.
package struct NodeAttributes: Sendable {
    package enum Kind: Sendable { case directory, file, symbolicLink }

    package var inode: UInt64
    package var kind: Kind
    /// Permission bits.
    package var mode: UInt32
    package var userId: UInt32
    package var groupId: UInt32
    package var size: Int
    package var modified: Int
    package var linkCount: UInt32 = 1

    /// Never less than the size needs: `cp` reads a file that looks sparse byte by byte instead of
    /// cloning it. What is really here is told by xattrs and `ccnfs status`.
    package var blocks512: Int { (size + 511) / 512 }
}

/// What `setattr` may change.
package struct AttributeChanges: Sendable {
    package var mode: UInt32?
    package var userId: UInt32?
    package var groupId: UInt32?
    package var size: Int?
    /// Nanoseconds since 1970.
    package var modified: Int?

    package init() {}
}

/// Who asks, for new files.
package struct Caller: Sendable {
    package let userId: UInt32
    package let groupId: UInt32

    package init(userId: UInt32, groupId: UInt32) {
        self.userId = userId
        self.groupId = groupId
    }
}

package struct DirectoryEntry: Sendable {
    package let name: String
    package let inode: UInt64
    package let kind: NodeAttributes.Kind
}
