package import CCNx
package import Failures
package import Foundation
package import Store
internal import Templates

/// How a publisher and a repository talk about one version: Interests for names that are never asked for
/// twice, so that nothing in between answers them.
///
/// ```
///   <template>/@publish/@offer/<key id>/<nonce>/chunk 0      may this key publish, as which version?
///   <template>/@publish/<record id>/<nonce>/chunk 0          here is the signed record; how far are you?
/// ```
/// The second has the request as its payload, each time: a repository that was started anew goes on from
/// what it has. It is asked again until the answer is final. The answer is a Content Object signed by the
/// repository, with a ``PublishReply`` as JSON. The segments go the other way: the repository asks the
/// publisher for the objects that it lacks, by the names all objects have, over the same face.
package enum PublishName: Hashable, Sendable {
    case offer(template: Name, key: KeyId, nonce: UInt64)
    case request(template: Name, record: ObjectId, nonce: UInt64)

    private static let marker = NameSegment.name("@publish")
    private static let offerMarker = NameSegment.name("@offer")

    /// What is to be published.
    package var template: Name {
        switch self {
        case .offer(let template, _, _), .request(let template, _, _): template
        }
    }

    package var name: Name {
        switch self {
        case .offer(let template, let key, let nonce):
            template.appending([
                Self.marker, Self.offerMarker, .name(bytes: key.digest.bytes),
                .name(String(nonce, radix: 16)), .chunk(0),
            ])
        case .request(let template, let record, let nonce):
            template.appending([
                Self.marker, .name(bytes: record.bytes), .name(String(nonce, radix: 16)),
                .chunk(0),
            ])
        }
    }

    /// - Returns: nil for names of anything else.
    package init?(_ name: Name) {
        let segments = name.segments
        guard let marker = segments.lastIndex(of: Self.marker), marker > 0 else { return nil }
        let template = name.prefix(marker)
        let rest = segments[(marker + 1)...].map(\.value)
        func nonce(_ value: [UInt8]) -> UInt64? {
            UInt64(String(decoding: value, as: UTF8.self), radix: 16)
        }
        if rest.count == 4, segments[marker + 1] == Self.offerMarker,
            let key = SHA256Digest(bytes: rest[1]), let nonce = nonce(rest[2])
        {
            self = .offer(template: template, key: KeyId(key), nonce: nonce)
        } else if rest.count == 3, let record = ObjectId(bytes: rest[0]),
            let nonce = nonce(rest[1])
        {
            self = .request(template: template, record: record, nonce: nonce)
        } else {
            return nil
        }
        guard self.name == name else { return nil }
    }
}

/// What goes with an Interest of ``PublishName/request``.
package struct PublishRequestPayload: Codable, Sendable {
    /// Of this exchange.
    package static let format = 1

    package var format: Int
    /// The signed template record.
    package var record: Data
    /// Signed by the namespace's owner: the repository may sign its catalog.
    package var delegation: Data?

    package init(record: [UInt8], delegation: [UInt8]?) {
        format = Self.format
        self.record = Data(record)
        self.delegation = delegation.map { Data($0) }
    }
}

/// What a repository says.
package enum PublishReply: Codable, Sendable {
    case offer(Offer)
    /// It fetches what it lacks.
    case pulling(Progress)
    /// Visible, and durable.
    case done(version: Int, Progress)
    /// The version is taken: sign anew, as this one.
    case taken(next: Int)
    case refused(WireFailure)

    package struct Offer: Codable, Sendable {
        package var nextVersion: Int
        /// The key that signs the catalog, DER.
        package var repositoryKey: Data
        /// This key may let the repository sign the catalog, which nobody has done yet.
        package var wantsDelegation: Bool

        package init(nextVersion: Int, repositoryKey: [UInt8], wantsDelegation: Bool) {
            self.nextVersion = nextVersion
            self.repositoryKey = Data(repositoryKey)
            self.wantsDelegation = wantsDelegation
        }
    }

    package struct Progress: Codable, Sendable, Equatable {
        /// Bytes of data that were looked at, and in all.
        package var doneBytes = 0
        package var totalBytes = 0
        package var pulledSegments = 0
        package var pulledBytes = 0

        package init() {}
    }
}

extension PublishReply {
    package init(json: [UInt8]) throws(Failure) {
        self = try JSONPayload.decoded(json, what: "answer of a repository")
    }
    package func json() throws(Failure) -> [UInt8] { try JSONPayload.encoded(self) }
}

extension PublishRequestPayload {
    /// - Throws: `.unsupported` for a newer format.
    package init(json: [UInt8]) throws(Failure) {
        self = try JSONPayload.decoded(json, what: "publish request")
        guard format <= Self.format else {
            throw Failure(
                .unsupported,
                "the publish request has format \(format)",
                hint: "a newer ccnfs takes it"
            )
        }
    }

    package func json() throws(Failure) -> [UInt8] { try JSONPayload.encoded(self) }
}
