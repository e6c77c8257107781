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

    package func open(_ inode: UInt64, forWriting: Bool) throws(Failure) -> Opened {
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
            if forWriting { try checkWritable() }
            return open(disk, inode: inode, forWriting: forWriting)
        case .directory, .versions, .version, .tags, .localhost, .machine:
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

    func open(_ disk: Disk, inode: UInt64, forWriting: Bool) -> Opened {
        disk.noteOpened()
        return Opened(
            handle: handles.insert(.disk(disk, inode: inode, isWriter: forWriting)),
            keepsPageCache: true
        )
    }

    package func close(_ handle: UInt64) {
        guard case .disk(let disk, _, _) = handles.remove(handle) else { return }
        guard disk.noteClosed() else { return }
        do throws(Failure) {
            try machines.reclaimIfClosed(disk)
        } catch {
            // Nothing is lost: what is left is removed at the next start.
            logger.warning("space of a deleted disk stays", metadata: ["cause": "\(error)"])
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
        case .disk(let disk, _, _):
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
        case .bytes(let bytes):
            return Array(bytes.dropFirst(offset).prefix(byteCount))
        case .directory:
            throw Failure(.isDirectory, "a directory cannot be read")
        }
    }

    // MARK: Writing

    private func writableDisk(_ number: UInt64) throws(Failure) -> Disk {
        guard case .disk(let disk, _, true) = try handle(number) else {
            throw Failure(.notPermitted, "the file is not open for writing")
        }
        return disk
    }

    package func write(
        _ number: UInt64,
        _ bytes: Span<UInt8>,
        at offset: Int,
        fills: BlockFills? = nil
    ) throws(Failure) -> Residency {
        try writableDisk(number).write(bytes, at: offset, fills: fills)
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

    /// Clones a range of a template's disk into a VM's disk; nothing is copied.
    ///
    /// - Returns: the bytes cloned.
    /// - Throws: `.unsupported` where only a copy does; the kernel then copies.
    package func cloneRange(
        from source: UInt64,
        at sourceOffset: Int,
        to target: UInt64,
        at targetOffset: Int,
        byteCount: Int
    ) throws(Failure) -> Int {
        guard case .content(let content, let template, let version, _) = try handle(source) else {
            throw Failure(.unsupported, "only a template's disk can be cloned")
        }
        let disk = try writableDisk(target)
        let count = min(byteCount, content.descriptor.size - sourceOffset)
        guard count > 0 else { return 0 }
        do throws(Failure) {
            try disk.map(
                Extent(
                    start: targetOffset,
                    byteCount: count,
                    content: content,
                    sourceStart: sourceOffset
                )
            )
        } catch  where error.kind == .invalid {
            throw Failure(.unsupported, "an unaligned range is copied, not cloned", cause: error)
        }
        try machines.noteTemplate(template, version: version, of: disk.row.vm)
        return count
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
        case .bytes(let bytes):
            guard offset < bytes.count else { return nil }
            return toData ? offset : bytes.count
        case .directory:
            throw Failure(.isDirectory, "a directory has no offsets")
        }
    }
}
