package import Store

/// A byte string cut into segments under a manifest: a template's disk, or a file that is carried along.
///
/// With `levels` 0 the root is the one segment itself; with 1 it is a manifest node of segments, and so
/// on. A root that is a hole means zeros throughout.
package struct ContentDescriptor: Hashable, Sendable {
    package let root: ObjectId
    /// Bytes.
    package let size: Int
    /// Bytes of every segment but the last, which may be short.
    package let segmentSize: Int
    package let levels: Int

    package init(root: ObjectId, size: Int, segmentSize: Int, levels: Int) {
        self.root = root
        self.size = size
        self.segmentSize = segmentSize
        self.levels = levels
    }

    package var segmentCount: Int { (size + segmentSize - 1) / segmentSize }

    /// Bytes of the segment at a position, which lies inside the content.
    package func byteCount(ofSegment position: Int) -> Int {
        min(segmentSize, size - position * segmentSize)
    }
}
