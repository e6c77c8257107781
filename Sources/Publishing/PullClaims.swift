internal import CCNx
internal import Profiles
internal import Store
internal import Synchronization

/// What one pull has stored, or found here and counts on, and nothing names yet.
///
/// Invariant: what is looked for is claimed first, in the same turn, so that what was found here stays, and
/// what was not is fetched.
///
/// Of the content that is being pulled each segment is remembered, 32 bytes for one; of one that is complete,
/// its root.
///
/// Concurrency: any thread; changed within turns of the ``PublishingGate`` only, read while there are none.
final class PullClaims: Sendable {
    /// A complete content.
    struct Content: Hashable {
        let descriptor: ContentDescriptor
        let prefix: Name
    }

    private struct State {
        var objects: [ObjectId] = []
        var contents: Set<Content> = []
        var segments: [ObjectId] = []
        var nodes: [ObjectId] = []
        var image: Int?
    }

    private let state = Mutex(State())

    /// Records, listings, parts of carried files: until the pull ends.
    func claim(objects: [ObjectId]) { state.withLock { $0.objects += objects } }

    /// Segments of the content that is being pulled.
    func claim(segments: [ObjectId]) { state.withLock { $0.segments += segments } }

    /// What the sink has stored beside segments: nodes of the manifest, and an image that the index does not
    /// know all of.
    func note(_ sink: SegmentSink) {
        let stored = sink.stored
        state.withLock { state in
            state.nodes = stored.nodes
            state.image = stored.image
        }
    }

    /// All of it is here now, its manifest too.
    func complete(_ content: ContentDescriptor, under prefix: Name) {
        state.withLock { state in
            state.contents.insert(Content(descriptor: content, prefix: prefix))
            state.segments = []
            state.nodes = []
            state.image = nil
        }
    }

    var objects: [ObjectId] { state.withLock { $0.objects + $0.segments + $0.nodes } }
    var contents: Set<Content> { state.withLock(\.contents) }
    /// Numbers of image files that bytes are being written to.
    var images: [Int] { state.withLock { $0.image.map { [$0] } ?? [] } }
}
