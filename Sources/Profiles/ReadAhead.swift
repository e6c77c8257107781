/// Which segments to ask for before they are read: those that follow where somebody reads one after another.
///
/// ```
///     read already          asked for ahead            not yet
///   ───────────────┤next├─────────────────────┤frontier├──────
///                   ◄───── the stream's window ──────►
/// ```
/// Never more is asked for ahead than was read in sequence before, so that readers who only seem to be sequential
/// fetch little in vain. Readers are told apart by where they read, since a disk is read through the page
/// cache of its mount: one file handle may carry several of them. Counts are segments.
struct ReadAhead {
    private struct Stream {
        var next: Int
        var frontier: Int
        /// Read in sequence up to `next`.
        var readCount: Int
        var lastUse: Int
    }

    private var streams: [Stream] = []
    private var clock = 0
    private let firstWindow: Int
    private let largestWindow: Int
    private let largeRead: Int
    private let disorder: Int

    /// Readers of one content that are followed.
    private static let streamLimit = 16
    /// Read in sequence before anything is asked for ahead.
    private static let firstWindowByteCount = 256 << 10
    private static let largestWindowByteCount = 8 << 20
    /// What the kernel reads ahead comes in requests of at least this size (128 KiB without root), several at
    /// once: up to ``disorderByteCount`` out of order. What a program reads piece by piece comes in order.
    private static let largeReadByteCount = 128 << 10
    private static let disorderByteCount = 2 << 20

    init(segmentSize: Int) {
        firstWindow = max(1, Self.firstWindowByteCount / segmentSize)
        largestWindow = max(1, Self.largestWindowByteCount / segmentSize)
        largeRead = max(2, Self.largeReadByteCount / segmentSize)
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
        guard let known = streams.indices.first(where: { goesOn(streams[$0], with: segments) })
        else {
            if missed { follow(segments) }
            return 0..<0
        }
        var stream = streams[known]
        defer { streams[known] = stream }
        stream.lastUse = clock
        // What was read once more tells nothing.
        guard segments.upperBound >= stream.next else { return 0..<0 }
        stream.readCount += segments.upperBound + 1 - max(stream.next, segments.lowerBound)
        stream.next = segments.upperBound + 1
        stream.frontier = max(stream.frontier, stream.next)
        let window = min(stream.readCount, largestWindow)
        guard window >= firstWindow, stream.frontier - stream.next <= window / 2 else {
            return 0..<0
        }
        let ahead = stream.frontier..<max(stream.frontier, min(stream.next + window, end))
        stream.frontier = ahead.upperBound
        return ahead
    }

    private func goesOn(_ stream: Stream, with segments: ClosedRange<Int>) -> Bool {
        let disorder = segments.count >= largeRead ? disorder : 0
        return (stream.next - 1 - disorder...stream.next + disorder).contains(segments.lowerBound)
    }

    private mutating func follow(_ segments: ClosedRange<Int>) {
        let next = segments.upperBound + 1
        let stream = Stream(
            next: next,
            frontier: next,
            readCount: segments.count,
            lastUse: clock
        )
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
