package import Failures
internal import Files
internal import Synchronization

/// One sparse file that holds segments of one size: segment *i* at byte `i * segmentSize`.
///
/// ```
///   position   0        1        2        3
///            +--------+--------+--------+-----+
///   file     | bytes  | (hole) | bytes  | tail|     the last segment may be short
///            +--------+--------+--------+-----+
///   states   verified  absent   present  verified
/// ```
/// Invariants: a position holds one segment for as long as the file lives, so stale knowledge of a
/// place can find it absent but never finds other bytes. *Verified* implies *present*. A position is
/// punched only after it was made unreadable and every reader that saw it present has left, and it
/// stays unreadable until it was punched.
///
/// Concurrency: any thread. `states` has a lock held for a few lines; `gate` counts readers. `changes`
/// is held by one who fills places and by one who frees some: a place that is filled anew between
/// being made unreadable and being punched would lose its bytes. Lock order: changes, states.
package final class SegmentImage: Sendable {
    package let number: Int
    package let segmentSize: Int
    private let file: File
    private let states = Guarded<[State]>([])
    private let changes = Mutex<Void>(())
    private let gate = ReaderGate()
    private let lastUseTick = Atomic<UInt64>(0)

    /// Ticks of ``useClock`` at the last look-up of places here; 0 when unused in this run.
    var lastUse: UInt64 { lastUseTick.load(ordering: .relaxed) }
    private static let useClock = Atomic<UInt64>(0)

    enum State: UInt8 { case absent, present, verified, freeing }

    init(number: Int, segmentSize: Int, file: File) {
        self.number = number
        self.segmentSize = segmentSize
        self.file = file
    }

    /// `000001-32768.img`: number and segment size, enough to index the file anew.
    static func fileName(number: Int, segmentSize: Int) -> String {
        let digits = String(number)
        let padding = String(repeating: "0", count: max(0, 6 - digits.count))
        return "\(padding)\(digits)-\(segmentSize).img"
    }

    /// - Returns: nil if the name is not one of an image file.
    static func parse(fileName: String) -> (number: Int, segmentSize: Int)? {
        guard fileName.hasSuffix(".img") else { return nil }
        let parts = fileName.dropLast(4).split(separator: "-")
        guard parts.count == 2, let number = Int(parts[0]), let size = Int(parts[1]), size > 0
        else { return nil }
        return (number, size)
    }
}

// MARK: - Reading

extension SegmentImage {
    /// Whether a run of segments could be read from here.
    package enum Residency: Sendable {
        case complete
        /// The first position that is not here.
        case missing(position: Int)
        /// A position whose bytes are not those of its id; it stays unread.
        case damaged(position: Int, Failure)
    }

    /// Appends `byteCount` bytes from `offset` of the file to `output`, or nothing.
    ///
    /// Never waits but for the disk. A segment that was not used yet in this run is checked against
    /// `id(position)` first.
    package func readResident(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>,
        id: (_ position: Int) -> ObjectId
    ) throws(Failure) -> Residency {
        let first = offset / segmentSize
        let last = (offset + byteCount - 1) / segmentSize
        let ticket = gate.enter()
        defer { gate.leave(ticket) }
        switch survey(first...last) {
        case .absent(let position): return .missing(position: position)
        case .verified: break
        case .unverified(let positions):
            for position in positions {
                if let failure = try verify(position, against: id(position)) {
                    return .damaged(position: position, failure)
                }
            }
        }
        let count = try file.read(at: offset, byteCount: byteCount, into: &output)
        // The file ends at its last segment; the disk behind it may be a little longer than that.
        output.append(repeating: 0, count: byteCount - count)
        return .complete
    }

    private enum Survey {
        case verified
        case unverified([Int])
        case absent(Int)
    }

    private func survey(_ positions: ClosedRange<Int>) -> Survey {
        states.withLock { states in
            var unverified: [Int] = []
            for position in positions {
                guard position < states.count else { return .absent(position) }
                switch states[position] {
                case .absent, .freeing: return .absent(position)
                case .present: unverified.append(position)
                case .verified: break
                }
            }
            return unverified.isEmpty ? .verified : .unverified(unverified)
        }
    }

    private func verify(_ position: Int, against id: ObjectId) throws(Failure) -> Failure? {
        let bytes = try file.bytes(at: position * segmentSize, byteCount: segmentSize)
        let found = ObjectId(of: bytes)
        guard found == id else {
            return Failure(
                .corrupt,
                "segment \(id) at position \(position) of \(file.path) has the bytes of \(found)"
            )
        }
        states.withLock { states in
            // Evicted meanwhile: then it stays absent.
            if states[position] == .present { states[position] = .verified }
        }
        return nil
    }

    /// The bytes of the segment at `position` whatever its state; checked by the caller.
    package func bytes(at position: Int) throws(Failure) -> [UInt8] {
        let ticket = gate.enter()
        defer { gate.leave(ticket) }
        return try file.bytes(at: position * segmentSize, byteCount: segmentSize)
    }
}

// MARK: - Writing and freeing

extension SegmentImage {
    /// Writes a segment. It is not readable from here until ``markPresent(_:)``.
    package func write(_ bytes: Span<UInt8>, at position: Int) throws(Failure) {
        precondition(bytes.count <= segmentSize, "a segment fits its place")
        try file.write(bytes, at: position * segmentSize)
    }

    /// The index says that the segment lies here.
    ///
    /// - Parameter isVerified: its bytes were looked at in this run, so the first reader need not.
    package func markPresent(_ position: Int, isVerified: Bool = false) {
        states.withLock { states in
            if states.count <= position {
                let missing = position + 1 - states.count
                states.append(contentsOf: repeatElement(.absent, count: max(missing, states.count)))
            }
            if states[position] == .absent {
                states[position] = isVerified ? .verified : .present
            }
        }
        let tick = Self.useClock.add(1, ordering: .relaxed).newValue
        lastUseTick.store(tick, ordering: .relaxed)
    }

    /// Runs `body` while no one else fills or frees places.
    func changing(_ body: () throws(Failure) -> Void) throws(Failure) {
        try changes.withLock { (_) throws(Failure) in try body() }
    }

    private func mark(_ positions: [Int], _ state: State) {
        states.withLock { states in
            for position in positions where position < states.count { states[position] = state }
        }
    }

    /// Frees the space of positions that the index does not know any more, once no reader is inside.
    ///
    /// The caller is inside of ``changing(_:)``.
    func free(_ positions: [Int]) throws(Failure) {
        mark(positions, .freeing)
        defer { mark(positions, .absent) }
        gate.waitForReaders()
        var run: Range<Int>?
        for position in positions.sorted() {
            if let current = run, current.upperBound == position {
                run = current.lowerBound..<position + 1
                continue
            }
            if let current = run { try punch(run: current) }
            run = position..<position + 1
        }
        if let current = run { try punch(run: current) }
    }

    /// The same for every position.
    func freeAll() throws(Failure) {
        let count = states.withLock { $0.count }
        try free(Array(0..<count))
    }

    private func punch(run: Range<Int>) throws(Failure) {
        try file.punchHole(at: run.lowerBound * segmentSize, byteCount: run.count * segmentSize)
    }

    package func startWriteback(at position: Int, count: Int) {
        file.startWriteback(at: position * segmentSize, byteCount: count * segmentSize)
    }

    package func synchronize() throws(Failure) { try file.synchronizeData() }

    /// The positions that have data in the file, in order; what `--rebuild` has to look at.
    func positionsWithData() throws(Failure) -> [Int] {
        var positions: [Int] = []
        var offset = 0
        while let data = try file.nextData(at: offset) {
            let first = data.lowerBound / segmentSize
            let last = (data.upperBound - 1) / segmentSize
            for position in first...last where position != positions.last {
                positions.append(position)
            }
            offset = data.upperBound
        }
        return positions
    }
}
