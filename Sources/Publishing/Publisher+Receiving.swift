package import CCNx
package import Failures
internal import Profiles
internal import Signing
package import Store
internal import Templates

/// The repository's side of publishing from elsewhere.
extension Publisher {
    /// - Throws: `.readOnly` for a namespace that is mirrored here, with where it comes from.
    package func checkIsNoMirror(of namespace: Name) throws(Failure) {
        try local.editor.checkIsNoMirror(of: namespace)
    }

    /// Whether this key may publish under this name here, and as which version.
    package func offer(_ template: Name, to key: KeyId) throws(Failure) -> PublishOffer {
        let template = try template.validatedAsTemplateName()
        guard let known = try local.templates.trust.key(key, speakingFor: template) else {
            throw Failure(
                .untrusted,
                "the repository does not trust key \(key) for \(template)",
                hint:
                    "if it should, there: ccnfs trust add \(template.prefix(1).uri) PUBLIC-KEY-FILE"
            )
        }
        return try local.offer(template, known)
    }

    /// A signed record that came from elsewhere, if it may become a version here.
    ///
    /// - Returns: the version; nil when it is one already.
    package func checked(
        _ signed: [UInt8],
        as template: Name,
        delegation: [UInt8]?
    ) throws(Failure) -> (version: SignedVersion, outcome: PublishOutcome?) {
        guard signed.count <= ContentStore.smallObjectLimit else {
            throw Failure(.tooLarge, "the template record has \(signed.count) bytes")
        }
        let packet = try PacketDecoder.decode(signed)
        guard case .contentObject(let object) = packet.packet else {
            throw Failure(.invalid, "the record is no Content Object")
        }
        let record = try TemplateRecord(json: object.payload)
        guard record.name == template else {
            throw Failure(.invalid, "the record is that of \(record.name), not of \(template)")
        }
        _ = try offer(template, to: record.publisher)
        try local.templates.trust.check(packet, speaksFor: template)
        guard packet.validation?.keyId == record.publisher else {
            throw Failure(.untrusted, "the record names another publisher than its signature")
        }
        if let delegation { try check(delegation, of: template.prefix(1)) }
        try record.checkLimits()
        let version = SignedVersion(record: record, signed: signed, delegation: delegation)
        let known = try local.database.versions().first {
            $0.template == template && $0.version == record.version
        }
        if let known {
            let isSame = known.record == version.id
            return (version, isSame ? .done : .taken(next: try local.nextVersion(of: template)))
        }
        // Numbers have no gaps: else one record could leave none for those after it.
        let next = try local.nextVersion(of: template)
        return (version, record.version == next ? nil : .taken(next: next))
    }

    private func check(_ delegation: [UInt8], of namespace: Name) throws(Failure) {
        let given = try Delegation(
            signed: delegation,
            namespace: namespace,
            trust: local.templates.trust
        )
        guard given.key == local.editor.nodeKey.publicKey else {
            throw Failure(
                .untrusted,
                "the delegation is to another key than the repository's",
                hint: "publish again: the repository's key is asked for anew"
            )
        }
    }

    /// Brings what the version is made of from the publisher, as far as it is not here, and makes it visible.
    package func receive(
        _ version: SignedVersion,
        from source: any ContentSource,
        now: Int,
        note:
            @escaping @Sendable (_ doneBytes: Int, _ pulledSegments: Int, _ pulledBytes: Int) ->
            Void
    ) async throws(Failure) -> PublishOutcome {
        try await gate.pulling { (claims) async throws(Failure) in
            let puller = TreePuller(store: store, source: source, gate: gate, claims: claims)
            let prefix = version.record.name
            for disk in version.record.disks {
                try await puller.pull(disk.content, under: prefix) { pulled in
                    note(pulled.doneBytes, pulled.pulledSegments, pulled.pulledBytes)
                }
            }
            for file in version.record.files {
                try await puller.pullSmall(file.content, under: prefix)
            }
            return try await gate.turn { () async throws(Failure) in
                try await local.commit(version, now: now)
            }
        }
    }
}

extension TemplateRecord {
    /// - Throws: `.tooLarge` for one that no publisher may make, whose content is not fetched.
    func checkLimits() throws(Failure) {
        let fileBytes = files.reduce(0) { $0 + $1.content.size }
        guard disks.count <= PublishRequest.diskLimit, files.count <= PublishRequest.fileLimit,
            fileBytes <= PublishRequest.filesByteLimit,
            files.allSatisfy({ $0.content.segmentSize == SmallContent.segmentSize })
        else { throw Failure(.tooLarge, "the template has more disks or files than it may") }
    }
}
