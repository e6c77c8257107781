internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Foundation
internal import Management
internal import Publishing

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List templates, also those that are not trusted.",
        discussion: """
            SIZE, DATA and STATE are of the newest version; KEPT are the versions of which something is kept
            by ccnfs fetch --keep. With --at or --key those of a repository elsewhere that the key may manage.

            EXAMPLES
              ccnfs list
              ccnfs list ccnx:/mycorp.com
              ccnfs list --at repository.mycorp.com --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "Only names that begin with this.") var prefix: String?
    @OptionGroup var errand: ErrandOptions

    func run() async throws {
        let prefix = try prefix.map { text throws(Failure) in try Name(uri: text) } ?? Name()
        var templates = try await global.templates(prefix.uri, errand)
        templates = try templates.filter { try Name(uri: $0.name).hasPrefix(prefix) }
        if global.json { return try Output.json(templates) }
        Output.table(
            ["NAME", "VERSION", "SIZE", "DATA", "KEPT", "STATE"],
            templates.map { template in
                let newest = template.versions.first { $0.version == template.newestVersion }
                return [
                    template.name, newest.map { String($0.version) } ?? "-",
                    ByteCount.text(newest?.size ?? 0), ByteCount.text(newest?.dataBytes ?? 0),
                    Self.kept(template),
                    newest?.problem.map { "NOT SERVED: \($0)" } ?? "trusted",
                ]
            }
        )
    }

    private static func kept(_ template: TemplateSummary) -> String {
        let numbers = template.versions.filter { !$0.kept.isEmpty }.map(\.version).sorted()
        return numbers.isEmpty ? "-" : numbers.map(String.init).joined(separator: ",")
    }
}

struct VersionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "versions",
        abstract: "List the versions of a template.",
        discussion: """
            EXAMPLES
              ccnfs versions ccnx:/mycorp.com/app1/linuxvm
              ccnfs versions ccnx:/mycorp.com/app1/linuxvm --at repository.mycorp.com --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template.") var name: String
    @OptionGroup var errand: ErrandOptions

    func run() async throws {
        let name = try TemplateArgument.whole(name)
        let templates = try await global.templates(name, errand)
        guard let template = templates.first(where: { $0.name == name }) else {
            throw Failure(
                .notFound,
                "there is no template \(name) \(errand.isElsewhere ? "there" : "here")",
                hint: "see: ccnfs list"
            )
        }
        if global.json { return try Output.json(template.versions) }
        Output.table(
            ["VERSION", "PUBLISHED", "DISKS", "SIZE", "DATA", "TAGS", "KEPT", "STATE"],
            template.versions.map { version in
                [
                    String(version.version),
                    version.time.map {
                        Date(timeIntervalSince1970: Double($0)).formatted(.iso8601)
                    } ?? "-",
                    String(version.diskCount), ByteCount.text(version.size),
                    ByteCount.text(version.dataBytes),
                    template.tags.filter { $0.value == version.version }.keys.sorted()
                        .joined(separator: ","),
                    version.kept.isEmpty ? "-" : version.kept.joined(separator: ","),
                    version.problem.map { "NOT SERVED: \($0)" } ?? "trusted",
                ]
            }
        )
    }
}

struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show one version of a template.",
        discussion: """
            EXAMPLES
              ccnfs show ccnx:/mycorp.com/app1/linuxvm
              ccnfs show ccnx:/mycorp.com/app1/linuxvm@2
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template, or TEMPLATE@VERSION.") var name: String
    @Option(name: [.customLong("version"), .customShort("n")], help: "Default: the newest.")
    var number: Int?

    func run() async throws {
        let (name, version) = try TemplateArgument.parse(name, version: number)
        let detail = try await global.perform(.show(template: name, version: version)) {
            (response) -> TemplateDetail? in
            if case .template(let detail) = response { detail } else { nil }
        }
        if global.json { return try Output.json(detail) }
        Output.line("name       \(detail.name)")
        Output.line("version    \(detail.version.version)")
        Output.line("publisher  \(detail.version.publisher ?? "-")")
        if let origin = detail.origin {
            let machine = origin.machine + (origin.snapshot.map { "@\($0)" } ?? "")
            let template = origin.template.map { ", deployed from \($0)" } ?? ""
            let version = origin.version.map { " version \($0)" } ?? ""
            Output.line("made from  VM \(machine)\(template)\(version)")
        }
        if let problem = detail.version.problem { Output.line("NOT SERVED \(problem)") }
        if !detail.tags.isEmpty { Output.line("tags       \(detail.tags.joined(separator: ", "))") }
        for (key, value) in detail.properties.sorted(by: { $0.key < $1.key }) {
            Output.line("property   \(key)=\(value)")
        }
        Output.table(
            ["FILE", "SIZE", "DATA", "LOCAL", "KEPT", "SEGMENT", "ROOT"],
            (detail.disks + detail.files).map { item in
                [
                    item.name, ByteCount.text(item.size), ByteCount.text(item.dataBytes),
                    item.localBytes.map(ByteCount.text) ?? "-",
                    detail.version.kept.contains(item.name) ? "kept" : "-",
                    ByteCount.text(item.segmentSize), item.root,
                ]
            }
        )
    }
}

struct TagCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag",
        abstract: "Give a version a name, such as stable.",
        discussion: """
            EXAMPLES
              ccnfs tag ccnx:/mycorp.com/app1/linuxvm stable 3
              ccnfs tag ccnx:/mycorp.com/app1/linuxvm stable --remove
              ccnfs tag ccnx:/mycorp.com/app1/linuxvm stable 3 --at repository.mycorp.com --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template.") var name: String
    @Argument(help: "The tag.") var tag: String
    @Argument(help: ArgumentHelp("The version it is to mean.", valueName: "version"))
    var number: Int?
    @Flag(help: "Take the tag away.") var remove = false
    @OptionGroup var errand: ErrandOptions

    func validate() throws {
        guard (number == nil) == remove else {
            throw ValidationError("give either a version or --remove")
        }
    }

    func run() async throws {
        let name = try TemplateArgument.whole(name)
        if errand.isElsewhere {
            _ = try await errand.perform(.tag(name: tag, version: number), to: name, global) { $0 }
        } else {
            _ = try await global.perform(.tag(template: name, tag: tag, version: number))
        }
        if global.json { return }
        Output.line(
            number.map { "\(name) version \($0) is \(tag)" } ?? "\(name) has no tag \(tag) any more"
        )
    }
}

struct DeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Withdraw a template, or one version of it.",
        discussion: """
            A signed change of the catalog. VMs deployed from it keep working; space that nothing refers
            to is freed.

            EXAMPLES
              ccnfs delete ccnx:/mycorp.com/app1/linuxvm@1
              ccnfs delete ccnx:/mycorp.com/app1/linuxvm
              ccnfs delete ccnx:/mycorp.com/app1/linuxvm --at repository.mycorp.com --key admin.pem
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template, or TEMPLATE@VERSION.") var name: String
    @Option(
        name: [.customLong("version"), .customShort("n")],
        help: "Default: all versions."
    )
    var number: Int?
    @OptionGroup var errand: ErrandOptions

    func run() async throws {
        let (name, version) = try TemplateArgument.parse(name, version: number)
        func pick(_ response: ControlResponse) -> Deletion? {
            if case .deleted(let deletion) = response { deletion } else { nil }
        }
        let deletion =
            errand.isElsewhere
            ? try await errand.perform(.withdraw(version: version), to: name, global, pick)
            : try await global.perform(.delete(template: name, version: version), pick)
        if global.json { return try Output.json(deletion) }
        let versions = deletion.versions.map(String.init).joined(separator: ", ")
        Output.line("\(name): withdrawn: version \(versions)")
        Output.line(
            "freed \(ByteCount.text(deletion.freed.freedBytes)) "
                + "in \(deletion.freed.freedSegments) segments, and "
                + "\(deletion.freed.freedObjects) small objects"
        )
        if !deletion.keptFor.isEmpty {
            Output.line("kept for the VMs \(deletion.keptFor.joined(separator: ", "))")
        }
    }
}

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a template's disk into an image file.",
        discussion: """
            EXAMPLES
              ccnfs export ccnx:/mycorp.com/app1/linuxvm linuxvm.qcow2
              ccnfs export ccnx:/mycorp.com/app1/linuxvm@1 old.raw
              ccnfs export ccnx:/mycorp.com/db data.qcow2 --disk disk1
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template, or TEMPLATE@VERSION.") var name: String
    @Argument(help: "The file to write.", completion: .file()) var file: String
    @Option(
        name: [.customLong("version"), .customShort("n")],
        help: "Default: the newest."
    )
    var number: Int?
    @Option(help: "Which disk (default: the first).") var disk: String?
    @Option(help: "raw or qcow2 (default: told from the file's name, else raw).")
    var format: String?
    @Flag(help: "Replace a file that is there.") var force = false

    func run() async throws {
        let (name, version) = try TemplateArgument.parse(name, version: number)
        let session = CommandSession()
        let request = ControlRequest.export(
            template: name,
            version: version,
            disk: disk,
            path: FileTree.absolute(file),
            format: format ?? (file.hasSuffix(".qcow2") ? "qcow2" : "raw"),
            overwrite: force
        )
        let export: Export
        do throws(Failure) {
            export = try await global.perform(request, session: session) {
                (response) -> Export? in
                if case .exported(let export) = response { export } else { nil }
            }
        } catch {
            session.endProgress()
            guard error.kind == .exists else { throw error }
            throw Failure(.exists, error.message, hint: "replace it: --force", cause: error.cause)
        }
        session.endProgress()
        if global.json { return try Output.json(export) }
        Output.line(
            "\(export.template) version \(export.version) \(export.disk) is in \(export.path): "
                + "\(ByteCount.text(export.size)), \(ByteCount.text(export.dataBytes)) of data"
        )
    }
}

extension GlobalOptions {
    /// - Parameter prefix: of names that are asked for elsewhere.
    func templates(
        _ prefix: String,
        _ errand: ErrandOptions
    ) async throws(Failure) -> [TemplateSummary] {
        func pick(_ response: ControlResponse) -> [TemplateSummary]? {
            if case .templates(let templates) = response { templates } else { nil }
        }
        guard errand.isElsewhere else { return try await perform(.listTemplates, pick) }
        return try await errand.perform(.listTemplates, to: prefix, self, pick)
    }
}

struct FetchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fetch",
        abstract: "Fetch all of a template that is not here yet.",
        discussion: """
            Reads of others go first. What came stays in the cache until that is full or emptied; with --keep
            until ccnfs unkeep, also when the version is withdrawn, and it comes again if the cache is lost.
            Cut off, the same command goes on from there.

            EXAMPLES
              ccnfs fetch ccnx:/mycorp.com/app1/linuxvm
              ccnfs fetch ccnx:/mycorp.com/app1/linuxvm@3 --keep
              ccnfs fetch ccnx:/mycorp.com/app1/linuxvm --disk disk0 --rate 20M
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template, or TEMPLATE@VERSION.") var name: String
    @Option(
        name: [.customLong("version"), .customShort("n")],
        help: "Default: the newest."
    )
    var number: Int?
    @Option(help: "One disk or file only.") var disk: String?
    @Flag(help: "Never evict it, until ccnfs unkeep.") var keep = false
    @Option(help: ArgumentHelp("Bytes a second at most, such as 20M.", valueName: "size"))
    var rate: String?

    func run() async throws {
        let rate = try rate.map { (text) throws(Failure) in try ByteCount.parse(text) }
        if let rate, rate < 1 { throw Failure(.usage, "at no bytes a second nothing is fetched") }
        let (template, version) = try TemplateArgument.parse(name, version: number)
        let session = CommandSession()
        defer { session.endProgress() }
        let fetching = try await global.perform(
            .fetch(template: template, version: version, disk: disk, rate: rate, isKept: keep),
            session: session
        ) { (response) -> FetchReport? in
            if case .fetched(let fetching) = response { fetching } else { nil }
        }
        session.endProgress()
        if global.json { return try Output.json(fetching) }
        let place = keep ? "is here and stays" : "is here"
        Output.line("\(fetching.template) version \(fetching.version) \(place)")
        for item in fetching.items {
            Output.line(
                "  \(item.name)  \(ByteCount.text(item.dataBytes)) of data, "
                    + "\(ByteCount.text(item.fetchedBytes)) fetched"
            )
        }
    }
}
