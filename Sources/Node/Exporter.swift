internal import CCNx
internal import Control
internal import Failures
internal import Images
internal import Profiles
internal import Publishing
internal import Templates

/// Writes a template's disk into an image file.
struct Exporter {
    private let templates: Templates
    private static let pieceByteCount = 1 << 20

    init(templates: Templates) { self.templates = templates }

    /// - Parameter disk: nil for the first one.
    func export(
        _ name: Name,
        version number: Int?,
        disk: String?,
        to path: String,
        format: String,
        overwrite: Bool,
        session: any ControlSession
    ) async throws(Failure) -> Export {
        let (version, record) = try templates.served(name, version: number)
        let item =
            disk.map { wanted in record.disks.first { $0.name == wanted } }
            ?? record.disks.first
        guard let item else {
            throw Failure(.notFound, "\(name) version \(version.number) has no \(disk ?? "disk")")
        }
        let content = templates.content(item.content, prefix: name)
        let size = item.content.size
        let imageFormat = try ImageFormat.named(format)
        let writer = try await Threads.run { () throws(Failure) in
            try ImageWriters.open(
                path: path,
                format: imageFormat,
                virtualSize: size,
                overwrite: overwrite
            )
        }
        var written = 0
        do throws(Failure) {
            var position = 0
            while let start = try await content.next(data: true, from: position) {
                let end = try await content.next(data: false, from: start) ?? size
                for offset in stride(from: start, to: end, by: Self.pieceByteCount) {
                    let count = min(Self.pieceByteCount, end - offset)
                    let bytes = try await content.read(at: offset, byteCount: count)
                    try await Threads.run { () throws(Failure) in
                        try writer.write(bytes.span, at: offset)
                    }
                    written += count
                    await session.report(
                        .work(what: "bytes", done: written, total: item.dataByteCount)
                    )
                }
                position = end
            }
            try await Threads.run { () throws(Failure) in try writer.finish() }
        } catch {
            writer.abandon()
            throw error
        }
        return Export(
            template: name.uri,
            version: version.number,
            disk: item.name,
            path: path,
            size: size,
            dataBytes: written
        )
    }
}
