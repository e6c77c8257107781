package import Failures

/// What the product asks of a name under which a template may stand, beyond what CCNx permits: such
/// a name becomes a path of folders, so each segment must be a file name that is not reserved.
extension Name {
    package static let maximumSegmentCount = 32
    package static let maximumSegmentByteCount = 255
    package static let minimumTemplateSegmentCount = 2
    /// The first segment of names of local scope.
    package static let localScope = "localhost"

    package static func templateName(uri: String) throws(Failure) -> Name {
        try Name(uri: uri).validatedAsTemplateName()
    }

    /// Of a node: what a template may be called.
    package static func nodeName(uri: String) throws(Failure) -> Name {
        try Name(uri: uri).validated(naming: "node")
    }

    /// The first segment of templates' names, which has a catalog of its own.
    package static func namespace(uri: String) throws(Failure) -> Name {
        let name = try Name(uri: uri)
        guard let segment = name.segments.first, name.segments.count == 1,
            objection(to: segment) == nil, segment.text != localScope
        else {
            throw Failure(
                .invalid,
                "\(name) is no namespace",
                hint: "a namespace is the first segment of templates' names: ccnx:/mycorp.com"
            )
        }
        return name
    }

    /// This name, if a template may have it.
    package func validatedAsTemplateName() throws(Failure) -> Name {
        try validated(naming: "template")
    }

    private func validated(naming what: String) throws(Failure) -> Name {
        func refusal(_ reason: String) -> Failure {
            Failure(.invalid, "\(self) cannot name a \(what): \(reason)")
        }
        guard segments.count >= Self.minimumTemplateSegmentCount else {
            throw refusal("it has fewer than \(Self.minimumTemplateSegmentCount) segments")
        }
        guard segments.count <= Self.maximumSegmentCount else {
            throw refusal("it has more than \(Self.maximumSegmentCount) segments")
        }
        for (index, segment) in segments.enumerated() {
            if let reason = Self.objection(to: segment) {
                throw refusal("segment \(index + 1), '\(SegmentText.print(segment))', \(reason)")
            }
        }
        guard segments.first?.text != Self.localScope else {
            throw refusal("'\(Self.localScope)' is for names of this machine")
        }
        return self
    }

    private static func objection(to segment: NameSegment) -> String? {
        guard segment.type == NameSegmentType.name else { return "is not a plain segment" }
        guard !segment.value.isEmpty else { return "is empty" }
        guard segment.value.count <= maximumSegmentByteCount else {
            return "is longer than \(maximumSegmentByteCount) bytes"
        }
        guard let text = segment.text else { return "is not UTF-8" }
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control: return "has a control character"
            case _ where scalar == "/": return "has a '/'"
            default: break
            }
        }
        switch text.unicodeScalars.first {
        case "@": return "begins with '@', which is reserved"
        case ".": return "begins with '.', which is reserved"
        default: return nil
        }
    }
}
