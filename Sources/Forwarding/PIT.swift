import CCNx

/// The pending Interests, found by what they ask for and by when they end (RFC 8569 section 2.4.2).
///
/// Invariants:
/// - `serials` has exactly one key for each entry, and it is that entry's.
/// - `serialsOfHash` and `hashRestrictedCounts` speak of the entries with a hash restriction only.
/// - Each entry has one item in `expiries`, never later than its expiry. An item may outlive its entry,
///   but there are never more than twice as many items as entries, plus a constant.
struct PIT {
    private static let toleratedStaleItems = 1_024

    private var entries: [UInt64: PendingInterest] = [:]
    private var serials: [InterestKey: UInt64] = [:]
    private var serialsOfHash: [ContentObjectHash: Set<UInt64>] = [:]
    private var hashRestrictedCounts: [Name: Int] = [:]
    private var expiries = TimerHeap()
    private var nextSerial: UInt64 = 1

    var count: Int { entries.count }
    /// When to call ``popExpired(now:)`` next; may be early, never late.
    var nextExpiry: UInt64? { expiries.first?.time }

    subscript(_ serial: UInt64) -> PendingInterest? { entries[serial] }

    func serial(of key: InterestKey) -> UInt64? { serials[key] }

    /// Changes an entry in place; its key must stay.
    mutating func update<Result>(
        _ serial: UInt64,
        _ change: (inout PendingInterest) -> Result
    ) -> Result? {
        guard let index = entries.index(forKey: serial) else { return nil }
        return change(&entries.values[index])
    }

    mutating func insert(_ entry: PendingInterest) -> UInt64 {
        let serial = nextSerial
        nextSerial += 1
        entries[serial] = entry
        serials[entry.key] = serial
        if let hash = entry.key.contentObjectHashRestriction {
            serialsOfHash[hash, default: []].insert(serial)
            hashRestrictedCounts[entry.key.name, default: 0] += 1
        }
        expiries.insert(TimerHeap.Item(time: entry.expiry, serial: serial))
        return serial
    }

    mutating func remove(_ serial: UInt64) -> PendingInterest? {
        guard let entry = entries.removeValue(forKey: serial) else { return nil }
        serials[entry.key] = nil
        if let hash = entry.key.contentObjectHashRestriction {
            serialsOfHash[hash]?.remove(serial)
            if serialsOfHash[hash]?.isEmpty == true { serialsOfHash[hash] = nil }
            let count = (hashRestrictedCounts[entry.key.name] ?? 1) - 1
            hashRestrictedCounts[entry.key.name] = count == 0 ? nil : count
        }
        dropStaleItems()
        return entry
    }

    /// Removes the entry that ends first, if its time has come.
    mutating func popExpired(now: UInt64) -> (serial: UInt64, entry: PendingInterest)? {
        while let item = expiries.first, item.time <= now {
            _ = expiries.popFirst()
            guard let entry = entries[item.serial] else { continue }
            if entry.expiry <= now {
                guard let removed = remove(item.serial) else { continue }
                return (item.serial, removed)
            }
            expiries.insert(TimerHeap.Item(time: entry.expiry, serial: item.serial))
        }
        return nil
    }

    /// The entries that `object` answers (RFC 8569 section 9). `hash` is asked for only if an entry
    /// depends on it.
    func matches(
        _ object: ContentObject,
        keyId: KeyId?,
        hash: () -> ContentObjectHash
    ) -> [UInt64] {
        guard let name = object.name else {
            guard !serialsOfHash.isEmpty else { return [] }
            return (serialsOfHash[hash()] ?? []).filter { serial in
                let restriction = entries[serial]?.key.keyIdRestriction
                return restriction == nil || restriction == keyId
            }
        }
        var hashes: [ContentObjectHash?] = [nil]
        if hashRestrictedCounts[name] != nil { hashes.append(hash()) }
        var found: [UInt64] = []
        for restriction in hashes {
            for keyId in keyId == nil ? [nil] : [nil, keyId] {
                let key = InterestKey(
                    name: name,
                    keyIdRestriction: keyId,
                    contentObjectHashRestriction: restriction
                )
                if let serial = serials[key] { found.append(serial) }
            }
        }
        return found
    }

    private mutating func dropStaleItems() {
        guard expiries.count > 2 * entries.count + Self.toleratedStaleItems else { return }
        expiries = TimerHeap(
            entries.map { TimerHeap.Item(time: $0.value.expiry, serial: $0.key) }
        )
    }
}
