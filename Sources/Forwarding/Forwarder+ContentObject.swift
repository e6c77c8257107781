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
        var waiting: [FaceId: PendingInterest.Origin] = [:]
        for serial in answered {
            guard let entry = remove(serial) else { continue }
            for origin in entry.origins where waits(origin, at: now) && origin.face != face {
                waiting[origin.face] = origin
            }
        }
        let origins = waiting.values.sorted { $0.face < $1.face }
        return [.cache(packet)] + send(packet, to: origins)
    }

    /// To each of the faces that wait and carry so large a packet; to the others their Interest is given
    /// back (RFC 8569 section 10.3.3).
    mutating func send(
        _ packet: DecodedPacket,
        to waiting: [PendingInterest.Origin]
    ) -> [ForwarderAction] {
        waiting.flatMap { (origin) -> [ForwarderAction] in
            guard let face = faces[origin.face] else { return [] }
            guard packet.wire.count <= face.packetLimit else {
                return refuse(origin.packet, .mtuTooLarge, to: origin.face)
            }
            counters.objectsForwarded += 1
            return [.sendContentObject(packet, to: origin.face)]
        }
    }
}
