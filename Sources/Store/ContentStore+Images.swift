package import Failures
internal import Files

/// Image files as a whole: for content that is given up image by image.
extension ContentStore {
    /// An image file, as it is found without opening it.
    struct ImageFile {
        let number: Int
        let segmentSize: Int
        /// Bytes, holes included.
        let size: Int
        /// Bytes that it takes on disk.
        let allocatedByteCount: Int
    }

    /// In order of their numbers.
    func imageFiles() throws(Failure) -> [ImageFile] {
        var files: [ImageFile] = []
        for name in try FileTree.names(in: "\(directory)/images") {
            guard let parsed = SegmentImage.parse(fileName: name),
                let status = try FileTree.status(of: "\(directory)/images/\(name)")
            else { continue }
            files.append(
                ImageFile(
                    number: parsed.number,
                    segmentSize: parsed.segmentSize,
                    size: status.size,
                    allocatedByteCount: status.allocatedByteCount
                )
            )
        }
        return files.sorted { $0.number < $1.number }
    }

    /// The position behind all that ever had a segment. After a power cut the file may end before what the
    /// index says.
    func endPosition(of file: ImageFile) throws(Failure) -> Int {
        max(
            (file.size + file.segmentSize - 1) / file.segmentSize,
            try index.endPosition(ofImage: file.number)
        )
    }

    /// Forgets all segments of an image durably, then removes its file, when no reader is inside.
    package func removeImage(_ number: Int) throws(Failure) {
        let image = try image(number)
        let name = SegmentImage.fileName(number: number, segmentSize: image.segmentSize)
        try image.changing { () throws(Failure) in
            try index.removeSegments(ofImage: number)
            try image.freeAll()
        }
        try remove(image, name)
    }
}
