/// Which segments to ask for before they are read: those that follow where somebody reads one after another.
///
/// ```
///     read already          asked for ahead            not yet
///   ───────────────┤next├─────────────────────┤frontier├──────
///                   ◄───── the stream's window ──────►
/// ```
/// The window doubles as long as the reader goes on. Readers are told apart by where they read, since a disk
/// is read through the page cache of its mount: one file handle may carry several of them, and requests come
/// somewhat out of order. Counts are segments.
struct ReadAhead {
    private struct Stream {
        var next: Int
        var frontier: Int
        var window: Int
        var lastUse: Int
    }

    private var streams: [Stream] = []
    private var clock = 0
    private let firstWindow: Int
    private let largestWindow: Int
    /// The kernel's own read-ahead: as far may a request come too late.
    private let disorder: Int

    /// Readers of one content that are followed.
    private static let streamLimit = 16
    private static let firstWindowByteCount = 1 << 20
    private static let largestWindowByteCount = 8 << 20
    private static let disorderByteCount = 2 << 20

    init(segmentSize: Int) {
        firstWindow = max(1, Self.firstWindowByteCount / segmentSize)
        largestWindow = max(1, Self.largestWindowByteCount / segmentSize)
        disorder = max(1, Self.disorderByteCount / segmentSize)
    }

    var isEmpty: Bool { streams.isEmpty }

    /// Somebody reads these segments.
    ///
    /// - Parameters:
    ///   - missed: some of them have to be fetched.
    ///   - end: of the content.
    /// - Returns: what is to be asked for now; empty if nothing.
    mutating func noteRead(_ segments: ClosedRange<Int>, missed: Bool, end: Int) -> Range<Int> {
        clock += 1
        let known = streams.indices.first { index in
            let stream = streams[index]
            return (stream.next - disorder...stream.frontier).contains(segments.lowerBound)
        }
        guard let known else {
            if missed { follow(from: segments.upperBound + 1) }
            return 0..<0
        }
        streams[known].lastUse = clock
        // What was read once more tells nothing.
        guard segments.upperBound >= streams[known].next else { return 0..<0 }
        var stream = streams[known]
        stream.next = segments.upperBound + 1
        stream.frontier = max(stream.frontier, stream.next)
        defer { streams[known] = stream }
        guard stream.frontier - stream.next <= stream.window / 2 else { return 0..<0 }
        let from = stream.frontier
        let to = min(stream.next + stream.window, end)
        stream.window = min(stream.window * 2, largestWindow)
        guard from < to else { return 0..<0 }
        stream.frontier = to
        return from..<to
    }

    private mutating func follow(from next: Int) {
        let stream = Stream(next: next, frontier: next, window: firstWindow, lastUse: clock)
        if streams.count < Self.streamLimit {
            streams.append(stream)
        } else if let oldest = streams.indices.min(by: {
            streams[$0].lastUse < streams[$1].lastUse
        }) {
            streams[oldest] = stream
        }
    }

    /// What was asked for could not be had, or was here all along: the reader is not followed any more.
    mutating func forget(_ segments: Range<Int>) {
        streams.removeAll { segments.contains($0.frontier - 1) }
    }
}
