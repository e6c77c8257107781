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
