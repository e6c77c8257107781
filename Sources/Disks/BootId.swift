package import Failures
internal import Files

/// The running kernel's boot: what stands in the page cache lives as long as it does.
package enum BootId {
    /// - Throws: when the kernel does not say (no /proc).
    package static func current() throws(Failure) -> String {
        let file = try File("/proc/sys/kernel/random/boot_id", .readOnly)
        let text = String(decoding: try file.bytes(at: 0, byteCount: 64), as: UTF8.self)
        return String(text.prefix { !$0.isWhitespace })
    }
}
