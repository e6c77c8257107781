internal import CNbd
internal import Failures
internal import Glibc

/// One connection of libnbd, with one owner. The only file that calls libnbd.
///
/// Every wait has a deadline. After `.timedOut` a command may still be under way, and libnbd may
/// still write to its buffer: the handle must then be dropped before the buffer goes.
///
/// `@unchecked Sendable`: libnbd binds a handle to no thread and locks it itself, and there is one
/// owner, which the compiler enforces.
@safe struct NBDHandle: ~Copyable, @unchecked Sendable {
    private let handle: OpaquePointer

    /// Begins to negotiate with whoever will be at the other end of `socket`.
    init(socket: consuming Descriptor) throws(Failure) {
        guard let handle = unsafe nbd_create() else { throw NBDHandle.lastFailure() }
        // The name is text that lives as long as the program.
        guard unsafe nbd_add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0 else {
            let failure = NBDHandle.lastFailure()
            unsafe nbd_close(handle)
            throw failure
        }
        // libnbd owns the socket from here on, whatever comes of it.
        guard unsafe nbd_aio_connect_socket(handle, socket.release()) == 0 else {
            let failure = NBDHandle.lastFailure()
            unsafe nbd_close(handle)
            throw failure
        }
        unsafe self.handle = unsafe handle
    }

    /// Waits until commands can be given.
    func finishConnecting(deadline: ContinuousClock.Instant) throws(Failure) {
        try unsafe wait(until: deadline) { (handle) in
            if unsafe nbd_aio_is_ready(handle) == 1 { return true }
            let isOver = unsafe nbd_aio_is_dead(handle) == 1 || nbd_aio_is_closed(handle) == 1
            return isOver ? nil : false
        }
    }

    deinit {
        // Drops commands under way, runs no callback any more and closes the socket.
        unsafe nbd_close(handle)
    }

    /// Bytes of the disk.
    func byteCount() throws(Failure) -> Int {
        let byteCount = unsafe nbd_get_size(handle)
        guard byteCount >= 0 else { throw NBDHandle.lastFailure() }
        return Int(byteCount)
    }

    /// What offsets and lengths of commands must be multiples of. 1 for most formats, 512 for VHDX.
    var alignment: Int {
        max(1, Int(unsafe nbd_get_block_size(handle, Int32(LIBNBD_SIZE_MINIMUM))))
    }

    /// Whether the peer tells holes from data.
    var knowsExtents: Bool {
        unsafe nbd_can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1
    }

    /// Fills `buffer`, which has at most what NBD allows in one command.
    @unsafe func read(
        at offset: Int,
        into buffer: UnsafeMutableRawBufferPointer,
        deadline: ContinuousClock.Instant
    ) throws(Failure) {
        guard let start = buffer.baseAddress, unsafe !buffer.isEmpty else { return }
        // No callback; libnbd writes to exactly this many bytes until the command is over.
        let cookie = unsafe nbd_aio_pread(
            handle,
            start,
            buffer.count,
            UInt64(offset),
            unsafe nbd_completion_callback(),
            0
        )
        try finish(cookie, deadline: deadline)
    }

    /// Writes `bytes`, which are at most what NBD allows in one command.
    @unsafe func write(
        _ bytes: UnsafeRawBufferPointer,
        at offset: Int,
        deadline: ContinuousClock.Instant
    ) throws(Failure) {
        guard let start = bytes.baseAddress, unsafe !bytes.isEmpty else { return }
        // No callback; libnbd reads exactly this many bytes until the command is over.
        let cookie = unsafe nbd_aio_pwrite(
            handle,
            start,
            bytes.count,
            UInt64(offset),
            unsafe nbd_completion_callback(),
            0
        )
        try finish(cookie, deadline: deadline)
    }

    /// Makes durable what was written, through all connections.
    func flush(deadline: ContinuousClock.Instant) throws(Failure) {
        // No callback and no buffer.
        let cookie = unsafe nbd_aio_flush(handle, unsafe nbd_completion_callback(), 0)
        try finish(cookie, deadline: deadline)
    }

    /// Tells the peer that no command will come any more.
    func disconnect(deadline: ContinuousClock.Instant) throws(Failure) {
        guard unsafe nbd_aio_disconnect(handle, 0) == 0 else { throw NBDHandle.lastFailure() }
        try unsafe wait(until: deadline) { (handle) in
            // A peer that drops the connection before we do has heard it, too.
            unsafe nbd_aio_is_closed(handle) == 1 || nbd_aio_is_dead(handle) == 1
        }
    }

    /// Appends what the peer says about the disk from the end of `list` on: at least one run.
    func appendExtents(
        to list: inout ExtentList,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) throws(Failure) {
        let runs = ExtentRuns()
        // libnbd holds one reference to `runs`, which it gives back through `free` exactly once, also
        // when the command fails; until then the pointer is good.
        let callback = unsafe nbd_extent_callback(
            callback: { (context, _, _, words, wordCount, _) in
                guard let context = unsafe context, let words = unsafe words else { return 0 }
                let runs = unsafe Unmanaged<ExtentRuns>.fromOpaque(context).takeUnretainedValue()
                unsafe runs.append(UnsafeBufferPointer(start: words, count: wordCount))
                return 0
            },
            user_data: Unmanaged.passRetained(runs).toOpaque(),
            free: { (context) in
                guard let context = unsafe context else { return }
                unsafe Unmanaged<ExtentRuns>.fromOpaque(context).release()
            }
        )
        let cookie = unsafe nbd_aio_block_status(
            handle,
            UInt64(min(limit, list.limit - list.end)),
            UInt64(list.end),
            callback,
            nbd_completion_callback(),
            0
        )
        try finish(cookie, deadline: deadline)
        let before = list.end
        for run in runs.runs { list.append(byteCount: run.byteCount, kind: run.kind) }
        guard list.end > before else {
            throw Failure(.io, "the server tells no extent at byte \(before)")
        }
    }

    /// Waits for the end of a command that was given out as `cookie`, or -1 if it was not.
    private func finish(
        _ cookie: Int64,
        deadline: ContinuousClock.Instant
    ) throws(Failure) {
        guard cookie >= 0 else { throw NBDHandle.lastFailure() }
        try unsafe wait(until: deadline) { (handle) in
            switch unsafe nbd_aio_command_completed(handle, UInt64(cookie)) {
            case 1: true
            case 0: false
            default: nil
            }
        }
    }

    /// Lets the connection work until `isDone`, which answers nil if that can no longer come about.
    private func wait(
        until deadline: ContinuousClock.Instant,
        isDone: (OpaquePointer) -> Bool?
    ) throws(Failure) {
        while true {
            guard let done = unsafe isDone(handle) else { throw NBDHandle.lastFailure() }
            if done { return }
            let milliseconds = deadline.millisecondsLeft
            guard milliseconds > 0 else {
                throw Failure(.timedOut, "the server of the image does not answer")
            }
            // Fails when the connection ends; the question above then finds the reason.
            if unsafe nbd_poll(handle, milliseconds) < 0, unsafe nbd_aio_is_dead(handle) != 1 {
                throw NBDHandle.lastFailure()
            }
        }
    }

    /// The text is this thread's and is copied at once.
    private static func lastFailure() -> Failure {
        let reason = unsafe nbd_get_error().map { unsafe String(cString: $0) }
        let kind: Failure.Kind = nbd_get_errno() == ENOSPC ? .noSpace : .io
        return Failure(kind, reason ?? "the connection to the server of the image has ended")
    }
}

/// Receives runs from libnbd. Only the thread that waits for the command runs the callback.
private final class ExtentRuns {
    private(set) var runs: [(byteCount: Int, kind: ImageExtent.Kind)] = []

    /// Pairs of a length and flags. A hole that is not said to read as zeros counts as data.
    @unsafe func append(_ words: UnsafeBufferPointer<UInt32>) {
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            let isZero = unsafe words[index + 1] & UInt32(LIBNBD_STATE_ZERO) != 0
            unsafe runs.append((Int(words[index]), isZero ? .zero : .data))
        }
    }
}
