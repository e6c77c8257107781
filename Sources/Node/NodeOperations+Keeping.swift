internal import CCNx
internal import Control
internal import Failures
internal import Logging
internal import Profiles
internal import Store
internal import Synchronization
internal import Templates

/// How far a content that is kept has come.
enum KeptState {
    /// Why it could not be fetched the last time; nil if it was not tried.
    case waiting(String?)
    case fetching
    case here
}

// What is pinned stays: it is not evicted, and what is missing of it is fetched again.
extension NodeOperations {
    /// Looks at what is missing, in seconds: at first, at most, and while nothing is.
    private static let pauses = (first: 5.0, last: 300.0, whileHere: 60.0)
    /// How often what was evicted while it was noted is fetched again at once.
    private static let holdLimit = 3

    /// Before anything can be evicted.
    func pinWhatIsKept() throws(Failure) {
        homes.store.pin(Set(try homes.database.pins().map(\.root)))
    }

    /// Pins contents durably; they are fetched by the caller.
    ///
    /// - Throws: `.noSpace` if the cache may not hold everything that is kept.
    func keep(_ pins: [PinRow]) throws(Failure) {
        try pinning.withLock { (_) throws(Failure) in
            let all = Set(try homes.database.pins() + pins)
            if let problem = try problemOfKeeping(all) {
                throw Failure(
                    .noSpace,
                    problem,
                    hint:
                        "let the cache hold more (--cache-limit, cache: limit:), or keep less: ccnfs unkeep"
                )
            }
            try homes.database.insert(pins)
            try pinWhatIsKept()
        }
        noteKept(pins, .fetching)
    }

    /// Nil if the cache may hold all of them. What is published here needs no room there.
    private func problemOfKeeping(_ pins: Set<PinRow>) throws(Failure) -> String? {
        let own = Set(try homes.database.catalogs().filter(\.publishedHere).map(\.namespace))
        let sizes = pins.filter { !own.contains($0.template.prefix(1)) }.map { pin in
            (pin.root, pin.dataByteCount)
        }
        // Two versions with the same disk keep it once.
        let total = Dictionary(sizes) { first, _ in first }.values.reduce(0, +)
        guard total > configuration.cacheLimit else { return nil }
        return
            "\(total) bytes to keep are more than the cache may hold, \(configuration.cacheLimit)"
    }

    /// - Returns: what was kept until now.
    func unkeep(_ template: Name, _ version: Int?) throws(Failure) -> [KeptContent] {
        let pins = try homes.database.pins().filter { pin in
            pin.template == template && (version == nil || pin.version == version)
        }
        guard !pins.isEmpty else {
            throw Failure(
                .notFound,
                "nothing is kept of \(template)" + (version.map { " version \($0)" } ?? ""),
                hint: "see: ccnfs status"
            )
        }
        let report = pins.map(kept)
        try pinning.withLock { (_) throws(Failure) in
            try homes.database.removePins(of: template, version: version)
            try pinWhatIsKept()
        }
        keptStates.withLock { states in for pin in pins { states[pin] = nil } }
        return report
    }

    // MARK: Fetching what is missing

    /// Makes sure, of contents that were just fetched, that nothing was evicted before it was noted.
    func hold(_ pins: [PinRow]) async throws(Failure) {
        for pin in pins {
            var missing = try await note(pin)
            for _ in 0..<Self.holdLimit where missing > 0 {
                try await content(of: pin).fetchAll { _, _ in }
                missing = try await note(pin)
            }
            noteKept(
                [pin],
                missing == 0
                    ? .here : .waiting("\(missing) segments could not be kept in the cache")
            )
        }
    }

    /// Keeps everything of the content from being evicted that is here.
    ///
    /// - Returns: how many segments are missing.
    private func note(_ pin: PinRow) async throws(Failure) -> Int {
        let content = content(of: pin)
        var missing = 0
        for index in 0..<content.manifest.leafCount {
            let first = index * ManifestNode.fanout
            let segments = try await content.manifest.leaf(index).enumerated()
                .filter { !$0.element.isHole }
                .map { offset, id in
                    let position = first + offset
                    return (
                        position: position,
                        byteCount: content.descriptor.byteCount(ofSegment: position), id: id
                    )
                }
            missing += try homes.store.hold(
                segments,
                of: pin.root,
                segmentSize: pin.segmentSize
            )
        }
        return missing
    }

    /// Notes everything that is here of what is kept, before others are evicted on demand.
    func notePins() async {
        for pin in (try? homes.database.pins()) ?? [] where !isHere(pin) {
            // A manifest that is not here either: then nothing below it can be told from the rest.
            _ = try? await note(pin)
        }
    }

    /// Fetches what is missing of what is kept, behind what readers wait for, until it is cancelled.
    func fetchWhatIsKept() async {
        var pause = Self.pauses.first
        while !Task.isCancelled {
            var isAllHere = true
            for pin in (try? homes.database.pins()) ?? [] where isWaiting(pin) {
                noteKept([pin], .fetching)
                do throws(Failure) {
                    try await content(of: pin).fetchAll { _, _ in }
                    try await hold([pin])
                } catch {
                    isAllHere = false
                    noteKept([pin], .waiting(error.description))
                    logger.info(
                        "what is kept is not all here",
                        metadata: ["name": "\(pin.template)", "cause": "\(error)"]
                    )
                }
            }
            // What was fetched may not have fitted.
            isAllHere =
                isAllHere && !((try? homes.database.pins()) ?? []).contains(where: isWaiting)
            pause = isAllHere ? Self.pauses.first : min(pause * 2, Self.pauses.last)
            try? await Task.sleep(for: .seconds(isAllHere ? Self.pauses.whileHere : pause))
        }
    }

    // MARK: What is where

    /// Everything that contents consist of which are kept and whose manifests are here. What is not here is
    /// not published here either, and is fetched again.
    func keptObjects() async throws(Failure) -> Set<ObjectId> {
        var kept: Set<ObjectId> = []
        var contents: Set<ContentDescriptor> = []
        for pin in try homes.database.pins() {
            let content = content(of: pin)
            guard contents.insert(content.descriptor).inserted else { continue }
            let manifest = ManifestReader(
                content.descriptor,
                prefix: content.prefix,
                source: WhatIsHere(store: homes.store)
            )
            var objects: [ObjectId] = []
            do throws(Failure) {
                try await manifest.forEachObject { id, _ in objects.append(id) }
            } catch  where error.kind == .noSource {
                continue
            }
            kept.formUnion(objects)
        }
        return kept
    }

    private func content(of pin: PinRow) -> SegmentedContent {
        let descriptor = ContentDescriptor(
            root: pin.root,
            size: pin.size,
            segmentSize: pin.segmentSize,
            levels: pin.levels
        )
        return homes.templates.content(descriptor, prefix: pin.template)
    }

    /// Does nothing for one that is not kept any more.
    func noteKept(_ pins: [PinRow], _ state: KeptState) {
        guard let known = try? Set(homes.database.pins()) else { return }
        keptStates.withLock { states in
            for pin in pins where known.contains(pin) { states[pin] = state }
        }
    }

    private func isWaiting(_ pin: PinRow) -> Bool {
        if case .waiting = keptStates.withLock({ $0[pin] }) ?? .waiting(nil) { true } else { false }
    }

    private func isHere(_ pin: PinRow) -> Bool {
        if case .here = keptStates.withLock({ $0[pin] }) { true } else { false }
    }

    func keptReport() throws(Failure) -> (kept: [KeptContent], problem: String?) {
        let pins = try homes.database.pins()
        return (pins.map(kept), try problemOfKeeping(Set(pins)))
    }

    private func kept(_ pin: PinRow) -> KeptContent {
        var content = KeptContent(
            template: pin.template.uri,
            version: pin.version,
            item: pin.item,
            dataBytes: pin.dataByteCount,
            state: .waiting,
            problem: nil
        )
        switch keptStates.withLock({ $0[pin] }) {
        case .waiting(let problem): content.problem = problem
        case .fetching: content.state = .fetching
        case .here: content.state = .here
        case nil: break
        }
        return content
    }
}

extension PinRow {
    init(_ item: TemplateRecord.Item, of template: Name, _ version: Int) {
        self.init(
            template: template,
            version: version,
            item: item.name,
            root: item.content.root,
            size: item.content.size,
            segmentSize: item.content.segmentSize,
            levels: item.content.levels,
            dataByteCount: item.dataByteCount
        )
    }
}

/// Disks and files that are kept, for listings.
struct KeptItems {
    private struct Version: Hashable {
        let template: Name
        let number: Int
    }

    private let names: [Version: [String]]

    init(_ pins: [PinRow]) {
        names = Dictionary(grouping: pins) { Version(template: $0.template, number: $0.version) }
            .mapValues { $0.map(\.item) }
    }

    /// In alphabetical order; none if nothing of the version is kept.
    func names(of template: Name, _ version: Int) -> [String] {
        names[Version(template: template, number: version)] ?? []
    }
}

/// Asks nobody.
private struct WhatIsHere: ContentSource {
    let store: LayeredStore

    func object(_ request: ObjectRequest) async throws(Failure) -> [UInt8] {
        guard let bytes = try store.localObject(request.id) else {
            return try await NoSource().object(request)
        }
        return bytes
    }
}
