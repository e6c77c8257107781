internal import CCNx
internal import Control
internal import Disks
internal import Failures
internal import Files
internal import Logging
internal import Profiles
internal import Publishing
internal import Store
internal import Templates

// The templates that are listed here.
extension NodeOperations {
    func detail(of name: Name, _ number: Int?) async throws(Failure) -> TemplateDetail {
        let template = try homes.templates.existing(name)
        guard let version = number.map(template.version) ?? template.newest else {
            throw Failure(
                .notFound,
                "\(name) has no version \(number.map(String.init) ?? "that is served")",
                hint: "see: ccnfs versions \(name)"
            )
        }
        guard let record = version.record else {
            throw version.problem
                ?? Failure(.corrupt, "\(name) version \(version.number) has no record")
        }
        func items(_ items: [TemplateRecord.Item]) async throws(Failure) -> [TemplateDetail.Item] {
            var details: [TemplateDetail.Item] = []
            for item in items {
                var local: Int?
                if version.problem == nil {
                    let content = homes.templates.content(item.content, prefix: name)
                    local = try? await content.localByteCount().local
                }
                details.append(
                    TemplateDetail.Item(
                        name: item.name,
                        size: item.content.size,
                        dataBytes: item.dataByteCount,
                        localBytes: local,
                        root: item.content.root.hex,
                        segmentSize: item.content.segmentSize
                    )
                )
            }
            return details
        }
        let kept = KeptItems(try homes.database.pins())
        return TemplateDetail(
            name: name.uri,
            version: VersionSummary(version, kept: kept.names(of: name, version.number)),
            parentVersion: record.parentVersion,
            origin: record.origin.map { origin in
                TemplateDetail.Origin(
                    machine: origin.machine,
                    snapshot: origin.snapshot,
                    template: origin.template?.uri,
                    version: origin.version
                )
            },
            properties: record.properties,
            disks: try await items(record.disks),
            files: try await items(record.files),
            tags: template.tags.filter { $0.value == version.number }.keys.sorted()
        )
    }

    private func check(_ template: Template, has number: Int) throws(Failure) {
        guard template.version(number) == nil else { return }
        throw Failure(
            .notFound,
            "\(template.name) has no version \(number)",
            hint: "see: ccnfs versions \(template.name)"
        )
    }

    func setTag(_ tag: String, of name: Name, to version: Int?) throws(Failure) {
        try TemplateRecord.check(itemName: tag)
        let template = try homes.templates.existing(name)
        if let version { try check(template, has: version) }
        if version == nil, template.tags[tag] == nil {
            throw Failure(
                .notFound,
                "\(name) has no tag \(tag)",
                hint: "see: ccnfs versions \(name)"
            )
        }
        try homes.editor.change(name.prefix(1), now: WallClock.seconds) {
            (listing) throws(Failure) in
            listing.tags.removeAll { $0.template == name && $0.tag == tag }
            if let version {
                listing.tags.append(TagRow(template: name, tag: tag, version: version))
            }
        }
    }

    func delete(_ name: Name, _ number: Int?) async throws(Failure) -> Deletion {
        let template = try homes.templates.existing(name)
        if let number { try check(template, has: number) }
        let versions = template.versions.map(\.number).filter { number == nil || $0 == number }
        let now = WallClock.seconds
        try homes.editor.change(name.prefix(1), now: now) { (listing) throws(Failure) in
            for index in listing.versions.indices
            where listing.versions[index].template == name
                && versions.contains(listing.versions[index].version)
            {
                listing.versions[index].withdrawn = listing.versions[index].withdrawn ?? now
            }
            listing.tags.removeAll { $0.template == name && versions.contains($0.version) }
        }
        let keptFor = homes.machines.all().filter { machine in
            machine.disks.values.contains { disk in
                disk.contents.contains { $0.prefix == name }
            }
        }
        var freed = Reclaimer.Report()
        do throws(Failure) {
            freed = try await reclaim()
        } catch {
            // What was asked for is done; the space goes with the next reclaim.
            logger.warning("nothing reclaimed after a delete", metadata: ["cause": "\(error)"])
        }
        return Deletion(
            template: name.uri,
            versions: versions,
            freed: freed,
            keptFor: keptFor.map(\.name)
        )
    }

    var reclaimer: Reclaimer {
        Reclaimer(
            local: homes.store,
            database: homes.database,
            gate: homes.gate,
            reserve: homes.reserve
        )
    }

    func reclaim() async throws(Failure) -> Reclaimer.Report {
        let machines = homes.machines
        try await Threads.run { () throws(Failure) in try machines.reclaimOverlays() }
        return try await reclaimer.reclaim(
            templates: homes.templates,
            keeping: { () throws(Failure) in
                try machines.contentsInUse() + homes.templates.contentsInUse()
            },
            and: { () async throws(Failure) in try await keptObjects() }
        )
    }
}
