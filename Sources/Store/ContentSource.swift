package import CCNx
package import Failures

/// What answers "the bytes of this object, please": a store, a fetcher over faces, a fake in a test.
///
/// A source gives bytes whose SHA-256 is the id, or throws: `.noSource` when nobody it can ask has
/// the object, `.timedOut` when nobody answered, `.corrupt` when what came was wrong.
package protocol ContentSource: Sendable {
    /// Whether what it gives was checked against its id already.
    var givesCheckedBytes: Bool { get }
    func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8]
    /// Somebody waits now for what was asked for with less urgency.
    func hasten(_ request: ObjectRequest)
}

extension ContentSource {
    package var givesCheckedBytes: Bool { false }
    package func hasten(_ request: ObjectRequest) {}
}

/// How urgent it is what a task asks a source for; tasks that it starts inherit it.
package enum FetchUrgency: Int, Comparable, Sendable {
    /// Somebody waits for it.
    case reader
    /// Somebody will soon.
    case readAhead
    /// Somebody may one day.
    case background

    @TaskLocal package static var current = FetchUrgency.reader

    package static func < (left: FetchUrgency, right: FetchUrgency) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// An object, and where the network may know it.
package struct ObjectRequest: Hashable, Sendable {
    package let id: ObjectId
    /// The template or namespace whose repository holds it: the prefix of its CCNx name.
    package let prefix: Name

    package init(_ id: ObjectId, under prefix: Name) {
        self.id = id
        self.prefix = prefix
    }
}

/// The end of every stack of sources: nobody has it.
package struct NoSource: ContentSource {
    package init() {}

    package func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        throw Failure(
            .noSource,
            "object \(request.id) of \(request.prefix) is not here and there is no route",
            hint: "add one: --route \(request.prefix.prefix(1).uri)=tcp:HOST:9695"
        )
    }
}
