package import CCNx
internal import Failures
internal import Signing
internal import Synchronization

/// Content Objects of any name that passed through this node, in memory, for who asks next (RFC 8569 sections
/// 2.4.3 and 4).
///
/// - After its ExpiryTime nothing is answered with; after its Recommended Cache Time it is not kept.
/// - With a KeyIdRestriction only an object answers whose signature verifies under a key that it carries
///   and whose SHA-256 is that KeyId; no key is fetched. With a hash restriction only one that has the hash.
/// - There is no way in CCNx to ask past a cache that holds something wrong, so nothing stays longer than a
///   minute. A part of an object, which nobody can check before the others are there, stays for seconds only, for
///   those who read the same at the same time, and answers each face once: whoever asks again lost it, or found the
///   whole wrong, and is to get what the source says now.
///
/// Concurrency: any thread. `contents` is locked for look-ups; hashes and signatures are computed outside.
package final class PacketCache: Sendable {
    private let byteLimit: Int
    private let contents = Mutex(Contents())

    package static let defaultByteLimit = 16 << 20
    /// Milliseconds that a packet is kept at most.
    package static let lifetime: UInt64 = 60_000
    /// The same of a part of an object.
    package static let partLifetime: UInt64 = 4_000
    /// Faces that one part answers.
    fileprivate static let facesPerPart = 64
    /// Packets of one name, which differ in key or hash.
    private static let packetsPerName = 4
    /// Bytes that an entry takes beside its packet, roughly.
    private static let entryOverhead = 1_024

    fileprivate struct Entry {
        let packet: DecodedPacket
        let name: Name?
        let hash: ContentObjectHash
        /// Milliseconds since 1970 from which on it is not answered with.
        let end: UInt64
        /// Whether the signature is that of the key it carries; nil until somebody wanted to know.
        var isGenuine: Bool?
        let isPart: Bool
        /// Of a part: whom it answered.
        var answered: Set<FaceId> = []

        /// A decoded packet has its payload twice.
        var byteCount: Int {
            2 * packet.wire.count + (name?.overheadByteCount ?? 0) + entryOverhead
        }
    }

    fileprivate struct Contents {
        /// By serial number, in the order they came.
        var entries: [UInt64: Entry] = [:]
        var serials: [Name: [UInt64]] = [:]
        var namelessSerials: [ContentObjectHash: UInt64] = [:]
        var nextSerial: UInt64 = 0
        /// No entry has a lower one.
        var oldestSerial: UInt64 = 0
        var byteCount = 0
    }

    package init(byteLimit: Int = defaultByteLimit) {
        self.byteLimit = byteLimit
    }

    package var packetCount: Int { contents.withLock { $0.entries.count } }
    package var byteCount: Int { contents.withLock { $0.byteCount } }

    /// Keeps a Content Object that was asked for and came from whom it was asked of.
    ///
    /// - Parameters:
    ///   - isPart: it is one chunk of several of an object whose id says nothing of it alone.
    ///   - now: milliseconds since 1970.
    /// - Returns: false if it may not be kept, or does not fit.
    @discardableResult
    package func insert(_ packet: DecodedPacket, isPart: Bool = false, now: UInt64) -> Bool {
        guard case .contentObject(let object) = packet.packet else { return false }
        let end = min(
            object.expiryTimeMilliseconds ?? .max,
            object.recommendedCacheTimeMilliseconds ?? .max,
            now + (isPart ? Self.partLifetime : Self.lifetime)
        )
        let entry = Entry(
            packet: packet,
            name: object.name,
            hash: packet.contentObjectHash,
            end: end,
            isPart: isPart
        )
        guard end > now, entry.byteCount <= byteLimit else { return false }
        contents.withLock { contents in
            contents.removeOthers(like: entry, beyond: Self.packetsPerName)
            contents.add(entry)
            while contents.byteCount > byteLimit { contents.removeOldest() }
        }
        return true
    }

    /// - Parameters:
    ///   - face: where it came from.
    ///   - now: milliseconds since 1970.
    /// - Returns: nil if nothing here may answer the Interest.
    package func answer(_ interest: Interest, from face: FaceId, now: UInt64) -> DecodedPacket? {
        for (serial, entry) in candidates(for: interest, now: now) {
            if let wanted = interest.contentObjectHashRestriction, entry.hash != wanted { continue }
            if let wanted = interest.keyIdRestriction {
                guard entry.packet.validation?.keyId == wanted, isGenuine(entry, serial) else {
                    continue
                }
            }
            if entry.isPart, !contents.withLock({ $0.notePart(serial, answers: face) }) { continue }
            return entry.packet
        }
        return nil
    }

    /// The newest first.
    private func candidates(
        for interest: Interest,
        now: UInt64
    ) -> [(serial: UInt64, entry: Entry)] {
        contents.withLock { contents in
            var serials = contents.serials[interest.name] ?? []
            if let hash = interest.contentObjectHashRestriction,
                let nameless = contents.namelessSerials[hash]
            {
                serials.append(nameless)
            }
            return serials.reversed().compactMap { (serial) -> (serial: UInt64, entry: Entry)? in
                guard let entry = contents.entries[serial] else { return nil }
                if entry.end > now { return (serial: serial, entry: entry) }
                contents.remove(serial)
                return nil
            }
        }
    }

    /// Whether the packet is signed by the key it carries, which is the one that its KeyId names.
    private func isGenuine(_ entry: Entry, _ serial: UInt64) -> Bool {
        if let known = entry.isGenuine { return known }
        var isGenuine = false
        do throws(Failure) {
            if let key = try ValidationCheck.embeddedKey(of: entry.packet) {
                try ValidationCheck.verify(entry.packet, expecting: key)
                isGenuine = true
            }
        } catch {
            // Then it answers nobody who asks for that key.
        }
        contents.withLock { [isGenuine] in $0.entries[serial]?.isGenuine = isGenuine }
        return isGenuine
    }
}

extension PacketCache.Contents {
    fileprivate mutating func add(_ entry: PacketCache.Entry) {
        let serial = nextSerial
        nextSerial += 1
        entries[serial] = entry
        byteCount += entry.byteCount
        if let name = entry.name {
            serials[name, default: []].append(serial)
        } else {
            namelessSerials[entry.hash] = serial
        }
    }

    /// - Returns: false if it is not to answer the face; then it is kept no longer.
    fileprivate mutating func notePart(_ serial: UInt64, answers face: FaceId) -> Bool {
        guard var answered = entries[serial]?.answered, answered.insert(face).inserted,
            answered.count <= PacketCache.facesPerPart
        else {
            remove(serial)
            return false
        }
        entries[serial]?.answered = answered
        return true
    }

    /// The same packet, which comes with new times, and the oldest of its name if there are too many.
    fileprivate mutating func removeOthers(like entry: PacketCache.Entry, beyond limit: Int) {
        guard let name = entry.name else {
            if let serial = namelessSerials[entry.hash] { remove(serial) }
            return
        }
        for serial in serials[name] ?? [] where entries[serial]?.hash == entry.hash {
            remove(serial)
        }
        while let ofName = serials[name], ofName.count >= limit { remove(ofName[0]) }
    }

    fileprivate mutating func remove(_ serial: UInt64) {
        guard let entry = entries.removeValue(forKey: serial) else { return }
        byteCount -= entry.byteCount
        if let name = entry.name {
            serials[name]?.removeAll { $0 == serial }
            if serials[name]?.isEmpty == true { serials[name] = nil }
        } else {
            namelessSerials[entry.hash] = nil
        }
    }

    fileprivate mutating func removeOldest() {
        while oldestSerial < nextSerial, entries[oldestSerial] == nil { oldestSerial += 1 }
        remove(oldestSerial)
    }
}
