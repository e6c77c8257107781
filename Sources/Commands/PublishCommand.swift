internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Foundation
internal import Publishing
internal import Signing

struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Sign disk images and publish them as a template.",
        discussion: """
            Images are raw, qcow2 (with its backing files), vmdk, vhdx or vdi; - reads raw bytes from
            standard input. Several become disk0, disk1, … Publishing under a name that is there makes
            its next version; what is known already is stored once.

            EXAMPLES
              ccnfs publish debian.qcow2 ccnx:/mycorp.com/app1/linuxvm
              ccnfs publish root.raw data.vmdk ccnx:/mycorp.com/db --property memory=4G --file vm.xml
              ccnfs publish --definition linuxvm.yaml
              zcat disk.gz | ccnfs publish - ccnx:/mycorp.com/app1/linuxvm
              ccnfs publish debian.qcow2 ccnx:/mycorp.com/app1/linuxvm --to repository.mycorp.com

            With --to the template becomes visible at that repository, which fetches what it lacks over the
            connection that is made to it. Cut off, the same command goes on from there.
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "Images, then the template's name.", completion: .file()) var words: [String] =
        []
    @Option(
        help: ArgumentHelp(
            "The private key to sign with (default: keys/publisher.pem in the state directory).",
            valueName: "file"
        ),
        completion: .file()
    )
    var key: String?
    @Option(
        help: ArgumentHelp("A property of the template; may be given again.", valueName: "k=v")
    )
    var property: [String] = []
    @Option(
        help: ArgumentHelp("A small file to carry along; may be given again.", valueName: "file"),
        completion: .file()
    )
    var file: [String] = []
    @Option(
        help: ArgumentHelp("Bytes of a segment: 4K, 8K, 16K or 32K (default).", valueName: "size")
    )
    var segmentSize: String?
    @Option(
        help: "raw, qcow2, vmdk, vhdx or vdi, of all images (default: told from their first bytes)."
    )
    var format: String?
    @Option(
        help: ArgumentHelp("Name, disks, properties and files in a YAML file.", valueName: "file"),
        completion: .file()
    )
    var definition: String?
    @Flag(help: "Say what would be stored, and store nothing; the images are read all the same.")
    var dryRun = false
    @OptionGroup var destination: DestinationOptions

    func run() async throws {
        var publication =
            try definition.map { path throws(Failure) in
                try TemplateDefinition(path: path).publication()
            }
            ?? ControlRequest.Publication(
                template: "",
                disks: [],
                properties: [:],
                files: [],
                segmentSize: 32 << 10,
                isDryRun: false,
                publicKeyPEM: ""
            )
        try apply(to: &publication)
        let privateKey = try KeyFiles.privateKey(key ?? KeyFiles.defaultPath(global))
        publication.publicKeyPEM = String(decoding: try privateKey.publicKey.pem(), as: UTF8.self)
        publication.isDryRun = dryRun
        publication.repository = try destination.address()
        publication.repositoryKey = destination.repositoryKey
        let session = CommandSession(key: privateKey)
        let report: PublishReport
        do throws(Failure) {
            report = try await global.perform(.publish(publication), session: session) {
                (response) -> PublishReport? in
                if case .published(let report) = response { report } else { nil }
            }
        } catch {
            session.endProgress()
            // A repository elsewhere says itself what would help.
            let isHere = publication.repository == nil
            throw error.kind == .untrusted && isHere ? withTrustLine(error) : error
        }
        session.endProgress()
        if global.json { return try Output.json(report) }
        Self.show(report)
    }

    /// What the command line says goes before what the definition says.
    private func apply(to publication: inout ControlRequest.Publication) throws(Failure) {
        if let name = words.last {
            guard name.hasPrefix("ccnx:") else {
                throw Failure(
                    .usage,
                    "the last word is to be the template's name, and \(name) is none",
                    hint: "ccnfs publish IMAGE… ccnx:/mycorp.com/app1/linuxvm"
                )
            }
            publication.template = try TemplateArgument.whole(name)
            let images = words.dropLast()
            if !images.isEmpty {
                publication.disks = images.enumerated().map { index, image in
                    ControlRequest.Publication.Disk(
                        name: "disk\(index)",
                        path: image == "-" ? nil : FileTree.absolute(image),
                        format: format
                    )
                }
            }
        }
        guard !publication.template.isEmpty else {
            throw Failure(
                .usage,
                "there is no name to publish under",
                hint: "ccnfs publish IMAGE… ccnx:/mycorp.com/app1/linuxvm"
            )
        }
        guard !publication.disks.isEmpty else {
            throw Failure(.usage, "there is no image to publish as \(publication.template)")
        }
        guard publication.disks.filter({ $0.path == nil }).count <= 1 else {
            throw Failure(.usage, "standard input can be one disk only")
        }
        for disk in publication.disks {
            if let path = disk.path, !FileTree.exists(path) {
                throw Failure(.notFound, "there is no image \(path)")
            }
        }
        publication.properties.merge(try PropertyArgument.parse(property)) { $1 }
        for path in file { publication.files.append(try .read(path)) }
        if let segmentSize { publication.segmentSize = try ByteCount.parse(segmentSize) }
    }

    /// The line to run, with this command's own key in it.
    private func withTrustLine(_ failure: Failure) -> Failure {
        let path = KeyFiles.publicPath(key ?? KeyFiles.defaultPath(global))
        guard let name = (words.last ?? definition).flatMap({ try? Name(uri: $0) }) else {
            return failure
        }
        return Failure(
            failure.kind,
            failure.message,
            hint: "if it should: ccnfs trust add \(name.prefix(1)) \(path)",
            cause: failure.cause
        )
    }

    static func show(_ report: PublishReport) {
        let verb = report.isDryRun ? "would become" : "is"
        Output.line("\(report.template) \(verb) version \(report.version)")
        for disk in report.disks {
            Output.line(
                "  \(disk.name)  \(ByteCount.text(disk.size))  root \(disk.root.prefix(16))…"
            )
            Output.line(
                "    \(disk.segments) segments, \(disk.holes) holes; new "
                    + "\(disk.newSegments) (\(ByteCount.text(disk.newBytes))), known "
                    + "\(disk.knownSegments) (\(ByteCount.text(disk.knownBytes)))"
            )
        }
        let seconds = String(format: "%.2f", report.seconds)
        Output.line(report.isDryRun ? "nothing was stored (\(seconds) s)" : "in \(seconds) s")
    }
}

extension ControlRequest.Publication.File {
    static func read(_ path: String) throws(Failure) -> Self {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return Self(
            name: name,
            bytes: try FileTree.bytes(of: path, limit: PublishRequest.fileByteLimit)
        )
    }
}

/// Where a template is published.
struct DestinationOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Publish at the repository there, such as repository.mycorp.com:9695 (default: this node).",
            valueName: "address"
        )
    )
    var to: String?

    @Option(
        help: ArgumentHelp(
            "The beginning of the id of that repository's key: nobody else is believed to be it.",
            valueName: "id"
        )
    )
    var repositoryKey: String?

    /// The address of its face.
    func address() throws(Failure) -> String? {
        guard to != nil || repositoryKey == nil else {
            throw Failure(.usage, "--repository-key is that of the repository of --to")
        }
        return try to.map { (text) throws(Failure) in try AddressArgument.address(text) }
    }
}
