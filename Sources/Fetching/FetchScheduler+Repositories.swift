package import CCNx

extension FetchScheduler {
    /// The repositories on the way to a name in the order in which they are asked, for what each of them may say
    /// something else of, such as which catalog is the newest. Those that cannot be reached are left out while
    /// another can.
    package func repositories(for name: Name) -> [SourceId] {
        let ranked = sources.compactMap { id, source in
            source.rank(for: name).map {
                (id: id, isUp: source.isUp, length: $0.length, cost: $0.cost)
            }
        }
        .sorted { ($1.length, $0.cost, $0.id) < ($0.length, $1.cost, $1.id) }
        let up = ranked.filter(\.isUp)
        return (up.isEmpty ? ranked : up).map(\.id)
    }
}
