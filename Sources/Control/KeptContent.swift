/// A disk or carried file that stays on this node.
package struct KeptContent: Sendable, Codable {
    package var template: String
    package var version: Int
    package var item: String
    /// Bytes of data.
    package var dataBytes: Int
    package var state: State
    /// Why it is not all here; nil when it is, or nobody has looked yet.
    package var problem: String?

    package enum State: String, Sendable, Codable {
        /// What is missing is fetched when others leave room for it.
        case waiting
        case fetching
        /// All of it is here.
        case here
    }

    package init(
        template: String,
        version: Int,
        item: String,
        dataBytes: Int,
        state: State,
        problem: String?
    ) {
        self.template = template
        self.version = version
        self.item = item
        self.dataBytes = dataBytes
        self.state = state
        self.problem = problem
    }
}
