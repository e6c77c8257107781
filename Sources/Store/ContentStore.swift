package import Failures
internal import Files
internal import Synchronization

/// The content of one home: segments in sparse image files, small objects in SQLite, an index by id.
///
/// ```
///   content/objects.sqlite        manifest nodes, records, listings, small files
///   content/index.sqlite          segment id -> image, position; derived from the images
///   content/images/000001-32768.img
/// ```
/// Order of writes, for an object to be found again after a power cut: segment bytes, fdatasync of
/// the image, index row. Order of freeing: index row gone and on disk, then the hole is punched.
///
/// Concurrency: any thread. `images` guards the table of open images only; `making` lets those who
/// fetch the first segments of one root at once make one image.
package final class ContentStore: Sendable {
    package let directory: String
    let index: SegmentIndex
    private let objects: ObjectTable
    private let damageObserver = Mutex<(@Sendable (ObjectId) -> Void)?>(nil)
    private let images = Mutex<[Int: SegmentImage]>([:])
    private let imagesOfRoots = Mutex<[ObjectId: SegmentImage]>([:])
    private let making = Mutex<Void>(())

    /// - Parameter directory: made when absent; the caller holds the lock of the home it is in.
    package init(directory: String) throws(Failure) {
        self.directory = directory
        try FileTree.makeDirectory("\(directory)/images", permissions: 0o700)
        index = try SegmentIndex(path: Self.indexPath(directory))
        objects = try ObjectTable(path: "\(directory)/objects.sqlite")
    }

    private static func indexPath(_ directory: String) -> String { "\(directory)/index.sqlite" }
}

// MARK: - Segments

extension ContentStore {
    /// The places of `ids`, nil where the segment is not here; places that are given can be read.
    package func places(of ids: [ObjectId]) throws(Failure) -> [SegmentPlace?] {
        let places = try index.places(of: ids)
        for place in places {
            if let place { try image(place.image).markPresent(place.position) }
        }
        return places
    }

    /// The segment's bytes, checked; nil when it is not here.
    ///
    /// A damaged segment is dropped, so that the next source is asked: also nil.
    package func segment(_ id: ObjectId) throws(Failure) -> [UInt8]? {
        guard let place = try index.places(of: [id])[0] else { return nil }
        let bytes = try image(place.image).bytes(at: place.position)
        guard ObjectId(of: bytes) == id else {
            if try dropIfDamaged(id, at: place) { damageObserver.withLock(\.self)?(id) }
            return nil
        }
        return bytes
    }

    /// Calls `observer` whenever a segment was dropped because its bytes were found wrong.
    package func onDamage(_ observer: @escaping @Sendable (ObjectId) -> Void) {
        damageObserver.withLock { $0 = observer }
    }

    /// The open image with this number.
    package func image(_ number: Int) throws(Failure) -> SegmentImage {
        if let open = images.withLock({ $0[number] }) { return open }
        let names = try FileTree.names(in: "\(directory)/images")
        for name in names {
            guard let parsed = SegmentImage.parse(fileName: name), parsed.number == number else {
                continue
            }
            let file = try File("\(directory)/images/\(name)", .readWrite)
            return images.withLock { images in
                if let open = images[number] { return open }
                let image = SegmentImage(
                    number: number,
                    segmentSize: parsed.segmentSize,
                    file: file
                )
                images[number] = image
                return image
            }
        }
        throw Failure(
            .corrupt,
            "image file \(number) is missing from \(directory)/images",
            hint: "run: ccnfs verify --rebuild"
        )
    }

    /// A new image file. Its segments are found once ``record(_:)`` has told the index of them.
    ///
    /// - Parameter last: a number that the new one's is above.
    package func makeImage(
        segmentSize: Int,
        root: ObjectId? = nil,
        after last: Int = 0
    ) throws(Failure) -> SegmentImage {
        let taken =
            try FileTree.names(in: "\(directory)/images")
            .compactMap { SegmentImage.parse(fileName: $0)?.number }.max() ?? 0
        let number = try index.addImage(root: root, atLeast: max(taken, last) + 1)
        let name = SegmentImage.fileName(number: number, segmentSize: segmentSize)
        let file = try File("\(directory)/images/\(name)", .createNew)
        try FileTree.synchronizeDirectory("\(directory)/images")
        let image = SegmentImage(number: number, segmentSize: segmentSize, file: file)
        images.withLock { $0[number] = image }
        return image
    }

    /// The image that takes the fetched segments of the disk with this root; made when absent.
    package func image(forRoot root: ObjectId, segmentSize: Int) throws(Failure) -> SegmentImage {
        if let known = imagesOfRoots.withLock({ $0[root] }) { return known }
        return try making.withLock { (_) throws(Failure) in
            let image =
                if let number = try index.image(forRoot: root) { try image(number) } else {
                    try makeImage(segmentSize: segmentSize, root: root)
                }
            imagesOfRoots.withLock { $0[root] = image }
            return image
        }
    }

    /// Tells the index where segments lie and makes them readable. They must be written before.
    package func record(_ places: [(id: ObjectId, place: SegmentPlace)]) throws(Failure) {
        try index.insert(places)
        for (_, place) in places { try image(place.image).markPresent(place.position) }
    }

    /// Everything recorded and inserted so far is on disk when this returns.
    package func synchronize() throws(Failure) {
        try index.finish()
        try objects.finish()
    }

    /// Writes segments, whose bytes are those of their ids, at their places of `image` and tells the index of
    /// them.
    package func keep(
        _ segments: [(id: ObjectId, bytes: [UInt8], at: Int)],
        of image: SegmentImage
    ) throws(Failure) {
        try image.changing { () throws(Failure) in
            for (_, bytes, position) in segments { try image.write(bytes.span, at: position) }
            try index.insert(
                segments.map { ($0.id, place: SegmentPlace(image: image.number, position: $0.at)) }
            )
            for (_, _, position) in segments { image.markPresent(position, isVerified: true) }
        }
    }

    /// Looks at the segment's bytes and drops it if they are wrong.
    ///
    /// - Returns: false if it is well, or not here.
    func dropIfDamaged(_ id: ObjectId) throws(Failure) -> Bool {
        guard let place = try index.places(of: [id])[0] else { return false }
        return try dropIfDamaged(id, at: place)
    }

    /// Forgets a segment whose bytes are wrong, then frees its place; not one that was freed, moved or
    /// written anew since somebody read it.
    private func dropIfDamaged(_ id: ObjectId, at place: SegmentPlace) throws(Failure) -> Bool {
        let image = try image(place.image)
        var isDropped = false
        try image.changing { () throws(Failure) in
            guard try index.places(of: [id])[0] == place,
                (try? image.bytes(at: place.position)).map({ ObjectId(of: $0) }) != id
            else { return }
            try index.remove([(id: id, place: place)])
            try image.free([place.position])
            isDropped = true
        }
        return isDropped
    }

    /// Forgets segments durably, then frees their space, when no reader is inside.
    ///
    /// - Returns: the bytes of the places freed.
    @discardableResult
    package func free(_ segments: [(id: ObjectId, place: SegmentPlace)]) throws(Failure) -> Int {
        var freed = 0
        for (number, group) in Dictionary(grouping: segments, by: \.place.image) {
            let image = try image(number)
            try image.changing { () throws(Failure) in
                try index.remove(group)
                try image.free(group.map(\.place.position))
            }
            freed += group.count * image.segmentSize
        }
        return freed
    }

    /// Frees space of image files that the index does not know of: what a publish left that was cut
    /// off before it recorded its segments. Nobody may be writing segments meanwhile, except to `images`.
    ///
    /// - Returns: the bytes freed.
    package func freeUnindexed(except images: Set<Int> = []) throws(Failure) -> Int {
        var indexed: [Int: Set<Int>] = [:]
        try index.forEach { _, place in indexed[place.image, default: []].insert(place.position) }
        var freed = 0
        for name in try FileTree.names(in: "\(directory)/images") {
            guard let parsed = SegmentImage.parse(fileName: name), !images.contains(parsed.number)
            else { continue }
            let image = try image(parsed.number)
            let known = indexed[parsed.number] ?? []
            let unknown = try image.positionsWithData().filter { !known.contains($0) }
            try image.changing { () throws(Failure) in try image.free(unknown) }
            freed += unknown.count * parsed.segmentSize
            if known.isEmpty { try remove(image, name) }
        }
        return freed
    }

    func remove(_ image: SegmentImage, _ name: String) throws(Failure) {
        try index.removeImage(image.number)
        try FileTree.remove("\(directory)/images/\(name)")
        images.withLock { $0[image.number] = nil }
        imagesOfRoots.withLock { known in known = known.filter { $0.value !== image } }
    }

    /// Every segment here with its place.
    package func allSegments() throws(Failure) -> [(id: ObjectId, place: SegmentPlace)] {
        var all: [(id: ObjectId, place: SegmentPlace)] = []
        try index.forEach { id, place in all.append((id: id, place: place)) }
        return all
    }
}

// MARK: - Small objects

extension ContentStore {
    /// Small objects may have this many bytes, a manifest node's size.
    package static let smallObjectLimit = 32 << 10

    /// The small object's bytes, checked; nil when it is not here or was found damaged and dropped.
    package func smallObject(_ id: ObjectId) throws(Failure) -> [UInt8]? {
        guard let bytes = try objects.bytes(of: id) else { return nil }
        guard ObjectId(of: bytes) == id else {
            try objects.remove([id])
            return nil
        }
        return bytes
    }

    package func hasSmallObject(_ id: ObjectId) throws(Failure) -> Bool { try objects.has(id) }

    /// - Parameter durably: on disk, with all segments recorded before, when this returns.
    /// - Returns: how many were new here.
    @discardableResult
    package func insert(
        _ small: [(id: ObjectId, bytes: [UInt8])],
        durably: Bool
    ) throws(Failure) -> Int {
        try objects.insert(small, durably: durably)
    }

    package func removeSmallObjects(_ ids: [ObjectId]) throws(Failure) { try objects.remove(ids) }

    package func smallObjectIds() throws(Failure) -> [ObjectId] { try objects.ids() }

    /// Any object by id, checked; nil when it is not here.
    package func anyObject(_ id: ObjectId) throws(Failure) -> [UInt8]? {
        // Most are segments.
        if let bytes = try segment(id) { return bytes }
        return try smallObject(id)
    }
}

// MARK: - Upkeep

extension ContentStore {
    package struct Usage: Sendable, Codable {
        package var segmentCount = 0
        /// Bytes that the image files take on disk.
        package var imageByteCount = 0
        package var smallObjectCount = 0
        package var smallObjectByteCount = 0
    }

    package func usage() throws(Failure) -> Usage {
        var usage = Usage()
        usage.segmentCount = try index.count()
        for name in try FileTree.names(in: "\(directory)/images") {
            let status = try FileTree.status(of: "\(directory)/images/\(name)")
            usage.imageByteCount += status?.allocatedByteCount ?? 0
        }
        (usage.smallObjectCount, usage.smallObjectByteCount) = try objects.usage()
        return usage
    }

    package struct Findings: Sendable, Codable {
        package var segmentsChecked = 0
        package var objectsChecked = 0
        /// Ids of segments and small objects whose bytes were wrong; they are dropped.
        package var damaged: [String] = []
        /// What SQLite said of its files.
        package var databaseProblems: [String] = []
    }

    /// Reads everything and checks it against its id; drops what is damaged.
    ///
    /// - Parameter progress: told segments checked and segments in all.
    package func verify(progress: (Int, Int) -> Void) throws(Failure) -> Findings {
        var findings = Findings()
        findings.databaseProblems =
            try index.integrityProblems() + objects.integrityProblems()
        let all = try allSegments().sorted {
            ($0.place.image, $0.place.position) < ($1.place.image, $1.place.position)
        }
        for (id, place) in all {
            let bytes = try? image(place.image).bytes(at: place.position)
            findings.segmentsChecked += 1
            if bytes.map({ ObjectId(of: $0) }) != id, try dropIfDamaged(id, at: place) {
                findings.damaged.append(id.hex)
                damageObserver.withLock(\.self)?(id)
            }
            progress(findings.segmentsChecked, all.count)
        }
        for id in try objects.ids() {
            findings.objectsChecked += 1
            if try smallObject(id) == nil { findings.damaged.append(id.hex) }
        }
        return findings
    }

    /// Copies everything into another directory, made when absent, on disk when this returns. Nothing
    /// may be published or freed meanwhile.
    ///
    /// - Returns: bytes that the copies of the images take on disk.
    package func backUp(
        to copy: String,
        progress: (_ copiedBytes: Int) -> Void
    ) throws(Failure) -> Int {
        try FileTree.makeDirectory("\(copy)/images", permissions: 0o700)
        var copied = 0
        for name in try FileTree.names(in: "\(directory)/images") {
            copied += try FileTree.copySparse(
                "\(directory)/images/\(name)",
                to: "\(copy)/images/\(name)"
            )
            progress(copied)
        }
        try index.backUp(to: Self.indexPath(copy))
        try objects.backUp(to: "\(copy)/objects.sqlite")
        try FileTree.synchronizeDirectory("\(copy)/images")
        try FileTree.synchronizeDirectory(copy)
        return copied
    }

    /// Makes the index anew from the image files of a home that no process uses.
    ///
    /// - Returns: the number of segments found.
    package static func rebuildIndex(
        directory: String,
        progress: (Int) -> Void
    ) throws(Failure) -> Int {
        let finalPath = indexPath(directory)
        let newPath = "\(finalPath).rebuild"
        try SegmentIndex.remove(at: newPath)
        var found = 0
        do {
            let index = try SegmentIndex(path: newPath)
            for name in try FileTree.names(in: "\(directory)/images") {
                guard let parsed = SegmentImage.parse(fileName: name) else { continue }
                let image = SegmentImage(
                    number: parsed.number,
                    segmentSize: parsed.segmentSize,
                    file: try File("\(directory)/images/\(name)", .readOnly)
                )
                var batch: [(id: ObjectId, place: SegmentPlace)] = []
                for position in try image.positionsWithData() {
                    let bytes = try image.bytes(at: position)
                    if bytes.allSatisfy({ $0 == 0 }) { continue }
                    let place = SegmentPlace(image: parsed.number, position: position)
                    batch.append((id: ObjectId(of: bytes), place: place))
                    found += 1
                    if batch.count == 4096 {
                        try index.insert(batch)
                        batch.removeAll(keepingCapacity: true)
                        progress(found)
                    }
                }
                try index.insert(batch)
                progress(found)
            }
            try index.finish()
        }
        try SegmentIndex.remove(at: finalPath)
        try FileTree.rename(newPath, to: finalPath)
        try FileTree.synchronizeDirectory(directory)
        return found
    }
}
