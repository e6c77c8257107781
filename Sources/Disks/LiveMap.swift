internal import Failures
internal import Files
internal import Profiles
internal import Store

/// The block map of an overlay as of the last answered write: outlives the process, not the machine.
///
/// ```
///   0     8     16               64        72            4096
///   | CCNFSMAP | version | boot id | overlay | zeros … | page 0 | page 1 | …
/// ```
/// Version 1: the first. Pages are those of ``BlockMap``, each at `4096 + page * 1024`. Nothing here
/// is synchronized: after a power cut the boot id differs, and the durable map in SQLite counts
/// alone.
struct LiveMap: Sendable {
    private let file: File
    private static let headerByteCount = 4096
    private static let magic = Array("CCNFSMAP".utf8)

    /// Opens the live map at `path` and brings `map`, filled from the durable one, up to it; or
    /// makes a new one from `map` if there is none of this boot.
    init(path: String, overlay: Int64, bootId: String, map: BlockMap) throws(Failure) {
        let header = Self.header(overlay: overlay, bootId: bootId)
        if FileTree.exists(path) {
            let file = try File(path, .readWrite)
            if try file.bytes(at: 0, byteCount: header.count) == header {
                self.file = file
                try catchUp(map)
                return
            }
        }
        // Of an overlay without blocks the head says it all, also when it is cut off in the middle.
        if !FileTree.exists(path), map.pageNumbers.isEmpty {
            file = try File(path, .createNew)
            try file.write(header.span, at: 0)
            return
        }
        let newPath = "\(path).new"
        try FileTree.remove(newPath)
        let file = try File(newPath, .createNew)
        try file.write(header.span, at: 0)
        for page in map.pageNumbers {
            try file.write(map.states(ofPage: page).span, at: Self.offset(ofPage: page))
        }
        try FileTree.rename(newPath, to: path)
        self.file = file
    }

    /// Whether there is a live map of this boot.
    static func isOf(path: String, overlay: Int64, bootId: String) throws(Failure) -> Bool {
        guard FileTree.exists(path) else { return false }
        let header = Self.header(overlay: overlay, bootId: bootId)
        return try File(path, .readOnly).bytes(at: 0, byteCount: header.count) == header
    }

    private static func header(overlay: Int64, bootId: String) -> [UInt8] {
        var header = magic
        header.append(contentsOf: [0, 0, 0, 0, 0, 0, 0, 1])
        header.append(contentsOf: bootId.utf8.prefix(48))
        header.append(contentsOf: repeatElement(0, count: 64 - header.count))
        for shift in stride(from: 56, through: 0, by: -8) {
            header.append(UInt8(truncatingIfNeeded: overlay >> Int64(shift)))
        }
        header.append(contentsOf: repeatElement(0, count: headerByteCount - header.count))
        return header
    }

    private static func offset(ofPage page: Int) -> Int {
        headerByteCount + page * BlockMap.bytesPerPage
    }

    /// Gives `map` the states of the file.
    func catchUp(_ map: BlockMap) throws(Failure) {
        for page in Set(map.pageNumbers).union(try pagesWithData()) {
            var states = try file.bytes(
                at: Self.offset(ofPage: page),
                byteCount: BlockMap.bytesPerPage
            )
            states.append(
                contentsOf: repeatElement(0, count: BlockMap.bytesPerPage - states.count)
            )
            map.merge(livePage: page, states: states)
        }
    }

    /// The pages that the file may have states of.
    private func pagesWithData() throws(Failure) -> Set<Int> {
        var pages: Set<Int> = []
        var offset = Self.headerByteCount
        while let data = try file.nextData(at: offset) {
            let first = max(data.lowerBound - Self.headerByteCount, 0) / BlockMap.bytesPerPage
            let last = (data.upperBound - 1 - Self.headerByteCount) / BlockMap.bytesPerPage
            if last >= first { pages.formUnion(first...last) }
            offset = data.upperBound
        }
        return pages
    }

    /// Writes bytes of the map from the one at `first` on.
    ///
    /// The caller keeps others from changing blocks of the same bytes meanwhile.
    func record(_ bytes: [UInt8], at first: Int) throws(Failure) {
        try file.write(bytes.span, at: Self.headerByteCount + first)
    }

    /// Makes the file's pages those of `map`, also where it has none any more.
    func record(_ map: BlockMap) throws(Failure) {
        let kept = map.pageNumbers
        // A page that the map gave up still has its old states in the file.
        for page in Set(kept).union(try pagesWithData()) {
            try file.write(map.states(ofPage: page).span, at: Self.offset(ofPage: page))
        }
        try file.truncate(to: Self.offset(ofPage: (kept.max() ?? -1) + 1))
    }
}
