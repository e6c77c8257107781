package import CCNx

/// A neighbour that may be asked, whether or not its face is up: what is known of it outlives the face.
package struct FetchSource: Sendable {
    package enum Kind: Hashable, Sendable {
        /// A node near by, asked with HopLimit 1: it answers from what it holds, or says at once that it
        /// holds nothing.
        case peer
        /// On the way to the repositories of these prefixes.
        case repository([Route])
    }

    package struct Route: Hashable, Sendable {
        package let prefix: Name
        /// Lower is asked first.
        package let cost: UInt32

        package init(prefix: Name, cost: UInt32) {
            self.prefix = prefix
            self.cost = cost
        }
    }

    /// How messages call it: its address.
    package let label: String
    package private(set) var kind: Kind
    /// Its packets are small, and may be lost.
    let isDatagram: Bool
    /// It is asked for so many objects more in chunks, since packets of somebody behind it are small.
    private var chunkedObjectsLeft = 0
    /// Nil while it is down.
    package internal(set) var face: FaceId?
    var window: SourceWindow
    var lanes = FetchLanes()
    /// Asks for chunks of objects whose turn has come.
    var chunkLanes = FetchLanes()
    /// Of the last object that came.
    private var lastChunkCount = 1
    /// After an object was too large, until a whole one is tried again: what is asked for may go another way by then.
    private static let chunkedObjects = 64
    /// Not asked before this time.
    var benchedUntil: UInt64 = 0
    private var isBenchedForWrongBytes = false
    private var benchCount = 0
    private var wrongInARow = 0
    private var silentInARow = 0
    private var lastHeard: UInt64 = 0
    /// Of the answers to what it was asked for lately, those that were the object: from 0 to 1. Silence of a peer counts.
    private(set) var hitRate = 1.0
    package internal(set) var counters = Counters()

    package struct Counters: Hashable, Sendable {
        package var interests = 0
        package var objects = 0
        package var bytes = 0
        package var misses = 0
        package var timeouts = 0
        package var wrongObjects = 0
    }

    init(label: String, kind: Kind, isDatagram: Bool = false) {
        self.label = label
        self.kind = kind
        self.isDatagram = isDatagram
        window = SourceWindow(
            timeouts: Self.timeouts(kind, isDatagram),
            isOfChunks: isDatagram
        )
    }

    /// A peer that takes long is no help: there is a repository to ask. What is lost over UDP comes from
    /// nowhere else until it is asked for again.
    private static func timeouts(_ kind: Kind, _ isDatagram: Bool) -> ClosedRange<UInt64> {
        (kind == .peer || isDatagram ? 20 : 100)...(kind == .peer ? 250 : 2_000)
    }

    /// Becomes the way to something else.
    mutating func take(_ kind: Kind) {
        self.kind = kind
        window.timeouts = Self.timeouts(kind, isDatagram)
    }

    package var isUp: Bool { face != nil }
    /// It is asked for objects in chunks.
    var takesChunks: Bool { isDatagram || chunkedObjectsLeft > 0 }
    package func isBenched(at now: UInt64) -> Bool { benchedUntil > now }
    /// Milliseconds.
    package func benchLeft(at now: UInt64) -> Int { Int(max(benchedUntil, now) - now) }
    package var roundTrip: Double? { window.roundTrip }

    /// Interests may go to the repository through other forwarders; a peer answers for itself.
    var hopLimit: UInt8 { kind == .peer ? 1 : Interest.defaultHopLimit }

    /// - Returns: nil if it is not on the way to `name`.
    func rank(for name: Name) -> (length: Int, cost: UInt32)? {
        guard case .repository(let routes) = kind else { return nil }
        return routes.filter { name.hasPrefix($0.prefix) }
            .map { (length: $0.prefix.segments.count, cost: $0.cost) }
            .max { ($0.length, $1.cost) < ($1.length, $0.cost) }
    }

    /// Chunks of an object that are asked for at once: as many as the last one had, as most of a template are
    /// alike. Who often has nothing is asked for the first.
    var expectedChunkCount: Int { hitRate > 0.5 ? lastChunkCount : 1 }

    /// What is begun comes first.
    mutating func popFirst(_ lane: FetchLane) -> UInt64? {
        chunkLanes.popFirst(lane) ?? lanes.popFirst(lane)
    }

    // MARK: What it did

    private mutating func noteHit(_ isHit: Bool) { hitRate += ((isHit ? 1 : 0) - hitRate) / 16 }

    mutating func noteObject(byteCount: Int, roundTrip: UInt64?, now: UInt64) {
        noteChunk(byteCount: byteCount, roundTrip: roundTrip, now: now)
        noteWhole()
    }

    mutating func noteChunk(byteCount: Int, roundTrip: UInt64?, now: UInt64) {
        counters.bytes += byteCount
        window.noteAnswer(roundTrip: roundTrip)
        lastHeard = now
        silentInARow = 0
    }

    /// All of its chunks have come, and are right.
    mutating func noteWholeObject(chunkCount: Int) {
        lastChunkCount = chunkCount
        chunkedObjectsLeft = max(0, chunkedObjectsLeft - 1)
        noteWhole()
    }

    private mutating func noteWhole() {
        counters.objects += 1
        noteHit(true)
        (wrongInARow, benchCount) = (0, 0)
    }

    mutating func noteMiss(now: UInt64) {
        counters.misses += 1
        noteHit(false)
        lastHeard = now
        silentInARow = 0
    }

    /// - Returns: true if it is not asked for a while.
    ///
    /// - Parameter backsOff: waits longer for the next ones, since nobody else is asked for them.
    mutating func noteTimeout(now: UInt64, backsOff: Bool = false) -> Bool {
        counters.timeouts += 1
        if backsOff { window.backOff(now: now) }
        window.noteLoss(now: now)
        silentInARow += 1
        guard silentInARow >= 3, now >= lastHeard + max(1_000, 3 * window.timeout) else {
            return false
        }
        silentInARow = 0
        isBenchedForWrongBytes = false
        // Each read waits for the time-out of one that says nothing, and there are others to ask.
        if kind == .peer { hitRate /= lastHeard == 0 ? 8 : 2 }
        // Found out soon that it is back: it may be the only one.
        bench(for: 1_000, atMost: 4_000, now: now)
        return true
    }

    /// - Returns: true if it is not asked for a while: a peer at once, the way to a repository, which may
    ///   be the only one, after three in a row.
    mutating func noteWrongObject(now: UInt64) -> Bool {
        counters.wrongObjects += 1
        wrongInARow += 1
        guard kind == .peer || wrongInARow >= 3 else { return false }
        isBenchedForWrongBytes = true
        bench(for: kind == .peer ? 60_000 : 2_000, atMost: 3_600_000, now: now)
        return true
    }

    /// An object was too large for the way to it.
    mutating func noteTooLarge() { chunkedObjectsLeft = Self.chunkedObjects }

    /// A new face may have an end to silence, and another way behind it; whoever lied is the same.
    mutating func noteFace(_ face: FaceId) {
        self.face = face
        chunkedObjectsLeft = 0
        if !isBenchedForWrongBytes { benchedUntil = 0 }
    }

    private mutating func bench(for first: UInt64, atMost last: UInt64, now: UInt64) {
        benchedUntil = now + min(first << UInt64(min(benchCount, 16)), last)
        benchCount += 1
        window.beginAnew()
    }
}

/// Who is asked for first: one who waits, before what will be read soon, before what may be read one day.
package enum FetchLane: Int, Hashable, Comparable, CaseIterable, Sendable {
    case reader, readAhead, hydration

    package static func < (left: FetchLane, right: FetchLane) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// Asks that wait for room at one source, by lane. An ask that moved on leaves its number behind; who
/// takes it out looks whether it still counts.
struct FetchLanes {
    private var queues = [Queue](repeating: Queue(), count: FetchLane.allCases.count)

    private struct Queue {
        var numbers: [UInt64] = []
        var head = 0
    }

    mutating func append(_ number: UInt64, to lane: FetchLane) {
        queues[lane.rawValue].numbers.append(number)
    }

    mutating func popFirst(_ lane: FetchLane) -> UInt64? {
        var queue = queues[lane.rawValue]
        guard queue.head < queue.numbers.count else { return nil }
        queues[lane.rawValue] = Queue()
        let number = queue.numbers[queue.head]
        queue.head += 1
        if queue.head == queue.numbers.count {
            queue = Queue()
        } else if queue.head > 1_024, queue.head > queue.numbers.count / 2 {
            queue.numbers.removeFirst(queue.head)
            queue.head = 0
        }
        queues[lane.rawValue] = queue
        return number
    }

    mutating func removeAll() -> [(number: UInt64, lane: FetchLane)] {
        defer { self = FetchLanes() }
        return FetchLane.allCases.flatMap { lane in
            let queue = queues[lane.rawValue]
            return queue.numbers[queue.head...].map { (number: $0, lane: lane) }
        }
    }
}
