internal import CCNx
internal import Control
internal import Dispatch
internal import Failures
internal import Files
internal import Logging
internal import Repositories
internal import Store
internal import Synchronization

/// Keeps what this node forwards for others, so that whoever asks next need not go further (RFC 8569 section
/// 2.4.3).
///
/// A segment of a disk, whose name has its id, is kept on disk under that id: it is checked like what this
/// node fetches itself, and answers under any name. Every other packet is kept as it is, in memory and not for long;
/// a part of an object, which cannot be checked, for seconds.
///
/// Concurrency: any thread. What passes waits for `queue`, which hashes and writes; what does not fit there
/// is not kept.
final class TransitCache: Sendable {
    private let packets = PacketCache()
    private let store: TransitStore
    private let logger: Logger
    private let queue = DispatchQueue(label: "ccnfs.transit")
    private let waitingBytes = Atomic<Int>(0)
    private let keptPackets = Atomic<Int>(0)
    private let answeredPackets = Atomic<Int>(0)
    private let droppedPackets = Atomic<Int>(0)
    private let wrongObjects = Atomic<Int>(0)
    private let hasFailed = Atomic<Bool>(false)

    /// Bytes of packets that wait to be looked at.
    private static let waitingByteLimit = 8 << 20

    init(store: TransitStore, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// A Content Object was forwarded. Returns at once.
    func offer(_ packet: DecodedPacket) {
        let byteCount = packet.wire.count
        guard waitingBytes.add(byteCount, ordering: .relaxed).newValue <= Self.waitingByteLimit
        else {
            waitingBytes.subtract(byteCount, ordering: .relaxed)
            droppedPackets.add(1, ordering: .relaxed)
            return
        }
        queue.async {
            self.keep(packet)
            self.waitingBytes.subtract(byteCount, ordering: .relaxed)
        }
    }

    /// What may answer the Interest, of the packets; segments are found by their ids with all others.
    ///
    /// - Parameters:
    ///   - face: where it came from.
    ///   - now: milliseconds since 1970.
    func answer(_ interest: Interest, from face: FaceId, now: UInt64) -> DecodedPacket? {
        guard let packet = packets.answer(interest, from: face, now: now) else { return nil }
        answeredPackets.add(1, ordering: .relaxed)
        return packet
    }

    // MARK: Away from the event loop

    private func keep(_ packet: DecodedPacket) {
        guard case .contentObject(let object) = packet.packet else { return }
        switch Self.kind(of: object, packet.validation) {
        case .segment(let id): keepSegment(object.payload, id)
        case .wrong: wrongObjects.add(1, ordering: .relaxed)
        case .part: keepPacket(packet, isPart: true)
        case .packet: keepPacket(packet, isPart: false)
        }
    }

    private func keepPacket(_ packet: DecodedPacket, isPart: Bool) {
        let now = UInt64(WallClock.nanoseconds / 1_000_000)
        guard packets.insert(packet, isPart: isPart, now: now) else { return }
        keptPackets.add(1, ordering: .relaxed)
    }

    private enum Kind {
        /// Its bytes are those of the id.
        case segment(ObjectId)
        /// It is not what its name says.
        case wrong
        /// One of several chunks of an object; they are checked by who has all of them.
        case part
        case packet
    }

    private static func kind(of object: ContentObject, _ validation: Validation?) -> Kind {
        guard let asked = object.name.flatMap(ObjectName.init) else { return .packet }
        let isWhole = asked.chunk == 0 && ObjectId(of: object.payload) == asked.request.id
        guard isWhole else { return asked.mayBePart(object) ? .part : .wrong }
        // Of a segment nothing is kept but its bytes, so they must be all that was said.
        let isPlain =
            object.payloadType == .data && object.expiryTimeMilliseconds == nil
            && object.recommendedCacheTimeMilliseconds == nil && validation == nil
        let isSegment = TransitStore.segmentSizes.contains(object.payload.count)
        return isPlain && isSegment ? .segment(asked.request.id) : .packet
    }

    private func keepSegment(_ bytes: [UInt8], _ id: ObjectId) {
        do throws(Failure) {
            try store.keep(bytes, id: id)
        } catch {
            // What passes is not known to be wanted again; it went on its way already.
            droppedPackets.add(1, ordering: .relaxed)
            guard !hasFailed.exchange(true, ordering: .relaxed) else { return }
            logger.warning(
                "what passes through is not kept",
                metadata: ["cause": "\(error)"]
            )
        }
    }

    // MARK: For those who look

    var report: NodeStatus.TransitReport {
        let usage = store.usage
        var report = NodeStatus.TransitReport()
        report.segmentBytes = usage.byteCount
        report.keptSegments = usage.keptSegments
        report.answeredSegments = usage.foundSegments
        report.packets = packets.packetCount
        report.packetBytes = packets.byteCount
        report.keptPackets = keptPackets.load(ordering: .relaxed)
        report.answeredPackets = answeredPackets.load(ordering: .relaxed)
        report.droppedPackets = droppedPackets.load(ordering: .relaxed)
        report.wrongObjects = wrongObjects.load(ordering: .relaxed)
        return report
    }
}

extension ObjectName {
    /// Whether the answer to this name could be one of several chunks, by its size and place: no object has more than
    /// ``streamChunkSize`` bytes, and only the last chunk is short.
    fileprivate func mayBePart(_ object: ContentObject) -> Bool {
        let byteCount = object.payload.count
        guard chunkSize < Self.streamChunkSize, byteCount > 0, byteCount <= chunkSize,
            chunk * chunkSize + byteCount <= Self.streamChunkSize
        else { return false }
        guard let last = object.endChunkNumber else { return chunk > 0 || byteCount == chunkSize }
        return last > 0 && chunk <= last && (chunk == last || byteCount == chunkSize)
    }
}
