import CCNx

/// The path of a Content Object (RFC 8569 section 2.4.5).
extension Forwarder {
    /// Answers every pending Interest that it matches and that was sent to `face`, with at most one
    /// copy to each face that waits. An object from any other face answers nothing: whoever was not
    /// asked cannot slip something in.
    mutating func receive(
        _ object: ContentObject,
        in packet: DecodedPacket,
        from face: FaceId,
        now: UInt64
    ) -> [ForwarderAction] {
        let hash = hash
        let answered = pit.matches(object, keyId: packet.validation?.keyId) { hash(packet) }
            .filter { pit[$0]?.nextHops.contains { $0.face == face } == true }
        guard !answered.isEmpty else {
            counters.objectsUnsolicited += 1
            return []
        }
        var waiting: Set<FaceId> = []
        for serial in answered {
            guard let entry = remove(serial) else { continue }
            for origin in entry.origins where waits(origin, at: now) && origin.face != face {
                waiting.insert(origin.face)
            }
        }
        return [.cache(packet)] + send(packet, to: waiting.sorted())
    }

    mutating func send(_ packet: DecodedPacket, to waiting: [FaceId]) -> [ForwarderAction] {
        let reachable = waiting.filter { faces[$0] != nil }
        counters.objectsForwarded += UInt64(reachable.count)
        return reachable.map { .sendContentObject(packet, to: $0) }
    }
}
