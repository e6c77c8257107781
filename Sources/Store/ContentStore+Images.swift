package import Failures
internal import Files

/// Image files as a whole: for content that is given up image by image.
extension ContentStore {
    /// Numbers of the image files, in order.
    package func imageNumbers() throws(Failure) -> [Int] {
        try FileTree.names(in: "\(directory)/images")
            .compactMap { SegmentImage.parse(fileName: $0)?.number }.sorted()
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
