internal import CCNx
internal import Failures
internal import Foundation

/// What goes over the node's control socket, either way: one JSON value a frame, but for image bytes.
enum ControlMessage: Sendable, Codable {
    // From the command
    case request(ControlRequest)
    case signature(Data)
    /// The command could not do what the node asked it for.
    case refusal(WireFailure)

    // From the node
    case progress(ControlProgress)
    case wantsSignature(name: String, payload: Data, timeMilliseconds: UInt64)
    case wantsBytes(Int)
    case response(ControlResponse)
    case failure(WireFailure)
}

/// A failure with its causes.
struct WireFailure: Sendable, Codable {
    var kind: Failure.Kind
    var messages: [String]
    var hint: String?

    init(_ failure: Failure) {
        kind = failure.kind
        hint = failure.firstHint
        messages = []
        var next: Failure? = failure
        while let one = next {
            messages.append(one.message)
            next = one.cause
        }
    }

    var failure: Failure {
        var built: Failure?
        for message in messages.reversed() {
            built = Failure(kind, message, hint: hint, cause: built)
        }
        return built ?? Failure(kind, "the node gave no reason")
    }
}

/// A frame of the control socket.
///
/// ```
///   | length (4, big-endian) | kind (1) | payload (length - 1) |      kind 1: JSON, kind 2: bytes
/// ```
enum ControlFrame: Sendable {
    case message(ControlMessage)
    case bytes([UInt8])

    static let lengthLimit = 64 << 20
    static let messageKind: UInt8 = 1
    static let bytesKind: UInt8 = 2
}
