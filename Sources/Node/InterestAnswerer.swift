internal import CCNx

/// Answers the Interests of others that are about one kind of thing, which is no object and no pointer.
///
/// Concurrency: any thread; may block on the disk.
protocol InterestAnswerer: Sendable {
    /// - Returns: nil for an Interest that is about something else.
    func answer(_ interest: Interest, from face: FaceId) -> DecodedPacket?
}

extension [any InterestAnswerer] {
    func firstAnswer(to interest: Interest, from face: FaceId) -> DecodedPacket? {
        for answerer in self {
            if let answer = answerer.answer(interest, from: face) { return answer }
        }
        return nil
    }
}
