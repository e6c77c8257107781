/// The one error type of the project: what kind of thing went wrong, a sentence that names the thing,
/// and the failure below it, if any.
///
/// `kind` is for programs: errno (`FUSE/Errno.swift`), exit status (`Commands/ExitStatus.swift`) and
/// Interest Return code (`Forwarding/ReturnCode.swift`) are each one exhaustive `switch` over it.
/// `message` is for people: lower case, names the thing, no trailing stop. `hint` says what to do.
public struct Failure: Error, Sendable {
    public var kind: Kind
    public var message: String
    public var hint: String?
    private let below: Below?

    /// The failure that led to this one.
    public var cause: Failure? { below?.failure }

    public init(_ kind: Kind, _ message: String, hint: String? = nil, cause: Failure? = nil) {
        self.kind = kind
        self.message = message
        self.hint = hint
        self.below = cause.map(Below.init)
    }

    /// The same kind of failure, told with what only the caller knows; this one becomes its cause.
    public func wrapped(_ message: String, hint: String? = nil) -> Failure {
        Failure(kind, message, hint: hint ?? self.hint, cause: self)
    }

    /// Breaks the recursion of a value type that contains itself.
    private final class Below: Sendable {
        let failure: Failure
        init(_ failure: Failure) { self.failure = failure }
    }
}

extension Failure {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        /// The words of a command or a request are wrong.
        case usage
        /// A value that came from outside is malformed: a name, a file, a message.
        case invalid
        /// Bytes do not match what vouches for them.
        case corrupt
        /// A signature does not verify, or its key may not speak for the name.
        case untrusted
        /// There is no such thing here.
        case notFound
        /// It is there already.
        case exists
        /// A directory that has something in it.
        case notEmpty
        /// A directory where a file is wanted.
        case isDirectory
        /// A file where a directory is wanted.
        case notDirectory
        /// The thing cannot be changed.
        case readOnly
        /// The caller may not do this.
        case notPermitted
        /// Someone else is using it.
        case busy
        /// What is asked for is not something this version or this file can do.
        case unsupported
        /// A disk is full.
        case noSpace
        /// Larger than a stated limit.
        case tooLarge
        /// No peer and no repository has it, or none can be reached.
        case noSource
        /// The deadline passed.
        case timedOut
        /// A system call failed.
        case io
        /// A program, a device or a node that is needed is not there.
        case unavailable
        /// A configuration says something that cannot be followed.
        case configuration
        /// The caller, or the kernel on its behalf, gave up.
        case cancelled
    }
}

extension Failure: CustomStringConvertible {
    /// `message: cause: cause of the cause`.
    public var description: String {
        guard let cause else { return message }
        return "\(message): \(cause)"
    }

    /// The hint closest to where the failure was noticed.
    public var firstHint: String? { hint ?? cause?.firstHint }
}
