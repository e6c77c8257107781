package import CCNx
package import Store

/// The CCNx name of an object: `ccnx:/<prefix>/@object/<32-byte id>/<chunk size>/chunk n`.
///
/// The id stands in an ordinary segment, so any CCNx 1.0 forwarder can match and keep it. The chunk
/// size is part of the name, so that no cache mixes two ways to cut an object.
package struct ObjectName: Hashable, Sendable {
    package let request: ObjectRequest
    package let chunkSize: Int
    package let chunk: Int

    /// One chunk an object on stream faces: no object is larger.
    package static let streamChunkSize = 32 << 10
    /// With a name and headers it passes where packets have 1,500 bytes: of a datagram in several fragments the
    /// loss of one is the loss of all.
    package static let datagramChunkSize = 1_024
    /// A packet ends at 64 KiB.
    private static let chunkSizeLimit = 64 << 10
    private static let marker = NameSegment.name("@object")

    package init(_ request: ObjectRequest, chunkSize: Int = streamChunkSize, chunk: Int = 0) {
        self.request = request
        self.chunkSize = chunkSize
        self.chunk = chunk
    }

    package var name: Name {
        request.prefix.appending([
            Self.marker, .name(bytes: request.id.bytes),
            .name(String(chunkSize)), .chunk(UInt64(chunk)),
        ])
    }

    /// - Returns: nil for names of anything else, and for other spellings of an object's name.
    package init?(_ name: Name) {
        let segments = name.segments
        guard segments.count > 4, let chunk = name.chunkNumber(), chunk < 1 << 31 else {
            return nil
        }
        let tail = Array(segments.suffix(4))
        guard tail[0] == Self.marker, let id = ObjectId(bytes: tail[1].value),
            let chunkSize = Int(String(decoding: tail[2].value, as: UTF8.self)),
            (1...Self.chunkSizeLimit).contains(chunkSize)
        else { return nil }
        self.init(
            ObjectRequest(id, under: name.prefix(segments.count - 4)),
            chunkSize: chunkSize,
            chunk: Int(chunk)
        )
        guard self.name == name else { return nil }
    }
}
