internal import Faces
internal import Failures

/// A neighbour's address as it is given for one command.
enum AddressArgument {
    /// The address of its face; without a kind it is one of TCP: `repository.mycorp.com:9695`.
    static func address(_ text: String) throws(Failure) -> String {
        let isWhole = ["tcp:", "udp:", "unix:"].contains { text.hasPrefix($0) }
        return try FaceAddress(isWhole ? text : "tcp:\(text)").description
    }
}
