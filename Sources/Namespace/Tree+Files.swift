internal import CCNx
package import Disks
package import Failures
internal import Logging
package import Profiles
internal import Store
internal import Templates

extension Tree {
    package struct Opened: Sendable {
        package let handle: UInt64
        /// What the kernel has of the file in its page cache is still true.
        package let keepsPageCache: Bool
    }

    /// Whether opening needs nothing but memory: a snapshot's disk is laid out from the state database.
    package func opensAtOnce(_ inode: UInt64) -> Bool {
        if case .snapshotDisk = inodes.node(inode) { false } else { true }
    }

    /// - Parameter truncates: the disk is emptied (`O_TRUNC`), unless somebody has it open.
    package func open(
        _ inode: UInt64,
        forWriting: Bool,
        truncates: Bool = false
    ) throws(Failure) -> Opened {
        switch try node(inode) {
        case .templateFile(let file):
            guard !forWriting else {
                throw Failure(.readOnly, "templates do not change; deploy a VM to write")
            }
            return try open(file, inode: inode)
        case .machineInfo(let id):
            guard !forWriting else { throw Failure(.readOnly, "vm.json is written by ccnfs") }
            return Opened(
                handle: handles.insert(.bytes(try machineInfo(try machine(id)))),
                keepsPageCache: false
            )
        case .disk(let disk):
            if forWriting {
                try checkWritable()
                try disk.checkMayChange()
            }
            if truncates, disk.size > 0 {
                try checkMayShrink(disk, to: 0, besides: nil)
                // To a block's edge: nothing has to be fetched.
                try machines.betweenFlushes(of: disk) { () throws(Failure) in
                    _ = try disk.resize(to: 0)
                }
                if disk.hasFreedBlocks { machines.flushQueue.flushSoon(disk) }
            }
            return open(disk, forWriting: forWriting)
        case .snapshotDisk(let disk):
            guard !forWriting else {
                throw Failure(.readOnly, "snapshots do not change; cp makes a disk of it")
            }
            try disk.open()
            return Opened(handle: handles.insert(.snapshotDisk(disk)), keepsPageCache: true)
        case .directory, .versions, .version, .tags, .localhost, .machine, .snapshots, .snapshot:
            throw Failure(.isDirectory, "this is a directory")
        case .tag:
            throw Failure(.invalid, "this is a symbolic link")
        }
    }

    private func open(_ file: TemplateFile, inode: UInt64) throws(Failure) -> Opened {
        let version = try version(file.version, of: file.template)
        if file.name == TemplateRecord.fileName {
            return Opened(
                handle: handles.insert(.bytes(version.recordJSON)),
                keepsPageCache: true
            )
        }
        if let problem = version.problem {
            note(problem, of: inode)
            throw problem
        }
        guard let item = version.record?.item(named: file.name) else {
            throw Failure(.notFound, "\(file.template) has no \(file.name)")
        }
        let content = templates.content(item.content, prefix: file.template)
        let handle = Handle.content(
            content,
            template: file.template,
            version: file.version,
            inode: inode
        )
        return Opened(handle: handles.insert(handle), keepsPageCache: true)
    }

    func open(_ disk: Disk, forWriting: Bool) -> Opened {
        let token = disk.handles.open(forWriting: forWriting)
        return Opened(
            handle: handles.insert(.disk(disk, token: token, isWriter: forWriting)),
            keepsPageCache: true
        )
    }

    /// A descriptor of the open file was closed; others of it may be open still.
    package func noteFlush(_ handle: UInt64) {
        if case .disk(let disk, let token, _) = handles[handle] { disk.handles.noteFlush(token) }
    }

    package func close(_ handle: UInt64) {
        // What a copy held on to may be the last to need it.
        if clonePins.drop(handle) { machines.requestReclaim() }
        switch handles.remove(handle) {
        case .disk(let disk, let token, _):
            guard disk.handles.close(token) else { return }
            do throws(Failure) {
                try machines.reclaimIfClosed(disk)
            } catch {
                // Nothing is lost: what is left is removed at the next start.
                logger.warning("space of a deleted disk stays", metadata: ["cause": "\(error)"])
            }
        case .snapshotDisk(let disk): machines.close(disk)
        case .content, .bytes, .directory, nil: break
        }
    }

    private func handle(_ number: UInt64) throws(Failure) -> Handle {
        guard let handle = handles[number] else {
            throw Failure(.invalid, "there is no open file \(number)")
        }
        return handle
    }

    // MARK: Reading

    /// Appends up to `byteCount` bytes to `output`, fewer at the end of the file. Never waits: nothing
    /// is appended when something has to be fetched.
    package func readResident(
        _ number: UInt64,
        at offset: Int,
        byteCount: Int,
        into output: inout OutputSpan<UInt8>
    ) throws(Failure) -> Residency {
        switch try handle(number) {
        case .content(let content, _, _, _):
            let count = min(byteCount, content.descriptor.size - offset)
            guard count > 0 else { return .complete }
            return try content.readResident(at: offset, byteCount: count, into: &output)
        case .disk(let disk, let token, _):
            disk.handles.noteUse(token)
            return try disk.readResident(at: offset, byteCount: byteCount, into: &output)
        case .snapshotDisk(let disk):
            return try disk.readResident(at: offset, byteCount: byteCount, into: &output)
        case .bytes(let bytes):
            for byte in bytes.dropFirst(offset).prefix(byteCount) { output.append(byte) }
            return .complete
        case .directory:
            throw Failure(.isDirectory, "a directory cannot be read")
        }
    }

    package func read(
        _ number: UInt64,
        at offset: Int,
        byteCount: Int
    ) async throws(Failure) -> [UInt8] {
        switch try handle(number) {
        case .content(let content, _, _, _):
            return try await content.read(at: offset, byteCount: byteCount)
        case .disk(let disk, _, _):
            return try await disk.read(at: offset, byteCount: byteCount)
        case .snapshotDisk(let disk):
            return try await disk.read(at: offset, byteCount: byteCount)
        case .bytes(let bytes):
            return Array(bytes.dropFirst(offset).prefix(byteCount))
        case .directory:
            throw Failure(.isDirectory, "a directory cannot be read")
        }
    }

    // MARK: Writing

    private func writableDisk(_ number: UInt64) throws(Failure) -> Disk {
        guard case .disk(let disk, let token, true) = try handle(number) else {
            throw Failure(.notPermitted, "the file is not open for writing")
        }
        disk.handles.noteUse(token)
        return disk
    }

    package func write(
        _ number: UInt64,
        _ bytes: Span<UInt8>,
        at offset: Int,
        fills: BlockFills? = nil
    ) throws(Failure) -> Residency {
        clonePins.noteChange(through: number)
        return try writableDisk(number).write(bytes, at: offset, fills: fills)
    }

    package func fills(
        _ number: UInt64,
        forWriteAt offset: Int,
        byteCount: Int
    ) async throws(Failure) -> BlockFills {
        try await writableDisk(number).fills(forWriteAt: offset, byteCount: byteCount)
    }

    /// Calls `completion` once everything answered so far on the file is durable, or why it is not.
    package func flush(
        _ number: UInt64,
        completion: @escaping @Sendable (Failure?) -> Void
    ) {
        guard case .disk(let disk, _, _) = handles[number] else { return completion(nil) }
        machines.flushQueue.flush(disk, completion: completion)
    }

    /// Clones a range of a template's disk, a snapshot's, or a VM's into a VM's disk; nothing is copied.
    /// Blocks its thread.
    ///
    /// The first request of a pair of handles pins what the source shows then; all that go on behind it,
    /// until one of the two is closed, clone from that moment.
    /// - Returns: the bytes cloned: fewer than asked for where the rest does not end with a block.
    /// - Throws: `.unsupported` where only a copy does; the kernel then copies.
    package func cloneRange(
        from source: UInt64,
        at sourceOffset: Int,
        to target: UInt64,
        at targetOffset: Int,
        byteCount: Int
    ) throws(Failure) -> Int {
        let disk = try writableDisk(target)
        let clone = try cloneSource(source, at: sourceOffset, byteCount, for: target)
        var count = min(byteCount, clone.size - sourceOffset)
        guard count > 0 else { return 0 }
        let isToTheEnd =
            sourceOffset + count == clone.size && targetOffset + count >= disk.size
        if !isToTheEnd { count = count / BlockMap.blockSize * BlockMap.blockSize }
        let isAligned =
            sourceOffset % BlockMap.blockSize == 0 && targetOffset % BlockMap.blockSize == 0
        guard count > 0, isAligned else {
            throw Failure(.unsupported, "parts of blocks are copied, not cloned")
        }
        do throws(Failure) {
            try machines.betweenFlushes(of: disk) { () throws(Failure) in
                try disk.map(
                    targetOffset..<targetOffset + count,
                    to: clone,
                    from: sourceOffset
                )
            }
        } catch  where error.kind == .invalid {
            throw Failure(.unsupported, "this range is copied, not cloned", cause: error)
        }
        if disk.hasFreedBlocks { machines.flushQueue.flushSoon(disk) }
        if let (template, version) = template(of: try handle(source)) {
            try machines.noteTemplate(template, version: version, of: disk.row.vm)
        }
        return count
    }

    /// What a file that is cloned was deployed from.
    private func template(of source: Handle) -> (Name, version: Int)? {
        let machine: VirtualMachine?
        switch source {
        case .content(_, let template, let version, _): return (template, version)
        case .disk(let disk, _, _): machine = machines.machine(id: disk.row.vm)
        case .snapshotDisk(let disk): machine = machines.machine(ofSnapshot: disk.row.snapshot)
        case .bytes, .directory: machine = nil
        }
        guard let template = machine?.template, let version = machine?.templateVersion else {
            return nil
        }
        return (template, version)
    }

    private func cloneSource(
        _ source: UInt64,
        at offset: Int,
        _ byteCount: Int,
        for target: UInt64
    ) throws(Failure) -> CloneSource {
        switch try handle(source) {
        case .content(let content, _, _, _): return CloneSource(content)
        case .snapshotDisk(let disk):
            return try clonePins.view(source, target, at: offset, byteCount) {
                () throws(Failure) in try machines.pin(disk)
            }.source
        case .disk(let disk, _, _):
            return try clonePins.view(source, target, at: offset, byteCount) {
                () throws(Failure) in
                let view = try machines.pin(disk)
                if disk.handles.isInUseForWriting {
                    logger.notice(
                        "a clone pinned one moment of a disk that is open for writing",
                        metadata: ["disk": "\(disk.row.name)"]
                    )
                }
                return view
            }.source
        case .bytes, .directory:
            throw Failure(.unsupported, "only disks can be cloned")
        }
    }

    // MARK: Holes

    package enum Reservation: Sendable {
        /// Takes space; what is not written reads as before.
        case allocate
        /// Reads as zeros; the space comes back.
        case zero
    }

    /// `fallocate` on an open disk.
    ///
    /// - Returns: `.missing` when a block that is covered in part has to be fetched first: again then
    ///   with what ``fills(_:forWriteAt:byteCount:)`` gives.
    package func reserve(
        _ number: UInt64,
        _ range: Range<Int>,
        _ what: Reservation,
        keepsSize: Bool,
        fills: BlockFills? = nil
    ) throws(Failure) -> Residency {
        clonePins.noteChange(through: number)
        let disk = try writableDisk(number)
        switch what {
        case .allocate:
            try disk.allocate(range, keepsSize: keepsSize)
            return .complete
        case .zero:
            if !keepsSize { try disk.extend(to: range.upperBound) }
            let residency = try disk.zero(range, fills: fills)
            if disk.hasFreedBlocks { machines.flushQueue.flushSoon(disk) }
            return residency
        }
    }

    /// The offset of the next data or hole.
    ///
    /// - Returns: nil when there is none (`ENXIO`).
    package func seek(
        _ number: UInt64,
        toData: Bool,
        from offset: Int
    ) async throws(Failure) -> Int? {
        switch try handle(number) {
        case .content(let content, _, _, _):
            guard offset < content.descriptor.size else { return nil }
            return try await content.next(data: toData, from: offset)
        case .disk(let disk, _, _):
            guard offset < disk.size else { return nil }
            return try await disk.next(data: toData, from: offset)
        case .snapshotDisk(let disk):
            guard offset < disk.size else { return nil }
            return try await disk.next(data: toData, from: offset)
        case .bytes(let bytes):
            guard offset < bytes.count else { return nil }
            return toData ? offset : bytes.count
        case .directory:
            throw Failure(.isDirectory, "a directory has no offsets")
        }
    }
}
