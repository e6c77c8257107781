package import Failures

/// A disk image that is being written. The disk has a fixed size; what is never written reads as
/// zeros and, in a file, takes no space.
///
/// An image exists under its name when it is whole and durable, not before: until ``finish()``
/// returns, a file of that name, or its absence, is what it was.
///
/// Concurrency: ``write(_:at:)`` may be called from several threads at once, ``finish()`` after the
/// last of them returned. All block on a disk or another process, so they do not belong on the
/// cooperative pool.
package protocol ImageWriter: Sendable {
    /// Writes all of `bytes` from `offset` on. The range must lie in the disk; ranges may come in any
    /// order, and the last write of a byte counts if the earlier one had returned.
    ///
    /// - Throws: `.noSpace` on a full disk. After a failure the image cannot be finished any more.
    func write(_ bytes: Span<UInt8>, at offset: Int) throws(Failure)

    /// Makes the image durable and gives it its name. To be called once.
    ///
    /// - Throws: also what a write failed with; `.exists` if something took the name meanwhile.
    func finish() throws(Failure)

    /// Gives the image up and removes what there is of it, as does the end of a writer that was not
    /// finished. Writes and a finish under way may fail. Without effect on a finished image.
    func abandon()
}
