/// The bounds of everything a face keeps, and its patience.
package struct FaceSettings: Hashable, Sendable {
    /// Faces of neighbours that connected, at once; further ones are turned away. Those that this node
    /// connects come on top.
    package var faceCount = 1_024
    /// The same, of neighbours at one address, so that one machine cannot use up all of them. Of one IPv6 network of
    /// 64 bits three quarters of all are taken, since a machine has as many addresses there as it likes.
    package var faceCountPerAddress = 256
    /// Bytes waiting to be sent on one face, with what keeping them takes. What does not fit is dropped: who asked will ask again.
    package var queuedByteCount = 8 << 20
    /// The same, on all faces together, but for the first bytes of each.
    package var queuedByteCountOfAll = 64 << 20
    /// What a face may always queue, however much waits on others: neighbours that take nothing do not keep
    /// those from being answered that do.
    package var reservedByteCount = 128 << 10
    /// A packet whose end has not come so long after its beginning closes its face.
    package var packetMilliseconds: Int64 = 10_000
    /// A face that has sent nothing for so long, with a full queue, is closed.
    package var stallMilliseconds: Int64 = 30_000
    package var maximumPacketLength = 65_535
    /// Of the faces of neighbours that connected, those over UDP. An address can be forged there, so that
    /// whoever forges many must not keep others out.
    package var datagramFaceCount = 512
    /// A neighbour who came over UDP is answered with packets of so many bytes at most; what is larger is given
    /// back: MTU too large. It is what a packet of 1,500 bytes has room for behind the headers of IPv6 and UDP: an
    /// answer in fragments is lost with any of them, and is the larger a gift to who forges addresses.
    package var datagramAnswerByteCount = 1_500 - 40 - 8
    /// The same neighbours are sent so many times the bytes that came from their address, since it may be that of
    /// somebody else who never asked. Chunks of 1,024 bytes are less than this, whatever their names.
    package var datagramAnswerRatio = 16
    /// And, beyond that, so many bytes in each second: names outside ccnfs may be short.
    package var datagramAllowanceByteCount = 64 << 10
    /// A neighbour who came over UDP and says nothing for so long is forgotten; longer than an Interest
    /// lives.
    package var idleMilliseconds: Int64 = 90_000
    /// The same while there are as many of them as may be.
    package var crowdedIdleMilliseconds: Int64 = 5_000
    /// A neighbour who connected over TCP and says nothing for so long is closed while there are as many faces as may be.
    /// A node that follows a catalog or reports its VMs is never as silent.
    package var crowdedStreamIdleMilliseconds: Int64 = 120_000
    /// A neighbour asked over UDP from whom nothing came for so long has perhaps moved: its name is resolved
    /// anew.
    package var silenceMilliseconds: Int64 = 30_000
    /// Asked for each UDP socket and each way; the kernel may give less. A window of answers fits many times.
    package var datagramBufferByteCount = 4 << 20
    package var connectTimeoutMilliseconds: Int64 = 5_000
    /// The first pause before connecting again; it doubles with each failure.
    package var reconnectMilliseconds: Int64 = 100
    package var maximumReconnectMilliseconds: Int64 = 30_000
    /// A connection that lasted so long counts as a success, so that the next pause is short.
    package var stableMilliseconds: Int64 = 10_000
    package var listenBacklog: Int32 = 128
    /// Neighbours that this node connects to over TCP or a Unix socket, and asks whether packets may be compressed.
    package var compressedAddresses: Set<FaceAddress> = []
    /// Whether that is agreed to when a neighbour that connected asks.
    package var acceptsCompression = false

    package init() {}
}
