package import CCNx
package import Store

/// How nodes and repositories are managed from elsewhere: Interests for names that are never asked for twice,
/// so that nothing in between answers them.
///
/// ```
///   <target>/@manage/<request id>/<attempt>/chunk n               here is the signed request; what came of it?
///   <namespace>/@node/<key id>/<serial>/chunk n                   part n of what a node says of its VMs
/// ```
/// The target is the name of a node, of a template, or a prefix of such names, which may be empty. The first has
/// the request as its payload, each time, and is asked again under another attempt, a number that counts up
/// from any, until the answer is final; the chunks after the first are the rest of a long answer. The second has
/// its part as its payload; the namespace is that of the node's name.
package enum ManagementName: Hashable, Sendable {
    case request(target: Name, id: ObjectId, attempt: UInt64, chunk: UInt64)
    case report(namespace: Name, key: KeyId, serial: UInt64, part: UInt64)

    private static let requestMarker = NameSegment.name("@manage")
    private static let reportMarker = NameSegment.name("@node")

    package var name: Name {
        switch self {
        case .request(let target, let id, let attempt, let chunk):
            target.appending([
                Self.requestMarker, .name(bytes: id.bytes), .name(String(attempt, radix: 16)),
                .chunk(chunk),
            ])
        case .report(let namespace, let key, let serial, let part):
            namespace.appending([
                Self.reportMarker, .name(bytes: key.digest.bytes),
                .name(String(serial, radix: 16)), .chunk(part),
            ])
        }
    }

    /// - Returns: nil for names of anything else.
    package init?(_ name: Name) {
        let segments = name.segments
        // The marker first: every Interest for an object comes by here.
        guard segments.count >= 4 else { return nil }
        let marker = segments[segments.count - 4]
        guard marker == Self.requestMarker || marker == Self.reportMarker,
            let chunk = segments[segments.count - 1].chunkNumber,
            let number = segments[segments.count - 2].text.flatMap({ UInt64($0, radix: 16) }),
            let digest = SHA256Digest(bytes: segments[segments.count - 3].value)
        else { return nil }
        let before = name.prefix(segments.count - 4)
        switch marker {
        case Self.requestMarker:
            self = .request(target: before, id: ObjectId(digest), attempt: number, chunk: chunk)
        case Self.reportMarker where before.segments.count == 1:
            self = .report(namespace: before, key: KeyId(digest), serial: number, part: chunk)
        default: return nil
        }
        // One spelling only.
        guard self.name == name else { return nil }
    }
}
