package import Failures
internal import GRDB

extension StateDatabase {
    /// Notes, durably, that a request from elsewhere was received, so that it is not carried out a second time.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - memory: seconds for which it is remembered.
    ///   - limit: requests that are remembered at once.
    /// - Returns: false if it was received before.
    /// - Throws: `.busy` if no more can be remembered.
    package func noteManagementRequest(
        _ id: ObjectId,
        now: Int,
        memory: Int,
        limit: Int
    ) throws(Failure) -> Bool {
        try file.write(durably: true) { db in
            // A clock that was put back must not keep them for ever, nor forget them at once.
            try db.execute(
                sql: "DELETE FROM managed WHERE received <= ? OR received > ?",
                arguments: [now - memory, now + 86_400]
            )
            let known = try Int.fetchOne(
                db,
                sql: "SELECT received FROM managed WHERE request = ?",
                arguments: [Data32.data(id)]
            )
            if known != nil { return false }
            let count =
                try Int.fetchOne(
                    db,
                    sql: "SELECT COUNT(*) FROM managed WHERE received <= ?",
                    arguments: [now + memory]
                ) ?? 0
            guard count < limit else {
                throw Failure(
                    .busy,
                    "this node was sent \(count) requests in \(memory) s and takes no more for a while"
                )
            }
            try db.execute(
                sql: "INSERT INTO managed (request, received) VALUES (?, ?)",
                arguments: [Data32.data(id), now]
            )
            return true
        }
    }
}
