package import Failures

/// A run of bytes of a disk.
package struct ImageExtent: Sendable, Equatable {
    package enum Kind: Sendable {
        /// Must be read to know what is in it.
        case data
        /// Reads as zeros; there is no need to.
        case zero
    }

    package var offset: Int
    package var byteCount: Int
    package var kind: Kind

    package var end: Int { offset + byteCount }

    package init(offset: Int, byteCount: Int, kind: Kind) {
        self.offset = offset
        self.byteCount = byteCount
        self.kind = kind
    }
}

/// A disk image of any format, read as the disk a guest would see.
///
/// Concurrency: every function may be called from several threads at once. `extents` and `read`
/// block on a disk or another process, so they do not belong on the cooperative pool.
package protocol ImageSource: Sendable, CustomStringConvertible {
    /// Bytes a guest sees; a multiple of 512.
    var virtualSize: Int { get }

    /// The extents that cover `byteCount` bytes from `offset`, in order, without a gap and clipped
    /// to that range; neighbours differ in kind. The range must lie in the disk.
    func extents(from offset: Int, byteCount: Int) throws(Failure) -> [ImageExtent]

    /// Fills all the free capacity of `buffer` with the bytes from `offset` on. Never fewer: an
    /// image that cannot give them fails. The range must lie in the disk.
    func read(at offset: Int, into buffer: inout OutputSpan<UInt8>) throws(Failure)

    /// Fails if a file of this image was written to since it was opened: what was read may then be
    /// a mixture of two states. To be asked once after the last read.
    func verifyUnchanged() throws(Failure)

    /// Ends the reading and whatever serves it. Reads under way or made later fail.
    func close()
}

/// Collects extents in order, clips them to a range and joins neighbours of one kind.
struct ExtentList {
    private(set) var extents: [ImageExtent] = []
    private(set) var end: Int
    let limit: Int

    init(from offset: Int, byteCount: Int) {
        end = offset
        limit = offset + byteCount
    }

    var isComplete: Bool { end >= limit }

    /// The part of the extents that lies in a range within this one's.
    func extents(from offset: Int, byteCount: Int) -> [ImageExtent] {
        extents.compactMap { (extent) in
            let start = max(extent.offset, offset)
            let end = min(extent.end, offset + byteCount)
            return start < end
                ? ImageExtent(offset: start, byteCount: end - start, kind: extent.kind) : nil
        }
    }

    /// The next run, which begins where the last one ended.
    mutating func append(byteCount: Int, kind: ImageExtent.Kind) {
        let byteCount = min(byteCount, limit - end)
        guard byteCount > 0 else { return }
        if let last = extents.indices.last, extents[last].kind == kind {
            extents[last].byteCount += byteCount
        } else {
            extents.append(ImageExtent(offset: end, byteCount: byteCount, kind: kind))
        }
        end += byteCount
    }
}

/// The sector of every disk here, in bytes.
let sectorSize = 512

/// A caller's mistake, not the image's.
func requireRange(from offset: Int, byteCount: Int, in virtualSize: Int) {
    precondition(
        offset >= 0 && byteCount >= 0 && byteCount <= virtualSize
            && offset <= virtualSize - byteCount,
        "a range must lie within the disk"
    )
}
