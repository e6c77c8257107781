internal import CCNx
internal import Control
internal import Disks
internal import Failures
internal import Files
internal import Profiles
internal import Publishing
internal import Signing
internal import Store
internal import Templates

// A VM becomes the next version of its template, or a new template.
extension NodeOperations {
    func republish(
        _ republication: ControlRequest.Republication,
        _ session: any ControlSession
    ) async throws(Failure) -> PublishReport {
        try checkWritable()
        let machines = homes.machines
        let machine = try machines.existing(republication.machine)
        let template = try target(of: republication, machine)
        let parent = try parentRecord(of: machine)
        let views = try await Threads.run { () throws(Failure) in
            if let snapshot = republication.snapshot {
                return try machines.pinDisks(of: machine.name, snapshot: snapshot)
            }
            return try machines.pinDisks(of: machine.name)
        }
        guard !views.isEmpty else {
            throw Failure(.invalid, "VM \(machine.name) has no disks to publish")
        }
        for (name, view) in views where view.size == 0 || view.size % 512 != 0 {
            throw Failure(
                .invalid,
                "\(name) of VM \(machine.name) has \(view.size) bytes, which is no whole number of "
                    + "sectors",
                hint: "truncate it to a multiple of 512 bytes first"
            )
        }
        var request = PublishRequest(
            template: template,
            disks: [],
            properties: (parent?.properties ?? [:]).merging(republication.properties) { $1 },
            files: try await carriedFiles(of: parent),
            origin: TemplateRecord.Origin(
                machine: machine.name,
                snapshot: republication.snapshot,
                template: machine.template,
                version: machine.templateVersion
            )
        )
        for (name, view) in views.sorted(by: { $0.key < $1.key }) {
            request.disks.append(.init(name: name, derived: try derived(view, parent)))
        }
        let key = try PublicKey(pem: Array(republication.publicKeyPEM.utf8))
        let report = try await publish(
            request,
            key,
            at: republication.repository,
            repositoryKey: republication.repositoryKey,
            reportingTo: session
        )
        CrashPoint.republishPublished.reached()
        if republication.isRebasing {
            try await rebase(views, onto: template, version: report.version)
            try await noteRebased(machine, template, report.version)
        }
        return report
    }

    private func target(
        of republication: ControlRequest.Republication,
        _ machine: VirtualMachine
    ) throws(Failure) -> Name {
        if let template = republication.template { return try Name.templateName(uri: template) }
        guard let template = machine.template else {
            throw Failure(
                .usage,
                "VM \(machine.name) was not deployed from a template",
                hint: "name one to publish as: ccnfs republish \(machine.name) ccnx:/…"
            )
        }
        return template
    }

    /// The record that the VM's properties and carried files come from; nil if it is not served here.
    private func parentRecord(of machine: VirtualMachine) throws(Failure) -> TemplateRecord? {
        guard let template = machine.template else { return nil }
        return try? homes.templates.served(template, version: machine.templateVersion).record
    }

    private func carriedFiles(
        of parent: TemplateRecord?
    ) async throws(Failure) -> [PublishRequest.FileSource] {
        guard let parent else { return [] }
        var files: [PublishRequest.FileSource] = []
        for item in parent.files {
            let content = homes.templates.content(item.content, prefix: parent.name)
            files.append(
                .init(
                    name: item.name,
                    bytes: try await content.read(at: 0, byteCount: item.content.size)
                )
            )
        }
        return files
    }

    /// What a disk shows, told apart from the content that most of it is.
    private func derived(
        _ view: PinnedView,
        _ parent: TemplateRecord?
    ) throws(Failure) -> DerivedDisk {
        let pieces = try view.withView { $0.pieces(in: 0..<view.size) }
        var byContent: [ContentDescriptor: (content: SegmentedContent, byteCount: Int)] = [:]
        for (range, piece) in pieces {
            guard case .content(let content, let offset) = piece, offset == range.lowerBound else {
                continue
            }
            byContent[content.descriptor, default: (content, 0)].byteCount += range.count
        }
        let base = byContent.values.max { $0.byteCount < $1.byteCount }?.content
        var changed: [Range<Int>] = []
        for (range, piece) in pieces {
            switch piece {
            case .content(let content, let offset)
            where content.descriptor == base?.descriptor && offset == range.lowerBound:
                continue
            case .hole where range.lowerBound >= base?.descriptor.size ?? 0: continue
            case .hole, .zero, .written, .content: break
            }
            if let last = changed.last, last.upperBound == range.lowerBound {
                changed[changed.count - 1] = last.lowerBound..<range.upperBound
            } else {
                changed.append(range)
            }
        }
        return DerivedDisk(
            size: view.size,
            base: base,
            baseDataByteCount: parent?.disks.first { $0.content == base?.descriptor }?
                .dataByteCount,
            changed: changed,
            reader: view
        )
    }

    // MARK: Rebasing

    private func rebase(
        _ views: [String: PinnedView],
        onto template: Name,
        version: Int
    ) async throws(Failure) {
        let (_, record) = try homes.templates.served(template, version: version)
        let machines = homes.machines
        for (name, view) in views.sorted(by: { $0.key < $1.key }) {
            guard let item = record.disks.first(where: { $0.name == name }) else { continue }
            let content = homes.templates.content(item.content, prefix: template)
            try await Threads.run { () throws(Failure) in
                try machines.rebase(view, onto: content)
            }
        }
        CrashPoint.republishRebased.reached()
    }

    private func noteRebased(
        _ machine: VirtualMachine,
        _ template: Name,
        _ version: Int
    ) async throws(Failure) {
        let machines = homes.machines
        try await Threads.run { () throws(Failure) in
            try machines.setTemplate(template, version: version, of: machine.id)
            machines.requestReclaim()
        }
    }
}

extension PinnedView: DerivedDisk.Reader {}
