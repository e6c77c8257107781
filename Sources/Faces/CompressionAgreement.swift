import CCNx
import Failures

/// Whether both ends of a connection understand envelopes. No I/O, no clock.
///
/// Who connected asks: an Interest, the first packet of the connection. Who was connected to and allows it answers with
/// a Content Object of that name, and takes and sends envelopes from then on; the other end does once it has the
/// answer. What else is under way needs no care, since every packet says by its type whether it is in an envelope.
///
/// Any other node finds a name that it has no route for, with a hop limit that lets nobody pass it on, and gives it
/// back or says nothing: both are a no. Invariant: an end takes envelopes before the other can send one.
struct CompressionAgreement {
    private enum State {
        /// The end that answers: nobody has asked, or has had his answer.
        case listening, answered
        /// The end that asks, and what comes of it.
        case asked(Name)
        case agreed, refused
    }

    /// What becomes of a packet that came.
    enum Outcome {
        /// It is no part of this.
        case other
        case taken
        /// To be sent, and then ``noteAnswered()``.
        case answer([UInt8])
    }

    private static let prefix = Name(
        segments: [.name(Name.localScope), .name("ccnfs"), .name("link"), .name("zstd")]
    )
    private static let nonceByteCount = 8
    /// What an answer says, so that one who answers whatever is asked has not agreed to anything.
    private static let agreement = Array("zstd 1".utf8)
    /// For the neighbour itself, nobody behind it.
    private static let hopLimit: UInt8 = 1
    /// How long the neighbour may keep the question. Its answer counts whenever it comes.
    private static let lifetimeMilliseconds: UInt64 = 2_000

    private var state: State

    /// For the end that answers.
    init() { state = .listening }

    /// For the end that asks.
    ///
    /// - Parameter nonce: so that no answer comes out of a cache.
    init(asking nonce: UInt64) {
        let bytes = (0..<Self.nonceByteCount).map { UInt8(truncatingIfNeeded: nonce >> (8 * $0)) }
        state = .asked(Self.prefix.appending(.name(bytes: bytes)))
    }

    var isInForce: Bool {
        switch state {
        case .answered, .agreed: true
        case .listening, .asked, .refused: false
        }
    }

    /// What is to be sent first; nil if this end does not ask.
    func question() throws(Failure) -> [UInt8]? {
        guard case .asked(let name) = state else { return nil }
        return try PacketEncoder.encode(
            Interest(
                name: name,
                hopLimit: Self.hopLimit,
                lifetimeMilliseconds: Self.lifetimeMilliseconds
            )
        )
    }

    mutating func received(_ packet: Packet) throws(Failure) -> Outcome {
        switch (packet, state) {
        case (.interest(let interest), .listening), (.interest(let interest), .answered):
            guard Self.isQuestion(interest) else { return .other }
            let answer = ContentObject(name: interest.name, payload: Self.agreement)
            return .answer(try PacketEncoder.encode(answer))
        case (.contentObject(let object), .asked(let name)) where object.name == name:
            state = object.payload == Self.agreement ? .agreed : .refused
            return .taken
        case (.interestReturn(let back), .asked(let name)) where back.interest.name == name:
            state = .refused
            return .taken
        default:
            return .other
        }
    }

    /// The answer is on its way, before everything that is sent from now on.
    mutating func noteAnswered() { state = .answered }

    /// One that somebody passed on, which he must not, has another hop limit: it was not the neighbour who asked.
    private static func isQuestion(_ interest: Interest) -> Bool {
        let segments = interest.name.segments
        return interest.hopLimit == hopLimit && segments.count == prefix.segments.count + 1
            && interest.name.hasPrefix(prefix) && segments.last?.value.count == nonceByteCount
    }
}
