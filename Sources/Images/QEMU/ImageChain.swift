internal import Failures

/// An image and all it stands on, found whole before a byte is read.
///
/// QEMU reads what lies beyond the end of a file as zeros: a truncated image reads without an error,
/// with zeros where its data was (qemu-nbd 7.2: qcow2, VMDK and VDI; VHDX is refused when opened).
/// So everything the tables point to must lie within the files that hold it:
/// - `qemu-img check` per layer: the tables agree with each other and, for qcow2, with the reference
///   counts, so a table that was overwritten or cut shows as clusters nobody refers to;
/// - `qemu-img map`: every run of data ends before its file does, to the byte;
/// - ``CompressedClusters``: the same for what map gives no place for.
struct ImageChain: Sendable {
    /// A chain longer than this is a mistake, or a loop QEMU did not notice.
    private static let layerLimit = 256

    let path: String
    let virtualSize: Int
    private let stamps: [String: FileStamp]

    init(path: String, format: ImageFormat) throws(Failure) {
        let reports = try ImageReport.chain(path: path, format: format)
        guard let top = reports.first else {
            throw Failure(.invalid, "\(path) holds no image")
        }
        guard reports.count <= ImageChain.layerLimit else {
            throw Failure(
                .tooLarge,
                "\(path) stands on more than \(ImageChain.layerLimit) images",
                hint: "merge them with qemu-img convert"
            )
        }
        var layers: [ImageLayer] = []
        for report in reports { layers.append(try ImageLayer(report)) }
        for layer in layers { try layer.check() }
        try ImageMap.verify(path: path, format: format, layers: layers)
        self.path = path
        virtualSize = top.virtualSize
        stamps = layers.flatMap(\.parts).reduce(into: [:]) { $0[$1.path] = $1.stamp }
    }

    /// Fails if one of the files was written to since.
    func verifyUnchanged() throws(Failure) {
        for (path, stamp) in stamps {
            try FileStamp(path: path).requireUnchanged(since: stamp, at: path)
        }
    }
}

/// One image of a chain, with the files that hold it.
struct ImageLayer: Sendable {
    /// A file, and where in the guest's disk its part of it ends.
    struct Part: Sendable {
        let path: String
        let guestEnd: Int
        let byteCount: Int
        let stamp: FileStamp
    }

    let path: String
    let format: ImageFormat
    /// In the order of the guest's disk; the descriptor of a VMDK image is the last, with an empty part.
    let parts: [Part]

    init(_ report: ImageReport) throws(Failure) {
        path = report.filename
        guard let format = ImageFormat(rawValue: report.format) else {
            throw Failure(
                .unsupported,
                "the backing image \(path) is of format \(report.format)",
                hint: "merge the chain into one image with qemu-img convert -O qcow2"
            )
        }
        self.format = format
        try ImageLayer.refuseUnsupported(report)
        var parts: [Part] = []
        var guestEnd = 0
        for part in report.specific?.data.extents ?? [] where part.filename != path {
            guestEnd += part.virtualSize
            parts.append(try Part(path: part.filename, guestEnd: guestEnd))
        }
        parts.append(try Part(path: path, guestEnd: parts.isEmpty ? report.virtualSize : guestEnd))
        self.parts = parts
    }

    /// Where byte `offset` of the guest's disk is kept.
    func part(holding offset: Int) -> Part? {
        parts.first { offset < $0.guestEnd }
    }

    /// The checks that need nothing but this layer.
    func check() throws(Failure) {
        guard format != .raw else { return }
        let check = try ImageCheck.run(path: path, format: format.rawValue)
        guard format == .qcow2 else { return }
        if let leaks = check.leaks, leaks > 0 {
            throw Failure(
                .corrupt,
                "the image \(path) has \(leaks) allocated clusters that belong to nothing:"
                    + " it is being written, was not closed, or is damaged",
                hint: "if it is known to be good, qemu-img check -r leaks \(path) frees them"
            )
        }
        try CompressedClusters.verify(path: path, hasCompressed: check.compressedClusters ?? 0 > 0)
    }

    private static func refuseUnsupported(_ report: ImageReport) throws(Failure) {
        let path = report.filename
        if report.isEncrypted == true {
            throw QEMUComplaint.failure("encrypted", path: path)
        }
        if report.specific?.data.isCorrupt == true {
            throw damaged(path, "it is marked as corrupt")
        }
        if let file = report.specific?.data.dataFile {
            throw Failure(
                .unsupported,
                "the image \(path) keeps its data in another file, \(file)",
                hint: "make one file of it: qemu-img convert -O qcow2 \(path) \(path).qcow2"
            )
        }
        // Without a stated format QEMU would ask the first bytes of the backing file, which a guest
        // may have written: it could name any file of this machine.
        if let backing = report.backingFile, report.backingFormat == nil, report.format == "qcow2" {
            throw Failure(
                .invalid,
                "the image \(path) does not say which format its backing file has",
                hint: "tell it: qemu-img rebase -u -b \(backing) -F FORMAT \(path)"
            )
        }
    }
}

extension ImageLayer.Part {
    init(path: String, guestEnd: Int) throws(Failure) {
        self.path = path
        self.guestEnd = guestEnd
        let stamp = try FileStamp(path: path)
        try stamp.requireImage(at: path)
        self.stamp = stamp
        byteCount = try Descriptor(reading: path).byteCount(of: path)
    }
}
