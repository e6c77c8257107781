import CZstd
import Failures

/// Makes and reads frames of zstd (RFC 8878), each on its own. The only file that calls libzstd.
///
/// Its contexts are made once and used for every frame: 181 KB to make them at this level and 96 KB to read them
/// (libzstd 1.5.4). No frame makes them grow: one is made of at most `maximumByteCount` bytes, and is read in one go,
/// which takes no window however large a window it asks for.
///
/// Concurrency: for one thread at a time.
@safe
final class ZstdCodec {
    /// Of data of a Debian disk in pieces of 32 KiB it leaves 36 %, in 76 us each; level -1 leaves 40 % in 62 us,
    /// level 3 35 % in 93 us. What cannot be compressed is given up after 12 to 28 us. (One core, 2026-11-24.)
    private static let level: CInt = 1

    /// RFC 8878 section 3.1.1, little endian. Formats from before it, which a libzstd may still read with code of their
    /// own and memory for each frame, begin with other numbers.
    private static let magicNumber: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]

    private let compressor: OpaquePointer
    private let expander: OpaquePointer
    /// Where frames are made, since their lengths are known afterwards.
    private var room: [UInt8]

    init(maximumByteCount: Int) throws(Failure) {
        guard let compressor = unsafe ZSTD_createCCtx() else { throw Self.noMemory }
        guard let expander = unsafe ZSTD_createDCtx() else {
            unsafe ZSTD_freeCCtx(compressor)
            throw Self.noMemory
        }
        unsafe self.compressor = compressor
        unsafe self.expander = expander
        room = [UInt8](repeating: 0, count: maximumByteCount)
        let outcome = unsafe ZSTD_CCtx_setParameter(
            compressor,
            ZSTD_c_compressionLevel,
            Self.level
        )
        precondition(ZSTD_isError(outcome) == 0, "zstd has this level")
    }

    private static let noMemory = Failure(.noSpace, "there is no memory to compress with")

    deinit {
        unsafe ZSTD_freeCCtx(compressor)
        unsafe ZSTD_freeDCtx(expander)
    }

    /// - Parameters:
    ///   - headByteCount: how many zeros stand before the frame.
    ///   - limit: of the head and the frame.
    /// - Returns: the head and a frame that says how many bytes it is made of; nil if they pass the limit.
    func frame(of bytes: [UInt8], after headByteCount: Int, limit: Int) -> [UInt8]? {
        let end = min(limit, room.count)
        guard end > headByteCount else { return nil }
        let byteCount = unsafe room.withUnsafeMutableBytes { room in
            let output = unsafe UnsafeMutableRawBufferPointer(rebasing: room[headByteCount..<end])
            return unsafe bytes.withUnsafeBytes { input in
                unsafe ZSTD_compress2(
                    compressor,
                    output.baseAddress,
                    output.count,
                    input.baseAddress,
                    input.count
                )
            }
        }
        guard ZSTD_isError(byteCount) == 0 else { return nil }
        return Array(room[..<(headByteCount + byteCount)])
    }

    /// How many bytes a frame says it is made of.
    ///
    /// - Parameter headByteCount: where in `bytes` the frame begins.
    /// - Returns: nil if it does not say so, or if there is anything but one whole frame.
    func contentByteCount(of bytes: [UInt8], after headByteCount: Int) -> Int? {
        guard bytes.dropFirst(headByteCount).starts(with: Self.magicNumber) else { return nil }
        return unsafe bytes.withUnsafeBytes { bytes in
            let frame = unsafe UnsafeRawBufferPointer(rebasing: bytes[headByteCount...])
            guard unsafe ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count) == frame.count
            else { return nil }
            // What it answers instead of a size does not fit an Int.
            return unsafe Int(exactly: ZSTD_getFrameContentSize(frame.baseAddress, frame.count))
        }
    }

    /// - Parameter byteCount: what ``contentByteCount(of:after:)`` said.
    /// - Returns: nil if the frame is damaged, or is made of another number of bytes.
    func content(of bytes: [UInt8], after headByteCount: Int, byteCount: Int) -> [UInt8]? {
        let content = unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { output, count in
            let expanded = unsafe bytes.withUnsafeBytes { bytes in
                let frame = unsafe UnsafeRawBufferPointer(rebasing: bytes[headByteCount...])
                return unsafe ZSTD_decompressDCtx(
                    expander,
                    output.baseAddress,
                    byteCount,
                    frame.baseAddress,
                    frame.count
                )
            }
            count = ZSTD_isError(expanded) == 0 ? expanded : 0
        }
        return content.count == byteCount ? content : nil
    }
}
