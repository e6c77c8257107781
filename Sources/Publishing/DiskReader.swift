internal import Dispatch
package import Failures
internal import Images
internal import Synchronization

/// Feeds a disk image to a sink: reads and hashes on threads of its own, off the cooperative pool.
///
/// Concurrency: `lanes` threads take pieces in turn; `state` guards what comes next.
final class DiskReader: Sendable {
    /// Bytes of a piece; a multiple of every segment size.
    static let pieceByteCount = 1 << 20
    private static let lanes = 2
    /// Bytes whose extents are asked for at once.
    private static let extentWindow = 1 << 30

    private let sink: SegmentSink
    /// Bytes of data read so far.
    let doneByteCount = Atomic<Int>(0)
    /// Bytes of data in all; -1 while nobody knows.
    let totalByteCount = Atomic<Int>(-1)
    private let isCancelled = Atomic<Bool>(false)

    init(sink: SegmentSink) { self.sink = sink }

    /// Makes the reading end with `.cancelled`.
    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    // MARK: Images

    /// Reads the whole image.
    func read(_ image: any ImageSource) async throws(Failure) {
        let pieces = try await onThread { () throws(Failure) in try self.pieces(of: image) }
        let next = Atomic<Int>(0)
        let hasFailed = Atomic<Bool>(false)
        totalByteCount.store(
            pieces.reduce(0) { $0 + ($1.isHole ? 0 : $1.byteCount) },
            ordering: .relaxed
        )
        let lane = { @Sendable () throws(Failure) in
            while !hasFailed.load(ordering: .relaxed) {
                let index = next.add(1, ordering: .relaxed).oldValue
                guard index < pieces.count else { return }
                do throws(Failure) {
                    try self.take(pieces[index], index, from: image)
                } catch {
                    hasFailed.store(true, ordering: .relaxed)
                    throw error
                }
            }
        }
        async let first = result { () async throws(Failure) in try await self.onThread(lane) }
        async let second = result { () async throws(Failure) in try await self.onThread(lane) }
        try await first.get()
        try await second.get()
    }

    private struct Piece {
        var offset: Int
        var byteCount: Int
        var isHole: Bool
    }

    /// The disk cut into pieces; one that has any data is read whole.
    private func pieces(of image: any ImageSource) throws(Failure) -> [Piece] {
        let size = Self.pieceByteCount
        let count = (image.virtualSize + size - 1) / size
        var hasData = [Bool](repeating: false, count: count)
        for start in stride(from: 0, to: image.virtualSize, by: Self.extentWindow) {
            let window = min(Self.extentWindow, image.virtualSize - start)
            for extent in try image.extents(from: start, byteCount: window)
            where extent.kind == .data {
                for index in extent.offset / size...(extent.end - 1) / size {
                    hasData[index] = true
                }
            }
        }
        return hasData.enumerated().map { index, hasData in
            let offset = index * size
            return Piece(
                offset: offset,
                byteCount: min(size, image.virtualSize - offset),
                isHole: !hasData
            )
        }
    }

    private func take(_ piece: Piece, _ index: Int, from image: any ImageSource) throws(Failure) {
        try checkCancellation()
        var bytes: [UInt8] = []
        if !piece.isHole {
            bytes = try Self.bytes(piece.byteCount) { (output) throws(Failure) in
                try image.read(at: piece.offset, into: &output)
            }
            doneByteCount.add(piece.byteCount, ordering: .relaxed)
        }
        try sink.take(bytes, piece: index, firstSegment: piece.offset / sink.segmentSize)
    }

    // MARK: Streams

    /// Reads raw bytes until `next` gives fewer than asked for.
    ///
    /// - Returns: the size of the disk.
    func read(
        stream next: (_ byteCount: Int) async throws(Failure) -> [UInt8]
    ) async throws(Failure) -> Int {
        var size = 0
        var index = 0
        while true {
            try checkCancellation()
            let bytes = try await next(Self.pieceByteCount)
            if !bytes.isEmpty {
                let piece = index
                let first = size / sink.segmentSize
                try await onThread { () throws(Failure) in
                    try self.sink.take(bytes, piece: piece, firstSegment: first)
                }
                size += bytes.count
                index += 1
                doneByteCount.add(bytes.count, ordering: .relaxed)
            }
            if bytes.count < Self.pieceByteCount { return size }
        }
    }

    // MARK: Leaves

    private func checkCancellation() throws(Failure) {
        if isCancelled.load(ordering: .relaxed) {
            throw Failure(.cancelled, "the publish was cancelled; nothing of it is visible")
        }
    }

    private static func bytes(
        _ count: Int,
        _ fill: (inout OutputSpan<UInt8>) throws(Failure) -> Void
    ) throws(Failure) -> [UInt8] {
        var failure: Failure?
        let bytes = [UInt8](capacity: count) { output in
            do throws(Failure) { try fill(&output) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    private func result(
        _ body: () async throws(Failure) -> Void
    ) async -> Result<Void, Failure> {
        do throws(Failure) {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }

    private func onThread<Value: Sendable>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        try await Threads.run(body)
    }
}

/// Blocking work away from the cooperative pool.
package enum Threads {
    private static let queue = DispatchQueue(label: "ccnfs.blocking", attributes: .concurrent)

    package static func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, Failure>, Never>) in
            queue.async {
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}
