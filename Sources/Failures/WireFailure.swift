/// A failure on its way to another process: kind, messages from the outermost to the first cause, hint.
public struct WireFailure: Sendable, Codable {
    public var kind: Failure.Kind
    public var messages: [String]
    public var hint: String?

    public init(_ failure: Failure) {
        kind = failure.kind
        hint = failure.firstHint
        messages = []
        var next: Failure? = failure
        while let one = next {
            messages.append(one.message)
            next = one.cause
        }
    }

    public var failure: Failure {
        var built: Failure?
        for message in messages.reversed() {
            built = Failure(kind, message, hint: hint, cause: built)
        }
        return built ?? Failure(kind, "the node gave no reason")
    }
}
