package import CCNx

extension FetchScheduler {
    /// The repositories on the way to a name in the order in which they are asked, for what each of them may say
    /// something else of, such as which catalog is the newest. Those that cannot be reached, or are not asked for
    /// a while, are left out while another can be.
    package func repositories(for name: Name, now: UInt64) -> [SourceId] {
        let ranked = sources.compactMap { id, source in
            source.rank(for: name).map {
                (
                    id: id, isOpen: source.isUp && !source.isBenched(at: now),
                    length: $0.length, cost: $0.cost
                )
            }
        }
        .sorted { ($1.length, $0.cost, $0.id) < ($0.length, $1.cost, $1.id) }
        let open = ranked.filter(\.isOpen)
        return (open.isEmpty ? ranked : open).map(\.id)
    }
}
