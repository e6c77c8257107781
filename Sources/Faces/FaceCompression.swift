import CCNx
import Failures

/// Compression of one face over a stream: agrees on it, and puts packets into envelopes and takes them out once that is
/// done. Lives on the table's event loop.
final class FaceCompression {
    /// What to send first; nil if the neighbour is the one who asks.
    let question: [UInt8]?
    private var agreement: CompressionAgreement
    private let compressor: PacketCompressor

    init(_ agreement: CompressionAgreement, _ compressor: PacketCompressor) throws(Failure) {
        question = try agreement.question()
        self.agreement = agreement
        self.compressor = compressor
    }

    /// Packets may be compressed, either way.
    var isInForce: Bool { agreement.isInForce }

    /// What goes over the connection for a packet.
    func outgoing(_ packet: [UInt8]) -> [UInt8] {
        guard isInForce else { return packet }
        return compressor.envelope(of: packet) ?? packet
    }

    /// The packet that came over the connection. An envelope that nobody agreed to is a packet of a type that is not
    /// spoken here.
    func incoming(_ wire: [UInt8]) throws(Failure) -> [UInt8] {
        guard isInForce, PacketCompressor.isEnvelope(wire) else { return wire }
        return try compressor.packet(in: wire)
    }

    func received(_ packet: Packet) throws(Failure) -> CompressionAgreement.Outcome {
        try agreement.received(packet)
    }

    func noteAnswered() { agreement.noteAnswered() }
}

extension FaceTable {
    /// Nil for a face on which neither end may ask for it.
    func compression(
        of address: FaceAddress,
        _ direction: Face.Direction
    ) throws(Failure) -> FaceCompression? {
        switch direction {
        case .outgoing:
            guard settings.compressedAddresses.contains(address) else { return nil }
            let nonce = UInt64.random(in: .min ... .max)
            return try FaceCompression(CompressionAgreement(asking: nonce), compressor)
        case .incoming:
            guard settings.acceptsCompression else { return nil }
            return try FaceCompression(CompressionAgreement(), compressor)
        }
    }
}
