internal import ArgumentParser
internal import CCNx
internal import Control
internal import Failures

struct UnkeepCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unkeep",
        abstract: "Let what was fetched with --keep be evicted again.",
        discussion: """
            Nothing is freed at once: it goes when the cache is full, as everything else in it. What is kept
            stands in ccnfs status.

            EXAMPLES
              ccnfs unkeep ccnx:/mycorp.com/app1/linuxvm
              ccnfs unkeep ccnx:/mycorp.com/app1/linuxvm@3
            """
    )

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The template, or TEMPLATE@VERSION (default: all versions that are kept).")
    var name: String

    func run() async throws {
        let (template, version) = try TemplateArgument.parse(name)
        let unkept = try await global.perform(.unkeep(template: template, version: version)) {
            (response) -> [KeptContent]? in
            if case .unkept(let contents) = response { contents } else { nil }
        }
        if global.json { return try Output.json(unkept) }
        for content in unkept {
            Output.line(
                "\(content.template) version \(content.version) \(content.item), "
                    + "\(ByteCount.text(content.dataBytes)) of data, may be evicted"
            )
        }
    }
}

/// Reads `ccnx:/mycorp.com/app1/linuxvm` or `ccnx:/mycorp.com/app1/linuxvm@3`.
enum TemplateArgument {
    /// - Parameter option: the version that an option says.
    static func parse(
        _ text: String,
        version option: Int? = nil
    ) throws(Failure) -> (template: String, version: Int?) {
        guard case .template(let template, let version) = try DiskSetArgument.parse(text) else {
            // Says what a template's name looks like.
            return (try Name.templateName(uri: text).uri, option)
        }
        if let version, let option, version != option {
            throw Failure(.usage, "\(text) is version \(version), --version says \(option)")
        }
        return (template, version ?? option)
    }

    /// Reads a name where all of a template is meant, or a version that comes into being.
    static func whole(_ text: String) throws(Failure) -> String {
        if let at = text.lastIndex(of: "@"), !text[..<at].hasSuffix("/"),
            text[at...].dropFirst().allSatisfy(\.isNumber)
        {
            throw Failure(
                .usage,
                "\(text) names a version, which has no place here",
                hint: "leave out \(text[at...]); an @ of the name itself is written as %40"
            )
        }
        return try Name.templateName(uri: text).uri
    }
}
