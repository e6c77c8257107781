import CCNx

/// The path of an Interest Return (RFC 8569 section 10): it concerns one hop, is not authenticated,
/// and counts only from a face that the Interest was sent to.
extension Forwarder {
    mutating func receive(
        _ interestReturn: InterestReturn,
        from face: FaceId,
        now: UInt64
    ) -> [ForwarderAction] {
        let wasAwaited = pit.serial(of: InterestKey(interestReturn.interest)).flatMap { serial in
            pit.update(serial) { entry in
                guard let index = entry.nextHops.firstIndex(where: { $0.face == face }),
                    entry.nextHops[index].isAwaited
                else { return nil as UInt64? }
                entry.nextHops[index].isAwaited = false
                return serial
            } ?? nil
        }
        guard let serial = wasAwaited else {
            counters.returnsUnsolicited += 1
            return []
        }
        return noteReturn(serial, code: interestReturn.code, now: now)
    }

    /// One next hop will not answer: keep the most telling code, ask the next candidate.
    mutating func noteReturn(
        _ serial: UInt64,
        code: ReturnCode,
        now: UInt64
    ) -> [ForwarderAction] {
        pit.update(serial) { entry in
            // What is too large for one way is not tried on another (section 10.3.3).
            if code == .mtuTooLarge { entry.untried = [] }
            entry.noteReturn(code)
        }
        return tryNext(serial, otherwise: code, now: now)
    }
}
