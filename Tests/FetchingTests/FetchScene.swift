import CCNx
import Failures
import Fetching
import Testing

/// A scheduler with a repository and peers, and short words for what happens to it.
struct FetchScene {
    static let repository = 1
    static let mirror = 2
    static let peer = 3
    static let otherPeer = 4
    static let prefix = Name(segments: [.name("mycorp.com")])

    var scheduler = FetchScheduler()
    var now: UInt64 = 10_000
    private var nextRequest: UInt64 = 1

    /// Faces have the numbers of their sources.
    init(_ sources: [Int] = [repository]) {
        for source in sources {
            let kind: FetchSource.Kind =
                source >= Self.peer
                ? .peer : .repository([.init(prefix: Self.prefix, cost: UInt32(source))])
            scheduler.addSource(source, label: "source \(source)", kind: kind)
            _ = up(source)
        }
    }

    static func name(_ number: Int) -> Name { prefix.appending([.name("\(number)")]) }

    mutating func up(_ source: Int) -> [FetchScheduler.Action] {
        scheduler.faceUp(FaceId(UInt64(source)), of: source, now: now)
    }

    mutating func down(_ source: Int) -> [FetchScheduler.Action] {
        scheduler.faceDown(FaceId(UInt64(source)), now: now)
    }

    /// Makes a source the way to something else; nil takes it away. One that is not there is added.
    mutating func change(
        _ source: Int,
        to kind: FetchSource.Kind?
    ) -> [FetchScheduler.Action] {
        if let kind, scheduler.sources[source] == nil {
            scheduler.addSource(source, label: "source \(source)", kind: kind)
            return []
        }
        return scheduler.setKinds([(id: source, kind: kind)], now: now)
    }

    func repositories(for name: Name) -> [Int] {
        scheduler.repositories(for: name, now: now)
    }

    mutating func want(
        _ number: Int,
        _ lane: FetchLane = .reader,
        patience: UInt64 = 10_000,
        peers: Bool = true,
        only: Int? = nil
    ) -> [FetchScheduler.Action] {
        defer { nextRequest += 1 }
        return scheduler.want(
            nextRequest,
            .init(
                name: Self.name(number),
                lane: lane,
                deadline: now + patience,
                mayPeersAnswer: peers,
                only: only
            ),
            now: now
        )
    }

    mutating func hasten(_ number: Int) -> [FetchScheduler.Action] {
        scheduler.hasten(Self.name(number), now: now)
    }

    mutating func answer(
        _ number: Int,
        from source: Int,
        isRight: Bool = true
    ) -> [FetchScheduler.Action] {
        scheduler.answered(
            Self.name(number),
            from: FaceId(UInt64(source)),
            byteCount: 32_768,
            isRight: isRight,
            now: now
        )
    }

    mutating func giveBack(
        _ number: Int,
        _ code: ReturnCode,
        from source: Int
    ) -> [FetchScheduler.Action] {
        scheduler.returned(Self.name(number), code, from: FaceId(UInt64(source)), now: now)
    }

    /// Lets time pass, in the steps that the scheduler asks for.
    ///
    /// - Parameter note: gets what happens at each, with the time.
    mutating func pass(
        _ milliseconds: UInt64,
        note: ([FetchScheduler.Action], _ now: UInt64) -> Void = { _, _ in }
    ) -> [FetchScheduler.Action] {
        let end = now + milliseconds
        var actions: [FetchScheduler.Action] = []
        while let wake = scheduler.nextWake, wake <= end {
            now = max(now, wake)
            let new = scheduler.tick(now: now)
            note(new, now)
            actions += new
        }
        now = end
        return actions
    }
}

extension [FetchScheduler.Action] {
    /// Sources that an Interest goes to.
    var askedOf: [Int] {
        compactMap { if case .send(_, _, let face) = $0 { Int(face.number) } else { nil } }
    }
    var sentNames: [Name] {
        compactMap { if case .send(let name, _, _) = $0 { name } else { nil } }
    }
    var hopLimits: [UInt8] {
        compactMap { if case .send(_, let hopLimit, _) = $0 { hopLimit } else { nil } }
    }
    var delivered: [FetchScheduler.Request] {
        reduce(into: []) { if case .deliver(let requests) = $1 { $0 += requests } }
    }
    var failed: [FetchScheduler.Request] {
        reduce(into: []) { if case .fail(let requests, _) = $1 { $0 += requests } }
    }
    var failures: [Failure.Kind] {
        compactMap { if case .fail(_, let failure) = $0 { failure.kind } else { nil } }
    }
    var benched: [Int] {
        compactMap { if case .bench(let source, _, _) = $0 { source } else { nil } }
    }
}
