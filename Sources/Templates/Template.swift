package import CCNx
package import Failures
package import Store

/// A template as this node knows it. A value; the truth is in ``Templates``.
package struct Template: Sendable {
    package let name: Name
    /// Ascending by number; withdrawn ones are left out.
    package var versions: [TemplateVersion]
    package var tags: [String: Int]

    /// The newest version that this node trusts; the newest at all if it trusts none.
    package var newest: TemplateVersion? {
        versions.last { $0.problem == nil } ?? versions.last
    }

    package func version(_ number: Int) -> TemplateVersion? {
        versions.first { $0.number == number }
    }
}

/// One version: its record, and why its bytes must not be served, if so.
package struct TemplateVersion: Sendable {
    package let number: Int
    package let recordId: ObjectId
    package let publishedHere: Bool
    /// Nil when the record could not be read at all.
    package let record: TemplateRecord?
    /// The record's bytes as signed: `template.json`.
    package let recordJSON: [UInt8]
    /// Nil when its signature verifies and its key may speak for the name.
    package let problem: Failure?
}
