package import CCNx
package import Failures
internal import Foundation
internal import GRDB

/// A key that may speak for all names under a prefix.
package struct TrustEntry: Sendable, Equatable {
    package let prefix: Name
    package let publicKeyDER: [UInt8]
    package let keyId: KeyId

    package init(prefix: Name, publicKeyDER: [UInt8], keyId: KeyId) {
        self.prefix = prefix
        self.publicKeyDER = publicKeyDER
        self.keyId = keyId
    }
}

extension StateDatabase {
    package func trustEntries() throws(Failure) -> [TrustEntry] {
        try file.read { db in
            try Row.fetchAll(db, sql: "SELECT prefix, keyId, publicKey FROM trust ORDER BY 1, 2")
                .compactMap { row in
                    guard let id = Data32.id(row[1]) else { return nil }
                    let key: Data = row[2]
                    return TrustEntry(
                        prefix: try Name(uri: row[0]),
                        publicKeyDER: Array(key),
                        keyId: KeyId(id.digest)
                    )
                }
        }
    }

    /// - Returns: false if it was there already.
    package func addTrust(_ entry: TrustEntry, now: Int) throws(Failure) -> Bool {
        try file.write(durably: true) { db in
            try db.execute(
                sql: """
                    INSERT OR IGNORE INTO trust (prefix, keyId, publicKey, added)
                    VALUES (?, ?, ?, ?)
                    """,
                arguments: [
                    entry.prefix.uri, Data(entry.keyId.digest.bytes), Data(entry.publicKeyDER), now,
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
