package import Failures
internal import Glibc

/// Writes a raw image: a sparse file, or a block device in place.
///
/// A device is set to zeros first, as far as the disk goes and as fast as it can; what it holds
/// beyond stays. Its former content is lost from then on, also if the image is abandoned.
///
/// Concurrency: the descriptor never changes, and pwrite uses no file position.
package final class RawImageWriter: ImageWriter {
    private let virtualSize: Int
    private let target: WritingTarget

    package init(path: String, virtualSize: Int, overwrite: Bool = false) throws(Failure) {
        try ImageWriters.requireWholeSectors(virtualSize, path: path)
        target = try WritingTarget(path: path, overwrite: overwrite)
        self.virtualSize = virtualSize
        do throws(Failure) {
            if target.isDevice {
                try target.descriptor.zeroDevice(byteCount: virtualSize, of: path)
            } else {
                let number = target.descriptor.number
                _ = try systemCall("cannot make a file of \(virtualSize) bytes") {
                    ftruncate(number, virtualSize)
                }
            }
        } catch {
            throw target.fail(error)
        }
    }

    package func write(_ bytes: Span<UInt8>, at offset: Int) throws(Failure) {
        requireRange(from: offset, byteCount: bytes.count, in: virtualSize)
        try target.requireWriting()
        do throws(Failure) {
            try target.descriptor.write(bytes, at: offset)
        } catch {
            throw target.fail(error)
        }
    }

    package func finish() throws(Failure) {
        try target.finish()
    }

    package func abandon() {
        target.abandon()
    }
}

extension Descriptor {
    fileprivate borrowing func write(_ bytes: Span<UInt8>, at offset: Int) throws(Failure) {
        let number = number
        // The span lends its memory for the closure, and pwrite gets the exact length of what is left.
        try unsafe bytes.withUnsafeBytes { (bytes) throws(Failure) in
            var count = 0
            while count < bytes.count {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[count...])
                let position = offset + count
                let written = try systemCall("cannot write at byte \(position)") {
                    unsafe pwrite(number, rest.baseAddress, rest.count, position)
                }
                guard written > 0 else {
                    throw Failure(.io, "nothing can be written at byte \(position)")
                }
                count += written
            }
        }
    }

    /// Makes the first `byteCount` bytes of a block device read as zeros.
    fileprivate borrowing func zeroDevice(byteCount: Int, of path: String) throws(Failure) {
        let capacity = try self.byteCount(of: path)
        guard byteCount <= capacity else {
            throw Failure(
                .tooLarge,
                "the disk has \(byteCount) bytes, but the device \(path) has \(capacity)"
            )
        }
        let number = number
        // One gigabyte at a time, so that a signal does not wait for the whole of a slow device.
        for start in stride(from: 0, to: byteCount, by: 1 << 30) {
            var range = [UInt64(start), UInt64(min(byteCount - start, 1 << 30))]
            // The kernel reads the two numbers of the array and keeps no pointer.
            _ = try systemCall("cannot zero the device from byte \(start) on") {
                unsafe range.withUnsafeMutableBytes { (words) in
                    guard let words = words.baseAddress else { return Int32(0) }
                    return unsafe ioctl(number, zeroOutRequest, words)
                }
            }
        }
    }
}

/// BLKZEROOUT of Linux, a macro that Swift does not import.
private let zeroOutRequest: UInt = 0x127f
