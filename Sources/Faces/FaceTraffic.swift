internal import NIOCore

/// What went over a face since it came up. Bytes are those of packets, without the headers of what carries them.
package struct FaceTraffic: Sendable {
    package internal(set) var packetsReceived = 0
    package internal(set) var bytesReceived = 0
    /// Of those that were queued; what a face that is lost did not send is among them.
    package internal(set) var packetsSent = 0
    package internal(set) var bytesSent = 0
    /// Bytes that went over the connection for them: fewer where they were compressed.
    package internal(set) var linkBytesReceived = 0
    package internal(set) var linkBytesSent = 0
    /// For which its queue had no room, or whose address, which may be forged, had its share.
    package internal(set) var packetsDropped = 0
    let start = NIODeadline.now()

    /// Whole seconds since the face came up.
    package var upSeconds: Int { Int((NIODeadline.now() - start).nanoseconds / 1_000_000_000) }

    mutating func noteReceived(byteCount: Int, linkByteCount: Int) {
        packetsReceived += 1
        bytesReceived += byteCount
        linkBytesReceived += linkByteCount
    }

    mutating func noteSent(byteCount: Int, linkByteCount: Int) {
        packetsSent += 1
        bytesSent += byteCount
        linkBytesSent += linkByteCount
    }
}
