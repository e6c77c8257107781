package import Failures
package import Profiles

extension Disk {
    /// Appends up to `byteCount` bytes from `offset` to `output`, fewer at the end of the disk; or
    /// nothing when something has to be fetched first.
    ///
    /// The profile is looked at after the block's state: a clone puts the profile in place before it
    /// takes the blocks away, so that the order here finds what was there or what comes.
    package func readResident(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Residency {
        let view = view
        try checkIsWell(view)
        let before = output.count
        var position = offset
        let end = min(offset + byteCount, view.size)
        while position < end {
            let run = overlayRun(at: position, limit: end - position)
            switch run.state {
            case .data:
                try overlay.read(at: position, byteCount: run.byteCount, into: &output)
            case .zero:
                output.append(repeating: 0, count: run.byteCount)
            case .absent:
                let residency = try profile.readResident(
                    at: position,
                    byteCount: run.byteCount,
                    into: &output
                )
                if case .missing = residency {
                    output.removeLast(output.count - before)
                    return .missing
                }
            }
            position += run.byteCount
        }
        return .complete
    }

    /// The same, waiting for what has to be fetched.
    package func read(at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8] {
        let view = view
        try checkIsWell(view)
        var bytes: [UInt8] = []
        var position = offset
        let end = min(offset + byteCount, view.size)
        while position < end {
            let run = overlayRun(at: position, limit: end - position)
            switch run.state {
            case .data:
                bytes += try overlay.bytes(at: position, byteCount: run.byteCount)
            case .zero:
                bytes += [UInt8](repeating: 0, count: run.byteCount)
            case .absent:
                bytes += try await profile.read(at: position, byteCount: run.byteCount)
            }
            position += run.byteCount
        }
        return bytes
    }

    /// The start of the next data (`true`) or hole (`false`) at or after `offset`.
    ///
    /// - Returns: nil when there is no more data; the size when no hole comes before the end.
    package func next(data: Bool, from offset: Int) async throws(Failure) -> Int? {
        let view = view
        var position = offset
        while position < view.size {
            let run = overlayRun(at: position, limit: view.size - position)
            switch run.state {
            case .data where data: return position
            case .zero where !data: return position
            case .data, .zero: break
            case .absent:
                let range = position..<position + run.byteCount
                if let found = try await view.profile.next(data: data, in: range) { return found }
            }
            position += run.byteCount
        }
        return data ? nil : view.size
    }
}

extension Profile {
    func readResident(
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Residency {
        var position = offset
        let end = offset + byteCount
        while position < end {
            let run = run(at: position, limit: end - position)
            if let extent = run.extent {
                let residency = try extent.content.readResident(
                    at: extent.sourceStart + position - extent.start,
                    byteCount: run.byteCount,
                    into: &output
                )
                if case .missing = residency { return .missing }
            } else {
                output.append(repeating: 0, count: run.byteCount)
            }
            position += run.byteCount
        }
        return .complete
    }

    func read(at offset: Int, byteCount: Int) async throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        var position = offset
        let end = offset + byteCount
        while position < end {
            let run = run(at: position, limit: end - position)
            if let extent = run.extent {
                bytes += try await extent.content.read(
                    at: extent.sourceStart + position - extent.start,
                    byteCount: run.byteCount
                )
            } else {
                bytes += [UInt8](repeating: 0, count: run.byteCount)
            }
            position += run.byteCount
        }
        return bytes
    }

    func next(data: Bool, in range: Range<Int>) async throws(Failure) -> Int? {
        var position = range.lowerBound
        while position < range.upperBound {
            let run = run(at: position, limit: range.upperBound - position)
            if let extent = run.extent {
                let shift = extent.start - extent.sourceStart
                let found = try await extent.content.next(data: data, from: position - shift)
                if let found, found + shift < position + run.byteCount { return found + shift }
            } else if !data {
                return position
            }
            position += run.byteCount
        }
        return nil
    }
}
