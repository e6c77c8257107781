internal import Foundation

/// Ids as SQLite blobs.
enum Data32 {
    static func data(_ id: ObjectId) -> Data { Data(id.bytes) }

    static func id(_ data: Data?) -> ObjectId? { data.flatMap { ObjectId(bytes: Array($0)) } }
}
