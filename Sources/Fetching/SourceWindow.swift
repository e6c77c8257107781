/// How many Interests one source gets at once, and how long its answers may take.
///
/// A receiver-driven window: it grows by one with each answer up to a threshold, then by one each round
/// trip, and is halved at most once a round trip when answers stay out (as TCP does, RFC 5681). The
/// time-out follows the round trips (RFC 6298). Times are milliseconds of the caller's clock.
struct SourceWindow {
    /// Objects of 32 KiB: together they fit the queue of the face at the other end.
    private static let largestOfObjects = 192.0
    /// Chunks of 1 KiB, of which each datagram takes 2,304 bytes of a socket's receive buffer (Linux 6, loopback):
    /// together they fit one of 425,984 bytes, the most that Linux gives the unprivileged unless told otherwise.
    private static let largestOfChunks = 128.0
    private static let smallest = 2.0
    private static let initial = 32.0
    private static let doublingLimit: UInt64 = 6
    /// Milliseconds for which a source from which nothing comes is taken to be put off, not its datagrams to be lost.
    private static let quietPatience: UInt64 = 100

    var timeouts: ClosedRange<UInt64>
    private let largest: Double
    private var size = initial
    private var threshold: Double
    private var smoothed: Double?
    /// When that one of the answered Interests was sent that was sent last.
    private var newestAnswered: UInt64 = 0
    private var variation = 0.0
    private var lastCut: UInt64 = 0
    /// The time-out is so many times doubled.
    private var doublings: UInt64 = 0
    private var lastDoubling: UInt64 = 0
    var inFlight = 0

    /// - Parameter isOfChunks: answers are datagrams with parts of objects.
    init(timeouts: ClosedRange<UInt64>, isOfChunks: Bool = false) {
        self.timeouts = timeouts
        largest = isOfChunks ? Self.largestOfChunks : Self.largestOfObjects
        threshold = largest
    }

    /// - Parameter isForBackground: leaves half of the window to those who wait.
    func hasRoom(isForBackground: Bool) -> Bool {
        inFlight < max(1, Int(isForBackground ? size / 2 : size))
    }

    /// Milliseconds, smoothed; nil before the first answer.
    var roundTrip: Double? { smoothed }

    /// Milliseconds to wait for an answer.
    var timeout: UInt64 {
        guard let smoothed else { return timeouts.upperBound }
        let wanted = UInt64(smoothed + max(4 * variation, 10))
        return min(max(wanted, timeouts.lowerBound) << doublings, timeouts.upperBound)
    }

    /// - Parameter roundTrip: of an Interest that was sent once; else whose answer it is is not known.
    mutating func noteAnswer(roundTrip: UInt64?) {
        size = min(size + (size < threshold ? 1 : 1 / size), largest)
        guard let roundTrip else { return }
        doublings = 0
        let sample = Double(roundTrip)
        guard let before = smoothed else {
            smoothed = sample
            variation = sample / 2
            return
        }
        variation += (abs(sample - before) - variation) / 4
        smoothed = before + (sample - before) / 8
    }

    mutating func noteAnswered(sent: UInt64) { newestAnswered = max(newestAnswered, sent) }

    /// Whether an Interest whose time-out is over is lost, or its answer.
    ///
    /// It is if one that was sent later was answered (RFC 9002 section 6.1). If none was, whoever answers may be late
    /// with all of them, as a machine is that has more to do than it has cores; to ask for all of them again makes it
    /// later still.
    ///
    /// - Returns: when to look again; nil if it is lost.
    func timeToLookAgain(sent: UInt64, now: UInt64) -> UInt64? {
        guard newestAnswered <= sent, now < sent + Self.quietPatience else { return nil }
        return min(now + timeout, sent + Self.quietPatience)
    }

    mutating func noteLoss(now: UInt64) {
        guard now >= lastCut + UInt64(smoothed ?? 0) else { return }
        lastCut = now
        threshold = max(size / 2, Self.smallest)
        size = threshold
    }

    /// An answer stayed out: round trips may be longer now, of which nothing is known while all are asked for
    /// again (RFC 6298 section 5.5). Once for all that were in flight.
    mutating func backOff(now: UInt64) {
        guard now >= lastDoubling + timeout else { return }
        lastDoubling = now
        doublings = min(doublings + 1, Self.doublingLimit)
    }

    /// After a silence: one Interest finds out whether somebody is there again.
    mutating func beginAnew() {
        size = 1
        threshold = largest
    }
}
