package import CCNx
package import Failures
internal import Foundation
internal import GRDB

/// What a key may do under a prefix. The raw value is kept in the database.
package struct TrustRights: OptionSet, Hashable, Sendable {
    package let rawValue: Int

    package init(rawValue: Int) { self.rawValue = rawValue }

    /// Sign templates.
    package static let publish = TrustRights(rawValue: 1)
    /// List, tag and withdraw templates from elsewhere.
    package static let manage = TrustRights(rawValue: 2)
    /// Look at VMs, make them, snapshot and republish them, from elsewhere.
    package static let operate = TrustRights(rawValue: 4)
    /// Be the node of that name: say which VMs it has, and be sent what is asked of it.
    package static let node = TrustRights(rawValue: 8)

    private static let byName: KeyValuePairs<String, TrustRights> = [
        "publish": .publish, "manage": .manage, "operate": .operate, "node": .node,
    ]

    package static var names: [String] { byName.map(\.key) }

    /// As commands write them.
    package var names: [String] { Self.byName.filter { contains($0.value) }.map(\.key) }

    package init(names: [String]) throws(Failure) {
        self = []
        for name in names {
            guard let right = Self.byName.first(where: { $0.key == name })?.value else {
                throw Failure(
                    .usage,
                    "there is no right \(name); these are: \(Self.names.joined(separator: ", "))"
                )
            }
            insert(right)
        }
    }
}

/// A key that may do something with all names under a prefix.
package struct TrustEntry: Sendable, Equatable {
    package let prefix: Name
    package let publicKeyDER: [UInt8]
    package let keyId: KeyId
    package let rights: TrustRights

    package init(
        prefix: Name,
        publicKeyDER: [UInt8],
        keyId: KeyId,
        rights: TrustRights = .publish
    ) {
        self.prefix = prefix
        self.publicKeyDER = publicKeyDER
        self.keyId = keyId
        self.rights = rights
    }
}

extension StateDatabase {
    package func trustEntries() throws(Failure) -> [TrustEntry] {
        try file.read { db in
            try Row.fetchAll(
                db,
                sql: "SELECT prefix, keyId, publicKey, rights FROM trust ORDER BY 1, 2"
            )
            .compactMap { row in
                guard let id = Data32.id(row[1]) else { return nil }
                let key: Data = row[2]
                return TrustEntry(
                    prefix: try Name(uri: row[0]),
                    publicKeyDER: Array(key),
                    keyId: KeyId(id.digest),
                    rights: TrustRights(rawValue: row[3])
                )
            }
        }
    }

    /// Adds the entry, or its rights to those that the key has for the prefix already.
    ///
    /// - Returns: false if it had all of them.
    package func addTrust(_ entry: TrustEntry, now: Int) throws(Failure) -> Bool {
        try file.write(durably: true) { db in
            try db.execute(
                sql: """
                    INSERT INTO trust (prefix, keyId, publicKey, added, rights)
                    VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (prefix, keyId) DO UPDATE SET rights = rights | excluded.rights
                        WHERE rights | excluded.rights != rights
                    """,
                arguments: [
                    entry.prefix.uri, Data(entry.keyId.digest.bytes), Data(entry.publicKeyDER), now,
                    entry.rights.rawValue,
                ]
            )
            return db.changesCount > 0
        }
    }

    /// - Returns: false if it was not there.
    package func removeTrust(prefix: Name, keyId: KeyId) throws(Failure) -> Bool {
        try file.write(durably: true) { db in
            try db.execute(
                sql: "DELETE FROM trust WHERE prefix = ? AND keyId = ?",
                arguments: [prefix.uri, Data(keyId.digest.bytes)]
            )
            return db.changesCount > 0
        }
    }
}
