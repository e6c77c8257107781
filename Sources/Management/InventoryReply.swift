package import Failures
internal import Templates

/// What a repository answers to a part of an inventory.
package enum InventoryReply: Codable, Sendable {
    case taken
    /// It knows a later report of that node, or of another that has its name.
    case older(than: UInt64)
    case refused(WireFailure)

    package init(json: [UInt8]) throws(Failure) {
        self = try JSONPayload.decoded(json, what: "answer of a repository")
    }

    package func json() throws(Failure) -> [UInt8] { try JSONPayload.encoded(self) }
}
