internal import CCNx
internal import Control
internal import Disks
internal import Failures
internal import Namespace
internal import Profiles
internal import Repositories
internal import Store
internal import Templates

/// Says what is behind a file of the tree: `ccnfs status FILE` and `ccnfs map FILE`.
struct FileInspector {
    private let homes: Homes
    private let tree: Tree

    init(_ homes: Homes, _ tree: Tree) {
        self.homes = homes
        self.tree = tree
    }

    func report(_ path: String, _ shown: String) async throws(Failure) -> FileReport {
        let target = try tree.target(ofPath: path)
        switch target {
        case .templateDisk(let content, let version, let error):
            let bytes = try await content.localByteCount()
            return FileReport(
                path: shown,
                kind: .templateDisk,
                size: content.descriptor.size,
                template: content.prefix.uri,
                version: version,
                dataBytes: bytes.data,
                localBytes: bytes.local,
                writtenBytes: 0,
                error: error
            )
        case .machineDisk(let disk, let error):
            var data = 0
            var local = 0
            for content in Set(disk.contents.map(ContentKey.init)) {
                let bytes = try await content.content.localByteCount()
                data += bytes.data
                local += bytes.local
            }
            let machine = homes.machines.machine(id: disk.row.vm)
            return FileReport(
                path: shown,
                kind: .machineDisk,
                size: disk.size,
                template: machine?.template?.uri,
                version: machine?.templateVersion,
                dataBytes: data,
                localBytes: local,
                writtenBytes: disk.writtenByteCount,
                error: error
            )
        case .snapshotDisk(let disk):
            return FileReport(
                path: shown,
                kind: .snapshotDisk,
                size: disk.size,
                template: nil,
                version: nil,
                dataBytes: 0,
                localBytes: 0,
                writtenBytes: try disk.writtenByteCount(),
                error: nil
            )
        }
    }

    private struct ContentKey: Hashable {
        let content: SegmentedContent

        init(_ content: SegmentedContent) { self.content = content }

        static func == (left: ContentKey, right: ContentKey) -> Bool {
            left.content.descriptor == right.content.descriptor
        }

        func hash(into hasher: inout Hasher) { hasher.combine(content.descriptor) }
    }

    func disk(_ path: String) throws(Failure) -> Disk {
        guard case .machineDisk(let disk, _) = try tree.target(ofPath: path) else {
            throw Failure(.invalid, "\(path) is no VM's disk")
        }
        return disk
    }

    func map(_ path: String, _ shown: String) async throws(Failure) -> FileMap {
        switch try tree.target(ofPath: path) {
        case .templateDisk(let content, _, _):
            let size = content.descriptor.size
            return FileMap(
                path: shown,
                size: size,
                runs: try await runs(of: content, source: 0..<size, at: 0)
            )
        case .machineDisk(let disk, _):
            return FileMap(path: shown, size: disk.size, runs: try await runs(of: disk))
        case .snapshotDisk(let disk):
            return FileMap(path: shown, size: disk.size, runs: try await runs(of: disk))
        }
    }

    private func runs(of disk: some ViewedDisk) async throws(Failure) -> [FileMap.Run] {
        var runs: [FileMap.Run] = []
        let pieces = try disk.withView { $0.pieces(in: 0..<$0.size) }
        for (range, piece) in pieces {
            switch piece {
            case .written: append(&runs, range.lowerBound, range.count, .overlay)
            case .zero, .hole: append(&runs, range.lowerBound, range.count, .hole)
            case .content(let content, let start):
                for run in try await self.runs(
                    of: content,
                    source: start..<start + range.count,
                    at: range.lowerBound
                ) {
                    append(&runs, run.start, run.byteCount, run.kind, run.uri)
                }
            }
        }
        return runs
    }

    /// The runs of a part of a content, shown from `target` on.
    private func runs(
        of content: SegmentedContent,
        source: Range<Int>,
        at target: Int
    ) async throws(Failure) -> [FileMap.Run] {
        var runs: [FileMap.Run] = []
        let segmentSize = content.descriptor.segmentSize
        var position = source.lowerBound
        let aligned = source.lowerBound / segmentSize * segmentSize..<source.upperBound
        for (index, id) in try await content.segments(in: aligned) {
            let segment = index * segmentSize..<(index + 1) * segmentSize
            let part = segment.clamped(to: source)
            if part.lowerBound > position {
                append(
                    &runs,
                    target + position - source.lowerBound,
                    part.lowerBound - position,
                    .hole
                )
            }
            append(
                &runs,
                target + part.lowerBound - source.lowerBound,
                part.count,
                .object,
                ObjectName(ObjectRequest(id, under: content.prefix)).name.uri
            )
            position = part.upperBound
        }
        if position < source.upperBound {
            append(
                &runs,
                target + position - source.lowerBound,
                source.upperBound - position,
                .hole
            )
        }
        return runs
    }

    /// Adds a run; runs without an object of their own are joined.
    private func append(
        _ runs: inout [FileMap.Run],
        _ start: Int,
        _ byteCount: Int,
        _ kind: FileMap.Run.Kind,
        _ uri: String? = nil
    ) {
        if let last = runs.last, last.kind == kind, last.uri == uri,
            last.start + last.byteCount == start
        {
            runs[runs.count - 1].byteCount += byteCount
        } else {
            runs.append(FileMap.Run(start: start, byteCount: byteCount, kind: kind, uri: uri))
        }
    }
}
