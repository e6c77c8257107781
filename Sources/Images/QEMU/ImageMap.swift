internal import Failures

/// Reads what `qemu-img map` says and holds it against the lengths of the files.
struct ImageMap {
    /// A line longer than this is no answer of qemu-img's.
    private static let lineLimit = 65_536

    /// - Throws: `.corrupt` if an image refers to bytes its file does not have.
    static func verify(
        path: String,
        format: ImageFormat,
        layers: [ImageLayer]
    ) throws(Failure) {
        let arguments = ["map", "--output=json", "-f", format.rawValue, path]
        var line: [UInt8] = []
        let result = try QEMUTool.image.run(arguments) { (bytes) throws(Failure) in
            for piece in bytes.split(
                separator: UInt8(ascii: "\n"),
                omittingEmptySubsequences: false
            )
            .enumerated() {
                if piece.offset > 0 {
                    try verify(Run(line: line), path: path, layers: layers)
                    line.removeAll(keepingCapacity: true)
                }
                line += piece.element
            }
            guard line.count <= lineLimit else {
                throw Failure(.unsupported, "this version of qemu-img answers in an unknown way")
            }
        }
        try verify(Run(line: line), path: path, layers: layers)
        guard result.end == .exited(0) else {
            throw damaged(path, QEMUComplaint.summary(result.errors))
        }
    }

    private static func verify(
        _ run: Run,
        path: String,
        layers: [ImageLayer]
    ) throws(Failure) {
        guard run.isData, let offset = run.offset else { return }
        guard run.depth >= 0, run.depth < layers.count, run.byteCount >= 0,
            let part = layers[run.depth].part(holding: run.start)
        else {
            throw damaged(path, "its map does not fit its size")
        }
        let (end, overflows) = offset.addingReportingOverflow(run.byteCount)
        // A raw layer is as long as it is; an overlay may be larger than what it stands on.
        guard !overflows, end <= part.byteCount || layers[run.depth].format == .raw else {
            throw damaged(
                part.path,
                "its tables refer to byte \(end), but the file has \(part.byteCount)"
            )
        }
    }

    /// One line of the answer: a run of the guest's disk, and where it is kept.
    struct Run: Equatable {
        var start = 0
        var byteCount = 0
        var depth = 0
        var isData = false
        /// Absent where data has no single place in the file, as when it is compressed.
        var offset: Int?

        /// `{ "start": 0, "length": 65536, "depth": 0, … "data": true, "offset": 327680},`
        init(line: [UInt8]) {
            let words = line.split { !Run.isWord($0) }
            for (key, value) in zip(words, words.dropFirst()) {
                let text = String(decoding: value, as: UTF8.self)
                switch String(decoding: key, as: UTF8.self) {
                case "start": start = Int(text) ?? start
                case "length": byteCount = Int(text) ?? byteCount
                case "depth": depth = Int(text) ?? -1
                case "data": isData = text == "true"
                case "offset": offset = Int(text) ?? .max
                default: break
                }
            }
        }

        private static func isWord(_ byte: UInt8) -> Bool {
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte
                || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
        }
    }
}
