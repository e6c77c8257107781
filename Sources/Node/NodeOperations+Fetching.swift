internal import CCNx
internal import Control
internal import Failures
internal import Files
internal import Profiles
internal import Store
internal import Templates

// A template becomes wholly local before somebody needs it.
extension NodeOperations {
    func fetch(
        _ template: Name,
        _ number: Int?,
        _ wanted: String?,
        _ rate: Int?,
        isKept: Bool,
        _ session: any ControlSession
    ) async throws(Failure) -> FetchReport {
        let start = ContinuousClock.now
        let (version, record) = try homes.templates.served(template, version: number)
        var items = record.disks + record.files
        if let wanted {
            items = items.filter { $0.name == wanted }
            guard !items.isEmpty else {
                throw Failure(
                    .notFound,
                    "\(template) version \(version.number) has no disk or file \(wanted)",
                    hint: "see: ccnfs show \(template)"
                )
            }
        }
        let pins = items.map { PinRow($0, of: template, version.number) }
        if isKept { try keep(pins) }
        do throws(Failure) {
            let fetched = try await fetch(items, of: template, rate, session)
            if isKept { try await hold(pins) }
            return FetchReport(
                template: template.uri,
                version: version.number,
                items: fetched,
                seconds: (ContinuousClock.now - start).seconds
            )
        } catch {
            // It stays pinned, and comes later.
            if isKept { noteKept(pins, .waiting(error.description)) }
            throw error
        }
    }

    private func fetch(
        _ items: [TemplateRecord.Item],
        of template: Name,
        _ rate: Int?,
        _ session: any ControlSession
    ) async throws(Failure) -> [FetchReport.Item] {
        var fetched: [FetchReport.Item] = []
        for item in items {
            let content = homes.templates.content(item.content, prefix: template)
            var (done, came) = (0, 0)
            let began = ContinuousClock.now
            try await content.fetchAll { (nowDone, nowCame) async throws(Failure) in
                (done, came) = (nowDone, nowCame)
                await session.report(
                    .work(what: "bytes of \(item.name)", done: done, total: item.dataByteCount)
                )
                guard let rate, rate > 0 else { return }
                let due = began + .seconds(Double(came) / Double(rate))
                try? await Task.sleep(until: due, clock: .continuous)
            }
            fetched.append(
                FetchReport.Item(name: item.name, dataBytes: done, fetchedBytes: came)
            )
        }
        return fetched
    }
}
