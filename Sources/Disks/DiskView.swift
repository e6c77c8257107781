package import Failures
internal import Files
package import Profiles

/// What a disk shows at one moment; of a snapshot's disk always.
///
/// ```
///   live overlay   data, or zeros, or absent:
///   backing        blocks of frozen overlays, or content, or a hole
/// ```
package struct DiskView: Sendable {
    /// Bytes.
    package let size: Int
    let overlay: Overlay?
    let backing: Backing

    /// Where bytes of a disk come from.
    package enum Piece: Sendable {
        /// Nothing was ever there.
        case hole
        /// Written as zeros, or discarded.
        case zero
        case written(WrittenBlocks)
        case content(SegmentedContent, offset: Int)
    }

    /// A place in an overlay's file.
    package struct WrittenBlocks: Sendable {
        package let overlay: Int64
        /// Bytes.
        package let offset: Int
        let data: File
    }

    /// What is at `offset` and how far it goes, at most `limit` bytes.
    package func piece(at offset: Int, limit: Int) -> (piece: Piece, byteCount: Int) {
        var count = limit
        if let overlay {
            let run = overlay.run(at: offset, limit: limit)
            count = run.byteCount
            switch run.state {
            case .zero: return (.zero, count)
            case .data:
                let source = overlay.source
                let blocks = WrittenBlocks(
                    overlay: source.overlay,
                    offset: offset,
                    data: source.data
                )
                return (.written(blocks), count)
            case .absent: break
            }
        }
        let (piece, byteCount) = backing.piece(at: offset, limit: count)
        switch piece {
        case .hole: return (.hole, byteCount)
        case .zero: return (.zero, byteCount)
        case .content(let content, let offset):
            return (.content(content, offset: offset), byteCount)
        case .written(let source):
            let blocks = WrittenBlocks(
                overlay: source.overlay,
                offset: offset + source.shift,
                data: source.data
            )
            return (.written(blocks), byteCount)
        }
    }

    /// Bytes of blocks that are neither content nor zeros.
    var writtenByteCount: Int {
        let blocks = pieces(in: 0..<size).reduce(0) { count, piece in
            guard case .written = piece.piece else { return count }
            return count + (piece.range.count + BlockMap.blockSize - 1) / BlockMap.blockSize
        }
        return blocks * BlockMap.blockSize
    }

    /// The pieces of a range in order, one after another to its end.
    package func pieces(in range: Range<Int>) -> [(range: Range<Int>, piece: Piece)] {
        var pieces: [(range: Range<Int>, piece: Piece)] = []
        var position = range.lowerBound
        let end = min(range.upperBound, size)
        while position < end {
            let (piece, byteCount) = piece(at: position, limit: end - position)
            pieces.append((range: position..<position + byteCount, piece: piece))
            position += byteCount
        }
        return pieces
    }
}

// MARK: - Reading what is here

extension DiskView {
    /// Appends up to `byteCount` bytes from `offset` to `output`, fewer at the end of the disk; or
    /// nothing when something has to be fetched first.
    package func readResident(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Residency {
        let before = output.count
        var position = offset
        let end = min(offset + byteCount, size)
        while position < end {
            let (piece, count) = piece(at: position, limit: end - position)
            switch piece {
            case .hole, .zero: output.append(repeating: 0, count: count)
            case .written(let blocks): try blocks.read(byteCount: count, into: &output)
            case .content(let content, let offset):
                let residency = try content.readResident(
                    at: offset,
                    byteCount: count,
                    into: &output
                )
                if case .missing = residency {
                    output.removeLast(output.count - before)
                    return .missing
                }
            }
            position += count
        }
        return .complete
    }
}

extension DiskView {
    /// The bytes of a range; nil when something has to be fetched first.
    package func residentBytes(at offset: Int, byteCount: Int) throws(Failure) -> [UInt8]? {
        var result = Result<Residency, Failure>.success(.missing)
        let bytes = [UInt8](capacity: byteCount) { output in
            do throws(Failure) {
                result = .success(
                    try readResident(at: offset, byteCount: byteCount, into: &output)
                )
            } catch {
                result = .failure(error)
            }
        }
        guard case .complete = try result.get() else { return nil }
        return bytes
    }
}

extension DiskView.WrittenBlocks {
    /// Appends bytes from here on; the file ends at its last block that was written.
    func read(byteCount: Int, into output: inout OutputSpan<UInt8>) throws(Failure) {
        let count = try data.read(at: offset, byteCount: byteCount, into: &output)
        output.append(repeating: 0, count: byteCount - count)
    }

    func bytes(byteCount: Int) throws(Failure) -> [UInt8] {
        var bytes = try data.bytes(at: offset, byteCount: byteCount)
        bytes.append(contentsOf: repeatElement(0, count: byteCount - bytes.count))
        return bytes
    }
}

// MARK: - Reading what may have to come

/// Something whose view at each moment can be read: a disk, or a snapshot's disk.
package protocol ViewedDisk: Sendable {
    /// Runs `body` with the view of this moment, which stays readable until it returns.
    func withView<Value>(_ body: (DiskView) throws(Failure) -> Value) throws(Failure) -> Value
}

extension ViewedDisk {
    package func readResident(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Residency {
        try withView { (view) throws(Failure) in
            try view.readResident(at: offset, byteCount: byteCount, into: &output)
        }
    }

    /// The bytes of a range; nil when something has to be fetched first.
    package func residentBytes(at offset: Int, byteCount: Int) throws(Failure) -> [UInt8]? {
        try withView { (view) throws(Failure) in
            try view.residentBytes(at: offset, byteCount: byteCount)
        }
    }

    /// What one step of a read found.
    private typealias Step = (bytes: [UInt8], content: (SegmentedContent, offset: Int, count: Int)?)

    /// The same, waiting for what has to be fetched.
    ///
    /// Blocks are read inside of a view; only content is waited for outside of one, and that never
    /// changes.
    package func read(at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < byteCount {
            let position = offset + bytes.count
            let left = byteCount - bytes.count
            let step = try withView { (view) throws(Failure) -> Step? in
                guard position < view.size else { return nil }
                let (piece, count) = view.piece(
                    at: position,
                    limit: min(left, view.size - position)
                )
                switch piece {
                case .hole, .zero: return ([UInt8](repeating: 0, count: count), nil)
                case .written(let blocks): return (try blocks.bytes(byteCount: count), nil)
                case .content(let content, let offset):
                    return ([], (content, offset: offset, count: count))
                }
            }
            guard let step else { break }
            bytes += step.bytes
            if let (content, offset, count) = step.content {
                bytes += try await content.read(at: offset, byteCount: count)
            }
        }
        return bytes
    }

    /// The start of the next data (`true`) or hole (`false`) at or after `offset`.
    ///
    /// - Returns: nil when there is no more data; the size when no hole comes before the end.
    package func next(data: Bool, from offset: Int) async throws(Failure) -> Int? {
        var position = offset
        while true {
            let step = try withView { (view) throws(Failure) in
                position < view.size
                    ? view.piece(at: position, limit: view.size - position) : nil
            }
            guard let (piece, count) = step else { break }
            switch piece {
            case .hole, .zero: if !data { return position }
            case .written: if data { return position }
            case .content(let content, let start):
                let found = try await content.next(data: data, from: start)
                if let found, found < start + count { return position + found - start }
            }
            position += count
        }
        return data ? nil : max(position, offset)
    }
}
