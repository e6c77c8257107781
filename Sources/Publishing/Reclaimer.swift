internal import CCNx
package import Failures
package import Profiles
package import Store
package import Templates

/// Frees published content that nothing refers to any more.
///
/// Roots are the versions that catalogs of this node list, its own and those that it mirrors, the profiles of
/// VM disks, what pulls under way count on, and whatever is open. Everything
/// reachable from them stays; the rest leaves the index durably first and is punched afterwards.
package struct Reclaimer: Sendable {
    private let store: ContentStore
    private let local: LayeredStore
    private let database: StateDatabase
    private let gate: PublishingGate
    private let reserve: SpaceReserve

    package struct Report: Sendable, Codable, Equatable {
        package var freedSegments = 0
        package var freedBytes = 0
        package var freedObjects = 0

        package init(freedBytes: Int = 0) { self.freedBytes = freedBytes }
    }

    package init(
        local: LayeredStore,
        database: StateDatabase,
        gate: PublishingGate,
        reserve: SpaceReserve
    ) {
        store = local.published
        self.local = local
        self.database = database
        self.gate = gate
        self.reserve = reserve
    }

    /// - Parameters:
    ///   - contents: what disks map to and what is open. Looked at once nothing can be withdrawn any more: a VM that
    ///     is made of a version while others wait for their turn outlives it.
    ///   - objects: what else is to stay; looked at then, too.
    package func reclaim(
        templates: Templates,
        keeping contents: () throws(Failure) -> [SegmentedContent],
        and objects: () async throws(Failure) -> Set<ObjectId> = { [] }
    ) async throws(Failure) -> Report {
        try await gate.whileNothingChanges { () async throws(Failure) in
            let contents = try contents()
            let claims = gate.claims
            let claimed = claims.flatMap(\.contents).map {
                templates.content($0.descriptor, prefix: $0.prefix)
            }
            var kept = try await objects().union(claims.flatMap(\.objects))
            kept.formUnion(try await reachable(from: contents + claimed))
            kept.formUnion(try await listed(templates))
            let images = Set(claims.flatMap(\.images))
            return try reserve.lend { () throws(Failure) in
                try sweep(keeping: kept, images: images)
            }
        }
    }

    /// Frees what was written and never recorded, since the index had no room for it.
    ///
    /// - Returns: the bytes freed.
    @discardableResult
    package func freeUnrecorded() async throws(Failure) -> Int {
        try await gate.whileNothingChanges { () async throws(Failure) in
            let images = Set(gate.claims.flatMap(\.images))
            return try reserve.lend { () throws(Failure) in
                try store.freeUnindexed(except: images)
            }
        }
    }

    /// Everything that catalogs of this node name.
    private func listed(_ templates: Templates) async throws(Failure) -> Set<ObjectId> {
        var kept: Set<ObjectId> = []
        let catalogs = try database.catalogs().filter(\.isKept)
        let mirrored = Set(catalogs.filter { $0.mirroredFrom != nil }.map(\.namespace))
        for catalog in catalogs {
            kept.insert(catalog.object)
            guard let signed = try store.smallObject(catalog.object) else { continue }
            let content = templates.content(
                try Catalog.listing(of: signed),
                prefix: catalog.namespace
            )
            kept.formUnion(try await reachable(from: [content]))
        }
        for row in try database.versions()
        where row.publishedHere || mirrored.contains(row.template.prefix(1)) {
            kept.insert(row.record)
            guard row.withdrawn == nil else { continue }
            guard let version = templates.template(named: row.template)?.version(row.version),
                let record = version.record
            else {
                throw Failure(
                    .corrupt,
                    "the record of \(row.template) version \(row.version) cannot be read, so nothing "
                        + "is reclaimed",
                    cause: templates.template(named: row.template)?
                        .version(row.version)?.problem
                )
            }
            let items = (record.disks + record.files).map {
                templates.content($0.content, prefix: row.template)
            }
            kept.formUnion(try await reachable(from: items))
        }
        return kept
    }

    private func reachable(
        from contents: [SegmentedContent]
    ) async throws(Failure) -> Set<ObjectId> {
        var ids: Set<ObjectId> = []
        var roots: Set<ContentDescriptor> = []
        for content in contents where roots.insert(content.descriptor).inserted {
            try await content.manifest.forEachObject { (id, _) throws(Failure) in ids.insert(id) }
        }
        return ids
    }

    private func sweep(
        keeping kept: Set<ObjectId>,
        images: Set<Int>
    ) throws(Failure) -> Report {
        var report = Report()
        let segments = try store.allSegments().filter { !kept.contains($0.id) }
        report.freedSegments = segments.count
        report.freedBytes = try store.free(segments)
        report.freedBytes += try store.freeUnindexed(except: images)
        let objects = try store.smallObjectIds().filter { !kept.contains($0) }
        try store.removeSmallObjects(objects)
        report.freedObjects = objects.count
        return report
    }
}
