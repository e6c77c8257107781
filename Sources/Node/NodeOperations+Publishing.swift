internal import CCNx
internal import Control
internal import Faces
internal import Failures
internal import Files
internal import Logging
internal import Publishing
internal import Signing

// New versions, made here or brought from elsewhere.
extension NodeOperations {
    func publish(
        _ publication: ControlRequest.Publication,
        _ session: any ControlSession
    ) async throws(Failure) -> PublishReport {
        try await publish(
            try PublishRequest(publication),
            try PublicKey(pem: Array(publication.publicKeyPEM.utf8)),
            at: publication.repository,
            repositoryKey: publication.repositoryKey,
            reportingTo: session
        )
    }

    /// - Parameters:
    ///   - repository: the face address of the repository; nil for this node.
    ///   - repositoryKey: the beginning of the id of its key.
    func publish(
        _ request: PublishRequest,
        _ key: PublicKey,
        at repository: String?,
        repositoryKey: String?,
        reportingTo session: any ControlSession
    ) async throws(Failure) -> PublishReport {
        let destination = try await destination(
            repository,
            repositoryKey,
            of: request.template.prefix(1),
            session
        )
        let (reports, continuation) = AsyncStream.makeStream(of: PublishProgress.self)
        let reporting = Task {
            for await progress in reports { await session.report(.publish(progress)) }
        }
        defer { reporting.cancel() }
        do throws(Failure) {
            let report = try await publish(request, key, at: destination, session) {
                continuation.yield($0)
            }
            await destination?.end()
            continuation.finish()
            await reporting.value
            return report
        } catch {
            await destination?.end()
            if error.kind == .noSpace { await freeWhatFilledTheDisk() }
            throw error
        }
    }

    private func publish(
        _ request: PublishRequest,
        _ key: PublicKey,
        at destination: RemoteRepository?,
        _ session: some ControlSession,
        progress: @escaping @Sendable (PublishProgress) -> Void
    ) async throws(Failure) -> PublishReport {
        try await publisher.publish(
            request,
            to: destination,
            signer: SessionSigner(publicKey: key, session: session),
            stream: { (byteCount) async throws(Failure) in
                try await session.read(byteCount: byteCount)
            },
            now: WallClock.seconds,
            progress: progress
        )
    }

    private func destination(
        _ repository: String?,
        _ repositoryKey: String?,
        of namespace: Name,
        _ session: any ControlSession
    ) async throws(Failure) -> RemoteRepository? {
        guard let repository else { return nil }
        let address = try FaceAddress(repository)
        // The repository fetches from here what it lacks.
        try await startIfStandalone()
        return try await RemoteRepository(
            at: address,
            expecting: repositoryKey,
            catalogKey: try catalogKey(of: namespace),
            exchange,
            reportingTo: session
        )
    }
}
