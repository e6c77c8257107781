internal import Control
internal import Disks
internal import Failures
internal import Files
internal import Publishing
internal import Store

extension NodeOperations {
    /// Copies the state into a directory that can take its place: VMs, snapshots, published content, keys.
    ///
    /// The directory gets its name last: one that is there is whole.
    func backUp(to directory: String, _ session: any ControlSession) async throws(Failure) -> Backup
    {
        for home in [homes.stateDirectory, homes.cacheDirectory]
        where "\(directory)/".hasPrefix("\(home)/") {
            throw Failure(
                .usage,
                "a backup in \(home) would be lost with it",
                hint: "name a directory elsewhere, best on another disk"
            )
        }
        guard !FileTree.exists(directory) else {
            throw Failure(
                .exists,
                "\(directory) is there already",
                hint: "name a new directory for each backup"
            )
        }
        let temporary = "\(directory).new"
        guard !FileTree.exists(temporary) else {
            throw Failure(
                .exists,
                "\(temporary) is left from a backup that was cut off",
                hint: "rm -r \(temporary)"
            )
        }
        try FileTree.makeDirectory(temporary, permissions: 0o700)
        let homes = homes
        do throws(Failure) {
            let copied = try await homes.gate.whileNothingChanges { () async throws(Failure) in
                try await withProgress(session) { (report) throws(Failure) in
                    let blocks = try homes.machines.backUp(to: temporary) { report($0, $0) }
                    let content = try homes.store.published.backUp(to: "\(temporary)/content") {
                        report(blocks.copiedBytes + $0, blocks.copiedBytes + $0)
                    }
                    try Self.copyKeys(from: homes.stateDirectory, to: temporary)
                    return (blocks.machines, blocks.copiedBytes + content)
                }
            }
            try FileTree.rename(temporary, to: directory)
            try FileTree.synchronizeDirectory(FileTree.parent(of: directory) ?? ".")
            return Backup(directory: directory, machines: copied.0, copiedBytes: copied.1)
        } catch {
            try? FileTree.removeAll(temporary)
            throw error.wrapped("the state is not backed up to \(directory)")
        }
    }

    private static func copyKeys(from state: String, to copy: String) throws(Failure) {
        guard FileTree.exists("\(state)/keys") else { return }
        try FileTree.makeDirectory("\(copy)/keys", permissions: 0o700)
        for name in try FileTree.names(in: "\(state)/keys") {
            _ = try FileTree.copySparse("\(state)/keys/\(name)", to: "\(copy)/keys/\(name)")
        }
    }
}
