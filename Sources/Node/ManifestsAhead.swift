internal import CCNx
internal import Failures
internal import Files
internal import Profiles
internal import Store
internal import Templates

/// Fetches the manifests of what a followed catalog shows, so that the very first read of a disk waits for its segment
/// alone.
///
/// Of the newest version of each template, since that is what somebody opens by name: first the way from the root to the
/// first leaf of every disk, small disks first, then the other leaves in the same order. In the background and a few at
/// once: who reads goes before. Each root once in a run of the node, unless nobody answered.
///
/// Concurrency: any thread; `state` guards what was fetched and the task that fetches.
final class ManifestsAhead: Sendable {
    private let namespace: Name
    private let store: LayeredStore
    private let templates: Templates
    private let limits: Limits
    private let state = Guarded(State())

    struct Limits {
        var disks = 256
        /// Nodes of at most 32 KiB, each time that a catalog shows something new: those of disks of 32 GiB in all.
        var nodes = 1_024
    }

    private struct State {
        var task: Task<Void, Never>?
        /// Roots of what the catalog shows that need not be looked at again.
        var done: Set<ObjectId> = []
    }

    /// 256 KiB: what a reader over 10 Mbit/s has to wait for is a fifth of a second.
    private static let nodesAtOnce = 8

    init(of namespace: Name, store: LayeredStore, templates: Templates, limits: Limits = Limits()) {
        self.namespace = namespace
        self.store = store
        self.templates = templates
        self.limits = limits
    }

    /// Fetches what is new, unless that goes on already. Returns at once.
    func begin() {
        state.withLock { state in
            guard state.task == nil else { return }
            state.task = Task {
                await fetchNew()
                self.state.withLock { $0.task = nil }
            }
        }
    }

    func cancel() { state.withLock { $0.task?.cancel() } }

    func fetchNew() async {
        let manifests = newManifests()
        guard !manifests.isEmpty else { return }
        await FetchUrgency.$current.withValue(.background) {
            await fetch(manifests)
        }
    }

    /// Of disks that have a manifest, and were not looked at before.
    private func newManifests() -> [ManifestReader] {
        var found: [ObjectId: (content: ContentDescriptor, prefix: Name)] = [:]
        for template in templates.all() where template.name.hasPrefix(namespace) {
            guard let version = template.newest, version.problem == nil, !version.publishedHere
            else { continue }
            for disk in version.record?.disks ?? [] where disk.content.levels > 0 {
                guard !disk.content.root.isHole else { continue }
                found[disk.content.root] = (disk.content, template.name)
            }
        }
        let done = state.withLock { state in
            // What is shown no more is forgotten.
            state.done.formIntersection(found.keys)
            return state.done
        }
        return found.filter { !done.contains($0.key) }.values
            .map { ManifestReader($0.content, prefix: $0.prefix, source: store) }
            .sorted { ($0.leafCount, $0.descriptor.root) < ($1.leafCount, $1.descriptor.root) }
    }

    private func fetch(_ manifests: [ManifestReader]) async {
        var nodesLeft = limits.nodes
        var begun: [ManifestReader] = []
        for start in stride(from: 0, to: min(manifests.count, limits.disks), by: Self.nodesAtOnce) {
            guard !Task.isCancelled, nodesLeft > 0 else { break }
            let end = min(start + Self.nodesAtOnce, manifests.count, limits.disks)
            let some = manifests[start..<end]
            nodesLeft -= some.reduce(0) { $0 + $1.descriptor.levels }
            guard let here = await fetchFirstLeaves(of: some) else { return }
            begun += here
        }
        for manifest in begun where nodesLeft > 0 && manifest.leafCount > 1 {
            guard !Task.isCancelled else { return }
            let leaves = 1..<min(manifest.leafCount, 1 + nodesLeft)
            nodesLeft -= leaves.count
            guard await manifest.fetchLeaves(leaves, atOnce: Self.nodesAtOnce) else { break }
        }
        // What is missing now, or was past the limits, comes when somebody reads there.
        if !Task.isCancelled {
            state.withLock { $0.done.formUnion(manifests.map(\.descriptor.root)) }
        }
    }

    /// - Returns: those that are here now; nil if nobody answers, so that it is tried again later.
    private func fetchFirstLeaves(of manifests: ArraySlice<ManifestReader>) async
        -> [ManifestReader]?
    {
        let results = await withTaskGroup { group in
            for manifest in manifests {
                group.addTask { (manifest, await Self.problem(of: manifest)) }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let isAnybodyThere = results.allSatisfy { $0.1 == nil || $0.1?.kind == .noSource }
        return isAnybodyThere ? results.filter { $0.1 == nil }.map(\.0) : nil
    }

    private static func problem(of manifest: ManifestReader) async -> Failure? {
        do throws(Failure) {
            _ = try await manifest.leaf(0)
            return nil
        } catch {
            return error
        }
    }
}
