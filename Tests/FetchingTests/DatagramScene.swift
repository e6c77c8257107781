import CCNx
import Failures
import Fetching
import TestSupport

/// A scheduler before a network that loses, doubles, delays and damages packets; time is virtual. Objects
/// have numbers, and come in chunks of 100 bytes from sources over UDP.
struct DatagramScene {
    struct Source {
        var isDatagram = true
        /// There are datagrams behind it: it gives back what is asked for whole.
        var isBeforeDatagrams = false
        var isPeer = false
        var hasObject: @Sendable (Int) -> Bool = { _ in true }
        /// Of packets each way, in percent.
        var loss = 0
        var duplicates = 0
        /// Of its chunks that have another byte.
        var wrong = 0
        /// Milliseconds there and back.
        var delay: ClosedRange<UInt64> = 1...1
        var cost: UInt32 = 10
    }

    private enum Packet {
        case object(Name, [UInt8], last: UInt64?)
        case back(Name, ReturnCode)
    }

    static let chunkSize = 100
    static let prefix = FetchScene.prefix
    static let cutting = ObjectCutting(
        chunkSize: chunkSize,
        chunkCountLimit: 32,
        chunkPrefix: { $0 },
        isRight: { name, bytes in bytes == Self.bytes(of: number(in: name)) }
    )

    var scheduler = FetchScheduler(cutting: cutting)
    var sources: [Int: Source]
    var random: SplitMix
    var now: UInt64 = 10_000
    private var flying: [(due: UInt64, source: Int, packet: Packet)] = []
    private var nextRequest: UInt64 = 1
    /// Of each request.
    private(set) var outcomes: [UInt64: [Failure.Kind?]] = [:]
    private(set) var sentNames: [Int: [Name]] = [:]
    private(set) var mostInFlight = 0
    private(set) var wrongDeliveries = 0

    init(_ sources: [Int: Source], seed: UInt64) {
        self.sources = sources
        random = SplitMix(seed: seed)
        for (id, source) in sources.sorted(by: { $0.key < $1.key }) {
            scheduler.addSource(
                id,
                label: "source \(id)",
                kind: source.isPeer
                    ? .peer : .repository([.init(prefix: Self.prefix, cost: source.cost)]),
                isDatagram: source.isDatagram
            )
            up(id)
        }
    }

    mutating func up(_ source: Int) {
        carryOut(scheduler.faceUp(FaceId(UInt64(source)), of: source, now: now))
    }

    mutating func down(_ source: Int) {
        flying.removeAll { $0.source == source }
        carryOut(scheduler.faceDown(FaceId(UInt64(source)), now: now))
    }

    /// 1 to 3,200 bytes.
    static func bytes(of number: Int) -> [UInt8] {
        let count = 1 + number &* 7_919 % 3_200
        return (0..<count).map { UInt8(truncatingIfNeeded: number &+ $0 / 3) }
    }

    static func number(in name: Name) -> Int {
        Int(String(decoding: name.segments[1].value, as: UTF8.self)) ?? -1
    }

    @discardableResult
    mutating func want(
        _ number: Int,
        _ lane: FetchLane = .reader,
        patience: UInt64 = 10_000
    ) -> UInt64 {
        defer { nextRequest += 1 }
        let actions = scheduler.want(
            nextRequest,
            .init(
                name: FetchScene.name(number),
                lane: lane,
                deadline: now + patience,
                mayPeersAnswer: true
            ),
            now: now
        )
        carryOut(actions)
        return nextRequest
    }

    /// A chunk comes over a face, whoever was asked for it.
    mutating func chunkArrives(
        _ chunk: Int,
        of number: Int,
        over face: UInt64,
        isDamaged: Bool = false
    ) {
        let bytes = Self.bytes(of: number)
        var part = Array(bytes.dropFirst(chunk * Self.chunkSize).prefix(Self.chunkSize))
        if isDamaged { part[0] ^= 1 }
        carryOut(
            scheduler.answeredChunk(
                FetchScene.name(number).appending([.chunk(UInt64(chunk))]),
                part,
                last: UInt64((bytes.count + Self.chunkSize - 1) / Self.chunkSize - 1),
                from: FaceId(face),
                now: now
            )
        )
    }

    /// Lets time pass, and packets arrive.
    mutating func pass(_ milliseconds: UInt64) {
        let end = now + milliseconds
        while true {
            let arrival = flying.map(\.due).min() ?? .max
            let next = min(arrival, max(scheduler.nextWake ?? .max, now))
            guard next <= end else { break }
            now = max(now, next)
            if arrival <= now, let index = flying.firstIndex(where: { $0.due == arrival }) {
                let (_, source, packet) = flying.remove(at: index)
                arrive(packet, from: source)
            } else {
                carryOut(scheduler.tick(now: now))
            }
        }
        now = end
    }

    var delivered: Int { outcomes.values.count { $0 == [nil] } }

    // MARK: Leaves

    private mutating func carryOut(_ actions: [FetchScheduler.Action]) {
        for action in actions {
            switch action {
            case .send(let name, _, let face): send(name, to: Int(face.number))
            case .deliver(let requests): note(requests, nil)
            case .deliverAssembled(let requests, let name, let bytes):
                if bytes != Self.bytes(of: Self.number(in: name)) { wrongDeliveries += 1 }
                note(requests, nil)
            case .fail(let requests, let failure): note(requests, failure.kind)
            case .bench: break
            }
        }
        mostInFlight = max(mostInFlight, scheduler.inFlightCount)
    }

    private mutating func note(_ requests: [UInt64], _ kind: Failure.Kind?) {
        for request in requests { outcomes[request, default: []].append(kind) }
    }

    private mutating func send(_ name: Name, to id: Int) {
        sentNames[id, default: []].append(name)
        guard let source = sources[id], !random.chance(source.loss, in: 100) else { return }
        let copies = random.chance(source.duplicates, in: 100) ? 2 : 1
        for _ in 0..<copies where !random.chance(source.loss, in: 100) {
            let due = now + UInt64.random(in: source.delay, using: &random)
            let packet = answer(to: name, of: source)
            flying.append((due: due, source: id, packet: packet))
        }
    }

    private mutating func answer(to name: Name, of source: Source) -> Packet {
        let number = Self.number(in: name)
        var bytes = Self.bytes(of: number)
        guard source.hasObject(number) else { return .back(name, .noRoute) }
        if source.isBeforeDatagrams, name.chunkNumber() == nil { return .back(name, .mtuTooLarge) }
        var last: UInt64?
        if let chunk = name.chunkNumber().map({ Int($0) }) {
            let count = (bytes.count + Self.chunkSize - 1) / Self.chunkSize
            guard chunk < count else { return .back(name, .noRoute) }
            bytes = Array(bytes.dropFirst(chunk * Self.chunkSize).prefix(Self.chunkSize))
            last = UInt64(count - 1)
        }
        if random.chance(source.wrong, in: 100) {
            bytes[Int.random(in: bytes.indices, using: &random)] ^= 1
        }
        return .object(name, bytes, last: last)
    }

    private mutating func arrive(_ packet: Packet, from source: Int) {
        let face = FaceId(UInt64(source))
        switch packet {
        case .back(let name, let code):
            carryOut(scheduler.returned(name, code, from: face, now: now))
        case .object(let name, let bytes, let last):
            guard name.chunkNumber() == nil else {
                return carryOut(
                    scheduler.answeredChunk(name, bytes, last: last, from: face, now: now)
                )
            }
            carryOut(
                scheduler.answered(
                    name,
                    from: face,
                    byteCount: bytes.count,
                    isRight: bytes == Self.bytes(of: Self.number(in: name)),
                    now: now
                )
            )
        }
    }
}
