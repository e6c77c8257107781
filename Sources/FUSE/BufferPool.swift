internal import Files

/// Read buffers, one for each thread that is answering a read at the moment.
///
/// Concurrency: any thread; the lock is held to push or pop.
final class BufferPool: Sendable {
    /// The largest read the kernel sends (`max_write` in ``Session`` sets both).
    static let bufferByteCount = 1 << 20

    /// Sendable: a buffer belongs to whoever took it from the pool.
    @safe
    final class Buffer: @unchecked Sendable {
        private let memory: UnsafeMutableBufferPointer<UInt8>

        fileprivate init() {
            unsafe memory = .allocate(capacity: BufferPool.bufferByteCount)
        }

        deinit { unsafe memory.deallocate() }

        /// Fills the buffer with `fill` and hands what was filled to `use`.
        func with<Outcome, Refusal: Error>(
            _ fill: (inout OutputSpan<UInt8>) throws(Refusal) -> Outcome,
            then use: (Outcome, Span<UInt8>) -> Void
        ) throws(Refusal) {
            var output = unsafe OutputSpan(buffer: memory, initializedCount: 0)
            let outcome = try fill(&output)
            use(outcome, output.span)
        }
    }

    private let free = Guarded<[Buffer]>([])

    func take() -> Buffer { free.withLock { $0.popLast() } ?? Buffer() }

    func giveBack(_ buffer: Buffer) { free.withLock { $0.append(buffer) } }
}
