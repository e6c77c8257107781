internal import ArgumentParser
internal import Faces
internal import Failures

/// A neighbour's address as it is given for one command.
enum AddressArgument {
    /// Of an address that says its kind.
    static let help: ArgumentHelp = "Such as tcp:host:9695, udp:host:9695 or unix:/path."

    /// The address of its face, `udp:` and `unix:` ones too; without a kind it is one of TCP:
    /// `repository.mycorp.com:9695`.
    static func address(_ text: String) throws(Failure) -> String {
        let isWhole = ["tcp:", "udp:", "unix:"].contains { text.hasPrefix($0) }
        return try FaceAddress(isWhole ? text : "tcp:\(text)").description
    }
}
