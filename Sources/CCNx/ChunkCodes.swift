/// The two type codes with which a Content Object says which chunk it is and which is the last.
///
/// No RFC has settled them: implementations in the field use different numbers, so both are a
/// setting. The default is what Cefore speaks.
package struct ChunkCodes: Hashable, Sendable {
    /// Type of the name segment that carries the chunk number.
    package var segmentType: UInt16
    /// Type of the message field that carries the number of the last chunk.
    package var endChunkNumberField: UInt16

    package init(segmentType: UInt16 = 0x0005, endChunkNumberField: UInt16 = 0x0008) {
        self.segmentType = segmentType
        self.endChunkNumberField = endChunkNumberField
    }

    package static let standard = ChunkCodes()
}
