/// A CCNx name: a sequence of typed segments (RFC 8569 section 3, RFC 8609 section 3.6.1).
///
/// Two names are equal if they have equal segments; there is no equivalence beyond that. The name
/// without segments, `ccnx:/`, stands for the default route and is in no message.
package struct Name: Hashable, Sendable {
    package let segments: [NameSegment]

    package init(segments: [NameSegment] = []) {
        self.segments = segments
    }

    package var isEmpty: Bool { segments.isEmpty }

    /// True if `prefix` ends where or before this name ends and has the same segments up to there.
    package func hasPrefix(_ prefix: Name) -> Bool {
        segments.starts(with: prefix.segments)
    }

    package func appending(_ segment: NameSegment) -> Name {
        Name(segments: segments + [segment])
    }

    package func appending(_ more: [NameSegment]) -> Name {
        Name(segments: segments + more)
    }

    /// The first `count` segments, or all of them if there are fewer.
    package func prefix(_ count: Int) -> Name {
        Name(segments: Array(segments.prefix(count)))
    }

    /// Bytes that it takes in memory beside those on the wire, roughly: each segment has a buffer of its own, so that a
    /// packet full of short ones is more than ten times as large there.
    package var overheadByteCount: Int { segments.count * Self.segmentOverhead }

    private static let segmentOverhead = 64

    /// The chunk number in the last segment, if that is a chunk segment.
    package func chunkNumber(codes: ChunkCodes = .standard) -> UInt64? {
        segments.last?.chunkNumber(codes: codes)
    }
}

extension Name: Comparable {
    /// Segment by segment; a name comes before the names it is a prefix of.
    package static func < (left: Name, right: Name) -> Bool {
        left.segments.lexicographicallyPrecedes(right.segments)
    }
}

extension Name: CustomStringConvertible {
    package var description: String { uri }
}
